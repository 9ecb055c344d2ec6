"""Applications run from code: what is found, and what is said where nothing is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.asgi.realtime import Realtime
from actors.asgi.serving import find_server, load

MODULE = """
from actors.asgi import Realtime
realtime = again = Realtime()
class App:
    inner = realtime
app = App()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with an application."""
    (tmp_path / "an_app.py").write_text(MODULE)
    (tmp_path / "no_app.py").write_text("app = print")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "an_app", raising=False)
    return "an_app"


def test_what_is_found(module: str) -> None:
    """The application, by a path of attributes, and each runtime of its module once."""
    application, runtimes = load(f"{module}:app")
    assert type(application).__name__ == "App"
    inner, same = load(f"{module}:app.inner")
    assert isinstance(inner, Realtime)
    assert runtimes == same == [inner]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("an_app", "expected module:application, got 'an_app'"),
        (":app", "expected module:application, got ':app'"),
        ("an_app:nothing", "module an_app has no nothing"),
        ("no_app:app", "expected a Realtime among the names of module no_app"),
    ],
)
def test_what_is_not(module: str, target: str, says: str) -> None:
    """What names no application with a runtime is refused, because nothing would drain."""
    with pytest.raises(ValueError, match="expected") as caught:
        load(target)
    assert says in str(caught.value)


def test_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first server that is installed is taken, or the one that was named."""
    assert find_server(None) == "anycorn"
    assert find_server("hypercorn") == "hypercorn"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="expected anycorn or hypercorn to be installed"):
        find_server(None)
