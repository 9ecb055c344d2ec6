"""Calls into the application's functions: the words for what is not one, or does not return what can be awaited."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any


class NotAwaitable(TypeError):  # noqa: N818 - what the answer is
    """A function that was to be a coroutine function returned something else."""


def awaitable(name: str, value: Any) -> Awaitable[Any]:
    """What a function has returned, to be awaited.

    Raises :class:`NotAwaitable`, which names the function, if it cannot be.
    For what could not be known before the first call: a lambda does not say
    what it returns.
    """
    if inspect.isawaitable(value):
        return value
    raise NotAwaitable(f"{name}: expected a coroutine function, got one that returned {kind(value)}")


def described(value: object) -> str:
    """Something in an error's words."""
    if isinstance(value, type) or inspect.isroutine(value):
        what = "the class" if isinstance(value, type) else "the function"
        return f"{what} {getattr(value, '__qualname__', value)}"
    if isinstance(value, str | bytes | int | float | bool | None):
        return repr(value)
    return kind(value)


def kind(value: object) -> str:
    """The same without its value, which may be secret, or long."""
    return "None" if value is None else type(value).__name__
