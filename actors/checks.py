"""Checks of what an application hands in, made where it does so, because the first user would find out late."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, get_args, get_origin, get_type_hints

if sys.version_info >= (3, 14):
    from annotationlib import Format


class NotAwaitable(TypeError):
    """A function that was to be a coroutine function returned something else."""


def awaitable(name: str, value: Any) -> Awaitable[Any]:
    """Return a function's result, to be awaited.

    Raises :class:`NotAwaitable`, which names the function, if it cannot be
    awaited. That is checked here, at the call, because a lambda does not say
    before what it returns.
    """
    if inspect.isawaitable(value):
        return value
    raise NotAwaitable(f"{name}: expected a coroutine function, got one that returned {kind(value)}")


def described(value: object) -> str:
    """Describe a value in an error's words."""
    if isinstance(value, type) or inspect.isroutine(value):
        what = "the class" if isinstance(value, type) else "the function"
        return f"{what} {getattr(value, '__qualname__', value)}"
    if isinstance(value, str | bytes | int | float | bool | None):
        return repr(value)
    return kind(value)


def kind(value: object) -> str:
    """Name the kind of a value, and not the value, which may be secret, or long."""
    return "None" if value is None else type(value).__name__


def check_word(name: str, value: object, words: object) -> None:
    """Raise ValueError unless a value is one of a ``Literal``'s."""
    if not any(value == word for word in get_args(words)):
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, get_args(words)))}, got {value!r}")


def check_coroutine(name: str, function: object, *parameters: str) -> None:
    """Raise TypeError unless ``function`` takes so many arguments and, as far as can be known, returns an awaitable."""
    expected = f"{name}: expected a coroutine function, async def {name}({', '.join(parameters)})"
    if not callable(function):
        raise TypeError(f"{expected}, got {described(function)}")
    if isinstance(function, type) or inspect.isbuiltin(function) or _is_plain(function):
        raise TypeError(f"{expected}, got {described(function)}, which cannot be awaited")
    _check_parameters(expected, function, parameters)


def check_function(name: str, function: object, *parameters: str) -> None:
    """Raise TypeError unless ``function`` takes so many arguments and is no coroutine function."""
    expected = f"{name}: expected a function, {name}({', '.join(parameters)})"
    if not callable(function):
        raise TypeError(f"{expected}, got {described(function)}")
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise TypeError(f"{expected}, got a coroutine function, {described(function)}, which is not awaited")
    _check_parameters(expected, function, parameters)


def check_instance(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless a value is of a kind."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name}: expected an instance of {kind.__module__}.{kind.__qualname__}, got {described(value)}"
        )


def check_cursor(name: str, value: object) -> None:
    """Raise TypeError unless a value is a pair of an epoch and an offset, ValueError for an offset below 0."""
    match value:
        case (str(), int() as offset) if isinstance(value, tuple) and not isinstance(offset, bool):
            if offset < 0:
                raise ValueError(f"{name}: expected an offset from 0 on, got {offset}")
        case _:
            raise TypeError(f"{name}: expected a pair of an epoch and an offset, got {described(value)}")


def _check_parameters(expected: str, function: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    try:
        signature = _signature(function)
    except (TypeError, ValueError):  # it does not say
        return
    try:
        signature.bind(*parameters)
    except TypeError:
        raise TypeError(f"{expected}, got one that takes {signature}") from None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        # There annotations are evaluated when they are looked at, and may name what only type checkers import.
        return inspect.signature(function, annotation_format=Format.STRING)
    return inspect.signature(function)


def _is_plain(function: Callable[..., Any]) -> bool:
    """True for ``def`` without ``async`` that is not annotated to return an awaitable.

    Lambdas cannot say it, and objects that are called may do as they like.
    """
    bare: Any = function
    while isinstance(bare, partial) or (_is_function(bare) and hasattr(bare, "__wrapped__")):
        bare = bare.func if isinstance(bare, partial) else bare.__wrapped__
    if not _is_function(bare) or inspect.iscoroutinefunction(bare) or bare.__name__ == "<lambda>":
        return False
    try:
        returned = get_type_hints(bare).get("return")
    except (NameError, AttributeError, TypeError, SyntaxError):  # of what only a type checker or a person reads
        return False
    kind = get_origin(returned) or returned
    return not (isinstance(kind, type) and issubclass(kind, Awaitable))


def _is_function(value: object) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value)
