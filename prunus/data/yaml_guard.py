"""A data YAML is looked at before it is loaded: small files can be made to grow or to take hours.

Only the stream of events is read here, which neither builds objects nor resolves aliases.
"""

from pathlib import Path

from prunus.core.errors import DataError

MAX_YAML_BYTES = 4 << 20
"""Twenty thousand class names of 200 bytes."""
MAX_EVENTS = 100_000
"""Two for each class name written as `0: name`, and as many again."""
MAX_DEPTH = 32
MERGE = "<<"


def refuse_hostile_yaml(file: Path) -> None:
    """Refuse a data YAML that is enormous, deeply nested, or merges mappings, which multiplies.

    A file that is missing or no YAML is left to whoever loads it.

    Raises:
        DataError: One line, naming the file.
    """
    import yaml  # late: 10 ms that --help need not pay

    if file.exists() and (not file.is_file() or file.stat().st_size > MAX_YAML_BYTES):
        raise DataError(
            f"{file}: not a data YAML (no regular file, or over {MAX_YAML_BYTES >> 20} MB)."
        )
    try:
        text = file.read_text(encoding="utf-8")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=loader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise DataError(f"{file}: nested {MAX_DEPTH} deep: not a data YAML.")
            if number > MAX_EVENTS:
                raise DataError(f"{file}: over {MAX_EVENTS} entries: not a data YAML.")
            if isinstance(event, yaml.ScalarEvent) and event.value == MERGE:
                raise DataError(f"{file}: '{MERGE}' (merged mappings) is not read. Write it out.")
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
