"""A package that is called like the function it is named after."""

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import prunus
from prunus.core.callable_room import make_callable

ROOM = '''"""The room's own words."""

from prunus.core.callable_room import make_callable

make_callable(__name__, "juice.run:squeeze")
'''
VERB = '''
def squeeze(fruit: str, *, percent: float = 0.5) -> str:
    """Return less of a fruit.

    Args:
        fruit: Any.
        percent: How much less.
    """
    return f"{fruit} -{percent:.0%}"
'''


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return a package `juice` whose verb is `squeeze`; it is forgotten afterwards."""
    (tmp_path / "juice").mkdir()
    (tmp_path / "juice" / "__init__.py").write_text(ROOM)
    (tmp_path / "juice" / "run.py").write_text(VERB)
    monkeypatch.syspath_prepend(tmp_path)
    import juice

    yield juice
    for name in [name for name in sys.modules if name.partition(".")[0] == "juice"]:
        del sys.modules[name]


def test_a_call_goes_to_the_verb_with_all_its_arguments(room: object) -> None:
    assert "juice.run" not in sys.modules, "imported before it was needed"
    assert room("plum") == "plum -50%"
    assert room(fruit="plum", percent=0.25) == "plum -25%"


def test_the_verb_itself_complains_about_wrong_arguments(room: object) -> None:
    with pytest.raises(TypeError, match=r"squeeze\(\) got an unexpected keyword argument 'share'"):
        room("plum", share=1)


def test_signature_and_help_are_those_of_the_verb(room: object) -> None:
    assert str(inspect.signature(room)) == "(fruit: str, *, percent: float = 0.5) -> str"
    text = pydoc.plain(pydoc.render_doc(room))
    assert "juice - Return less of a fruit." in text
    assert "juice(fruit: str, *, percent: float = 0.5) -> str" in text
    assert "percent: How much less." in text
    assert "The room's own words." in text


def test_it_stays_a_package(room: object) -> None:
    from juice.run import squeeze

    assert inspect.ismodule(room) and room.run.squeeze is squeeze
    assert room("plum") == "plum -50%", "importing from it changes nothing"
    with pytest.raises(AttributeError, match="module 'juice' has no attribute 'nothing'"):
        _ = room.nothing


def test_a_verb_that_is_not_there_is_named(room: object) -> None:
    make_callable("juice", "juice.run:press")
    with pytest.raises(AttributeError, match=r"'juice\.run' has no attribute 'press'"):
        room("plum")


def test_prunus_prune_is_the_function_and_the_package() -> None:
    from prunus.prune.run import prune

    assert callable(prunus.prune)
    assert inspect.signature(prunus.prune) == inspect.signature(prune)
    assert inspect.getdoc(prune).splitlines()[0] in prunus.prune.__doc__


@pytest.mark.parametrize("verb", prunus.VERBS)
def test_every_verb_is_reachable_and_light_until_it_is_called(verb: str) -> None:
    code = (
        "import sys, prunus; room = getattr(prunus, sys.argv[1]);"
        "sys.exit(not callable(room) or 'torch' in sys.modules or sys.argv[1] not in dir(prunus))"
    )
    assert subprocess.run([sys.executable, "-c", code, verb], check=False).returncode == 0


def test_what_is_no_verb_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'prunus' has no attribute 'prnue'"):
        _ = prunus.prnue
