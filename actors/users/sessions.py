"""The ids of sessions, signed, so that a session is known in a later life without being stored.

    s_<24 digits of randomness><the first offset, in hexadecimal>_<signature>

The signature is of the user and the rest, under a secret of the store. The
first offset is the one at which the session began: up to there a cursor says
nothing of what this client was sent.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest

import msgspec

from actors.environment import Environment

_RANDOM_DIGITS = 24
_SIGNATURE_BYTES = 12


def new_session_id(secret: bytes, user_id: str, first_offset: int, environment: Environment) -> str:
    """Make the id of a session that begins at an offset."""
    unsigned = f"{environment.new_id('s')}{first_offset:x}"
    return f"{unsigned}_{_signature(secret, user_id, unsigned)}"


def first_offset_of(secret: bytes, user_id: str, session_id: str) -> int | None:
    """Return the offset at which a session began; ``None`` for an id that was not made for this user here."""
    unsigned, _, signature = session_id.rpartition("_")
    if not compare_digest(signature.encode(), _signature(secret, user_id, unsigned).encode()):
        return None
    return int(unsigned.removeprefix("s_")[_RANDOM_DIGITS:], 16)


def _signature(secret: bytes, user_id: str, unsigned: str) -> str:
    text = msgspec.json.encode([user_id, unsigned])
    return hashlib.blake2b(text, key=secret, digest_size=_SIGNATURE_BYTES).hexdigest()
