"""One typed, frozen model per verb: command line, YAML file and errors are made from it.

A field's default lives in its `Settings` class and nowhere else. Flags are named after the field
(`image_size` gives `--image-size`) unless `setting` names others, as YOLOv5's users know them.
"""

import argparse
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from prunus.core.errors import ConfigError, suggest
from prunus.core.files import read_yaml

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every verb's settings: immutable, and no key that it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        defer_build=True,  # --help never validates
    )


def setting(
    default: Any, help_text: str, *flags: str, bare: str | None = None, **rules: Any
) -> Any:
    """Describe one setting.

    Args:
        default: The value when nothing is said; `...` when something must be.
        help_text: What it is, for `--help`.
        flags: Its spellings on the command line, the first one being shown; default: its own name.
        bare: What the flag alone means, without a value; None when it needs one.
        rules: Limits that pydantic checks, such as `ge=1`.
    """
    extra: dict[str, Any] = {"flags": list(flags)} if flags else {}
    if bare is not None:
        extra["bare"] = bare
    return Field(default, description=help_text, json_schema_extra=extra or None, **rules)


def flags_of(name: str, field: FieldInfo) -> list[str]:
    """Return the command-line spellings of a field."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and isinstance(extra.get("flags"), list):
        return [str(flag) for flag in extra["flags"]]  # type: ignore[union-attr]
    return ["--" + name.replace("_", "-")]


def parse(kind: type[S], values: Mapping[str, object], where: str = "") -> S:
    """Check `values` and return the settings.

    Args:
        kind: The verb's settings.
        values: By field name.
        where: File or verb, set before each problem.

    Raises:
        ConfigError: All problems in one message, a line each, with the nearest valid name.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        prefix = f"{where}: " if where else ""
        problems = [prefix + _explain(kind, problem) for problem in error.errors()]
        raise ConfigError("\n".join(problems)) from error


def add_arguments(parser: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """Give `parser` one argument a field, and `--config FILE` for a YAML with any of them.

    Absent flags leave no trace in the namespace, so that the YAML and the defaults can fill in.
    """
    parser.add_argument(
        "--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="YAML with settings"
    )
    own = kind.__annotations__
    for name, field in sorted(kind.model_fields.items(), key=lambda item: item[0] not in own):
        flags, form = flags_of(name, field), _argument_form(field.annotation)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "bare" in extra:
            form = {**form, "nargs": "?", "const": extra["bare"]}
        common: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field)}
        if not flags[0].startswith("-"):  # may stand alone, as in `prunus inspect W`
            number = "*" if form.get("nargs") == "+" else "?"
            parser.add_argument(name, nargs=number, metavar=flags[0], **common)
            flags = flags[1:]
        parser.add_argument(*flags, dest=name, **common, **form)


def from_arguments(kind: type[S], arguments: argparse.Namespace, where: str) -> S:
    """Merge defaults, then the `--config` file, then the flags that were given.

    Raises:
        ConfigError: A value is wrong; the message names the flag or the file's key.
    """
    given = vars(arguments)
    values: dict[str, object] = {}
    if "config" in given:
        content = read_yaml(given["config"])
        if not isinstance(content, dict):
            raise ConfigError(f"{given['config']}: expected settings as `key: value` lines.")
        values = {str(key).replace("-", "_"): value for key, value in content.items()}
        parse_partly(kind, values, str(given["config"]))
    values.update({name: given[name] for name in kind.model_fields if name in given})
    return parse(kind, values, where)


def parse_partly(kind: type[Settings], values: Mapping[str, object], where: str) -> None:
    """Check that a file's keys are known, naming the file; missing ones may come from flags.

    Raises:
        ConfigError: A key is unknown.
    """
    unknown = [key for key in values if key not in kind.model_fields]
    if unknown:
        lines = [
            f"{where}: {key}: unknown setting.{suggest(key, kind.model_fields)}" for key in unknown
        ]
        raise ConfigError("\n".join(lines))


def _explain(kind: type[Settings], problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    name = str(problem["loc"][0]) if problem["loc"] else ""
    field = kind.model_fields.get(name)
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown setting.{suggest(name, kind.model_fields)}"
    shown = flags_of(name, field)[0] if field is not None and len(problem["loc"]) == 1 else place
    if problem["type"] == "missing":
        return f"{shown}: is needed. {field.description if field else ''}".rstrip()
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "value_error":
        return f"{shown}: {text}" if shown else text
    return f"{shown}: expected {text}, got {problem['input']!r}."


def _help(field: FieldInfo) -> str:
    text = field.description or ""
    if field.is_required():
        text += " (required)"
    elif field.default not in (None, "", False, ()):
        text += f" (default: {_shown(field.default)})"
    return text.replace("%", "%%")


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _argument_form(annotation: Any) -> dict[str, Any]:
    """Return argparse's keywords for a field's type; values stay text, which pydantic converts."""
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        if len(inner) == 1:
            return _argument_form(inner[0])
    if get_origin(annotation) in (tuple, list):
        return {"nargs": "+", "metavar": METAVARS.get(get_args(annotation)[0], "X")}
    if get_origin(annotation) is Literal:
        return {"metavar": "{" + ",".join(map(str, get_args(annotation))) + "}"}
    return {"metavar": METAVARS.get(annotation, "X")}


METAVARS: dict[object, str] = {Path: "PATH", int: "N", float: "N", str: "WORD"}
"""How a value of each type is called in `--help`."""
