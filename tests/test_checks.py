"""Checks of what an application hands in."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal

import pytest

from actors.checks import (
    NotAwaitable,
    awaitable,
    check_coroutine,
    check_function,
    check_instance,
    check_word,
    described,
    kind,
)


async def coroutine(event: object) -> None:
    """A coroutine function of one argument."""


def plain(event: object) -> None:
    """A function of one argument."""


def promised(event: object) -> Awaitable[None]:
    """A function that says that its result can be awaited."""
    return coroutine(event)


class Callback:
    """An object that is called."""

    async def __call__(self, event: object) -> None:
        """Take an event."""


@pytest.mark.parametrize("function", [coroutine, promised, partial(coroutine), Callback(), lambda event: None])
def test_what_may_be_awaited_passes(function: Any) -> None:
    """What is async, says so, or cannot say it, is taken."""
    check_coroutine("on_event", function, "event")


@pytest.mark.parametrize(
    ("check", "function", "came"),
    [
        (check_coroutine, plain, "the function plain, which cannot be awaited"),
        (check_coroutine, partial(plain), "partial, which cannot be awaited"),
        (check_coroutine, dict, "the class dict, which cannot be awaited"),
        (check_coroutine, 5, "5"),
        (check_coroutine, lambda: None, "one that takes ()"),
        (check_function, coroutine, "a coroutine function, the function coroutine, which is not awaited"),
        (check_function, Callback(), "a coroutine function, Callback, which is not awaited"),
        (check_function, "plain", "'plain'"),
        (check_function, lambda: None, "one that takes ()"),
    ],
)
def test_what_cannot_be_called_as_it_will_be(check: Callable[..., None], function: Any, came: str) -> None:
    """The error says what was expected under which name, and what came."""
    with pytest.raises(TypeError) as caught:
        check("on_event", function, "event")
    expected, _, got = str(caught.value).partition(", got ")
    assert expected.startswith("on_event: expected a ")
    assert got == came


@pytest.mark.parametrize("returns", ["Answer", "trio.NoSuchName", "'a user, or nothing'", "'Answer'"])
def test_annotations_are_not_run(returns: str) -> None:
    """A function may be annotated with what only a type checker imports, or in words, on every Python."""
    late = sys.version_info >= (3, 14)  # where annotations are evaluated late without being asked to
    source = f"import trio\ndef on_event(event) -> {returns}: ..."
    given: dict[str, Any] = {}
    exec(compile(source if late else f"from __future__ import annotations\n{source}", "app.py", "exec"), given)  # noqa: S102
    check_coroutine("on_event", given["on_event"], "event")
    with pytest.raises(TypeError, match=r"got one that takes \(event"):
        check_coroutine("on_event", given["on_event"])


async def test_results() -> None:
    """What a lambda returned is looked at when it is called."""
    await awaitable("on_event", coroutine(None))
    with pytest.raises(NotAwaitable, match=r"^on_event: expected a coroutine function, got one that returned int$"):
        awaitable("on_event", 5)


def test_words_and_instances() -> None:
    """A word is one of a literal's, an instance of one class."""
    check_word("origin", "low", Literal["low", "unacked"])
    check_instance("limits", 5, int)
    with pytest.raises(ValueError, match=r"^origin: expected one of 'low', 'unacked', got 'high'$"):
        check_word("origin", "high", Literal["low", "unacked"])
    with pytest.raises(TypeError, match=r"^limits: expected an instance of builtins\.int, got 'x'$"):
        check_instance("limits", "x", int)


def test_values_in_words() -> None:
    """A short value is quoted; of another its kind is said, because it may be secret, or long."""
    assert [described(value) for value in (None, 5, "x", [1], int)] == ["None", "5", "'x'", "list", "the class int"]
    assert [kind(value) for value in (None, "secret")] == ["None", "str"]
