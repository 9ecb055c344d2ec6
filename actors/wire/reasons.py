"""The reasons of a network error, in the system's words and on one line."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

from actors.kernel.failures import printable


def reasons(error: BaseException) -> str:
    """Return the reasons of a network error, each once: ``Connection refused``, or that of a certificate.

    An attempt at several addresses raises a group of errors, or an error caused
    by such a group, whose own text says only that all of them failed.
    """
    texts = dict.fromkeys(_reason(leaf) for leaf in _leaves(error))
    return printable("; ".join(text for text in texts if text)) or "no reason"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that have no cause."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    elif error.__cause__ is not None and not isinstance(error, UnicodeError):
        yield from _leaves(error.__cause__)
    else:
        yield error


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that is not trusted, {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        if error.reason == "UNEXPECTED_EOF_WHILE_READING":
            return "the end of the connection"
        return (error.reason or "a failure").replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, UnicodeError):
        return "a name that no host can have"
    return str(error)
