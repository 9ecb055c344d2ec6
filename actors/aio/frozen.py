"""Frozen payloads: encoded in the step of their caller, here, because another thread is to read them.

A dict that its owner changes meanwhile would be encoded half changed; and what
JSON cannot carry is an error of the line that handed it in.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.events.event import Payload, encode
from actors.limits import Limits

_PAYLOAD = b',"payload":'
_AFTER_PAYLOAD = b',"thread_id":'
_ID = "e"
"""An id like any, for an encoding of which the payload alone is used."""


def frozen(type_: str, payload: Payload, limits: Limits) -> msgspec.Raw:
    """Encode the payload of an event. Raises :class:`~actors.errors.Unencodable` as ``emit`` does."""
    text = encode(type_, payload, _ID, None, _ID, 0.0, limits)
    # Neither mark can stand in a string, which escapes its quotes; and after the payload come only an id and a time.
    return msgspec.Raw(text[text.index(_PAYLOAD) + len(_PAYLOAD) : text.rindex(_AFTER_PAYLOAD)])


def frozen_value(name: str, value: Any, limits: Limits) -> msgspec.Raw | None:
    """Encode a value that is to stand in a payload under a name; None is none. Raises as :func:`frozen` does."""
    if value is None:
        return None
    text = bytes(frozen("value", {name: value}, limits))
    return msgspec.Raw(text[len(name) + 4 : -1])
