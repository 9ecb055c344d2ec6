"""An endpoint over TLS that never blocks: the standard library's engine between two memory buffers."""

from __future__ import annotations

import ssl

import trio

from actors.wire.endpoint import Endpoint

RECORD_BYTES = 16_384
"""The most plaintext that one TLS record carries."""


def check_context(context: ssl.SSLContext) -> None:
    """Raise ValueError for a context that no server can use, before the first connection would fail on it."""
    if not isinstance(context, ssl.SSLContext) or context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        got = "one of a client" if isinstance(context, ssl.SSLContext) else type(context).__name__
        raise ValueError(f"ssl_context: expected an ssl.SSLContext of a server (Purpose.CLIENT_AUTH), got {got}")


class Disagreement(trio.BrokenResourceError):
    """The peer and this side agreed on no keys: it does not speak TLS, or does not take the certificate."""


class TLSEndpoint:
    """An :class:`~actors.wire.endpoint.Endpoint` that encrypts its bytes over another one."""

    __slots__ = ("_below", "_cipher", "_engine", "_incoming", "_outgoing", "_uncounted", "peer")

    carrier = None

    def __init__(self, below: Endpoint, context: ssl.SSLContext) -> None:
        self.peer = below.peer
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._cipher = b""
        """Encrypted bytes that the pipe below has not taken yet."""
        self._uncounted = 0
        """Plaintext bytes of ``_cipher`` that :meth:`send` has not returned yet."""

    def fileno(self) -> int:
        """See :class:`Endpoint`."""
        return self._below.fileno()

    @property
    def has_read_ahead(self) -> bool:
        """True if the engine has bytes, of which the pipe below does not know. See :class:`Endpoint`."""
        return bool(self._engine.pending() or self._incoming.pending or self._incoming.eof)

    async def handshake(self) -> None:
        """Agree on keys; a checkpoint.

        Raises :class:`Disagreement` when the peer does not speak TLS, or does
        not take the certificate, BrokenResourceError when it goes before.
        """
        while True:
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_all()
                await self._below.wait_readable()
                self._feed()
            except ssl.SSLEOFError:
                raise trio.BrokenResourceError(f"{self.peer}: expected TLS, got the end") from None
            except ssl.SSLError as error:
                self._flush()  # the alert, with the reason for the peer
                raise Disagreement(f"{self.peer}: expected TLS, got {error.reason}") from None
            else:
                await self._flush_all()
                return

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """See :class:`Endpoint`. As with OpenSSL, the next call must begin with the bytes that were not taken."""
        taken = 0
        with memoryview(data) as view:  # released even when it raises, because the caller may resize its buffer
            while self._flush():
                taken, self._uncounted = taken + self._uncounted, 0
                if taken == len(view):
                    break
                try:
                    self._uncounted = self._engine.write(view[taken : taken + RECORD_BYTES])
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError(f"{self.peer}: {error.reason}") from None
        return taken

    def receive(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`."""
        data = self.receive_ahead(most_bytes)
        if data is None and self._feed():
            # Once, because a peer can send records without end that carry nothing for us.
            data = self.receive_ahead(most_bytes)
        return data

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`: what the engine has. A part of a record stays there, and the rest of it is noticed
        below."""
        try:
            return self._engine.read(most_bytes)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"{self.peer}: {error.reason}") from None

    def pending_bytes(self) -> int:
        """See :class:`Endpoint`."""
        return len(self._cipher) + self._below.pending_bytes()

    async def wait_writable(self) -> None:
        """See :class:`Endpoint`."""
        await self._below.wait_writable()

    async def wait_readable(self) -> None:
        """See :class:`Endpoint`."""
        if self.has_read_ahead:
            await trio.lowlevel.checkpoint()
        else:
            await self._below.wait_readable()

    def finish(self) -> None:
        """See :class:`Endpoint`; sends no close_notify of TLS."""

    def close(self) -> None:
        """See :class:`Endpoint`."""
        self._below.close()

    def abort(self) -> None:
        """See :class:`Endpoint`."""
        self._below.abort()

    def _feed(self) -> bool:
        """Move arrived bytes to the engine; false when there are none."""
        data = self._below.receive(4 * RECORD_BYTES)
        if data is None:
            return False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return True

    def _flush(self) -> bool:
        """Pass on encrypted bytes; true when the pipe below took all of them."""
        self._cipher += self._outgoing.read()
        if self._cipher:
            self._cipher = self._cipher[self._below.send(self._cipher) :]
        return not self._cipher

    async def _flush_all(self) -> None:
        while not self._flush():
            await self._below.wait_writable()
