"""Errors of the network in the system's own words."""

from __future__ import annotations

import errno
import socket

import pytest

from actors.wire.reasons import reasons


def caused(error: Exception, cause: BaseException) -> Exception:
    """An error that another one explains."""
    error.__cause__ = cause
    return error


REFUSED = OSError(errno.ECONNREFUSED, "Error connecting to ('127.0.0.1', 9): refused")
UNREACHABLE = OSError(errno.ENETUNREACH, "Network is unreachable")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (REFUSED, "Connection refused"),
        (caused(OSError("all attempts to connect to x:9 failed"), REFUSED), "Connection refused"),
        (
            caused(
                OSError("all attempts to connect to x:9 failed"), ExceptionGroup("", [REFUSED, UNREACHABLE, REFUSED])
            ),
            "Connection refused; Network is unreachable",
        ),
        (ExceptionGroup("", [ExceptionGroup("", [UNREACHABLE])]), "Network is unreachable"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "a name that no host can have"),
        (OSError("a line\nand another"), r"a line\nand another"),
        (OSError(), "no reason"),
    ],
)
def test_reasons(error: BaseException, said: str) -> None:
    """The system's reasons, each once and on one line; not that all attempts failed."""
    assert reasons(error) == said
