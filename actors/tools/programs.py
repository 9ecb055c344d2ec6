"""Programs in other languages, beside the devices: the API over HTTP and the webhooks, as options of a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.environment import Environment
from actors.kernel.failures import cancels
from actors.runtime import Runtime
from actors.tools.terminal import CannotStart, complain

if TYPE_CHECKING:
    from actors.http.answering import Answering
    from actors.http.keys import Keys
    from actors.http.undelivered import UndeliveredNotices

_MESSAGE_SECONDS = 300.0
"""Time for a program to begin its answer, and between two pieces of it: a model may think for minutes, and its user may
press Stop."""


@attrs.frozen(kw_only=True)
class ProgramOptions:
    """The options of the command line."""

    http: tuple[str, int] | None = None
    """The address of the API."""
    keys: Path | None = None
    message_url: str | None = None
    undelivered_url: str | None = None
    secret: Path | None = None
    """The file with the secret that signs webhooks."""


class Programs:
    """The doors of programs, before and while a runtime is open."""

    def __init__(
        self,
        options: ProgramOptions,
        *,
        keys: Keys | None = None,
        answering: Answering | None = None,
        notices: UndeliveredNotices | None = None,
    ) -> None:
        self._options = options
        self._keys = keys
        self._answering = answering
        self._notices = notices

    def __repr__(self) -> str:
        return f"<Programs {self._options!r}>"

    @property
    def hooks(self) -> dict[str, Any]:
        """The options with which the runtime is to be opened."""
        hooks: dict[str, Any] = {}
        if self._answering is not None:
            hooks["on_message"] = self._answering.on_message
        if self._notices is not None:
            hooks["on_undelivered"] = self._notices.on_undelivered
        return hooks

    @asynccontextmanager
    async def serving(self, runtime: Runtime) -> AsyncIterator[None]:
        """Serve the API, and tell what is undelivered, while the block runs; then let its requests end.

        Raises CannotStart, and the body's own exception, bare.
        """
        ended: BaseException | None = None
        async with trio.open_nursery() as nursery:
            try:
                if self._notices is not None:
                    nursery.start_soon(self._notices.run, runtime.failures)
                async with self._api(runtime, nursery):
                    yield
            except BaseException as error:
                if cancels(error):
                    raise
                ended = error
            nursery.cancel_scope.cancel()
        if ended is not None:
            raise ended

    @asynccontextmanager
    async def _api(self, runtime: Runtime, nursery: trio.Nursery) -> AsyncIterator[None]:
        if self._options.http is None:
            self._begin(None)
            yield
            return
        from actors.http import open_api, serve  # noqa: PLC0415 - the extra may not be installed
        from actors.web import inspector_pages  # noqa: PLC0415 - only an API shows it

        stop, stopped = trio.Event(), trio.Event()

        async def host(task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            private = self._keys is None
            await serve(api, *address, private=private, until=stop.wait, task_status=task_status)
            stopped.set()

        address = self._options.http
        async with open_api(runtime, keys=self._keys, pages=inspector_pages()) as api:
            try:
                bound = await nursery.start(host)
            except (OSError, ValueError) as error:
                text = error.strerror if isinstance(error, OSError) and error.strerror else error
                raise CannotStart(f"cannot listen on {address[0]}:{address[1]}: {text}") from None
            complain(f"programs call {_url(bound)}/v1")
            complain(f"people inspect it at {_url(bound)}/")
            self._begin(api.leases)
            try:
                yield
            finally:
                api.leave()
                stop.set()
            await stopped.wait()

    def _begin(self, leases: Any) -> None:
        if self._answering is not None:
            self._answering.begin(leases)


@asynccontextmanager
async def programs(options: ProgramOptions) -> AsyncIterator[Programs]:
    """Prepare the doors of programs; yields them, for the runtime that is to be opened in the block.

    Raises :class:`~actors.tools.terminal.CannotStart` where the extra is not installed, and for a file that is wrong.
    """
    if options == ProgramOptions():
        yield Programs(options)
        return
    try:
        import httpx  # noqa: PLC0415 - the same

        from actors.http.answering import Answering  # noqa: PLC0415 - the same
        from actors.http.keys import read_keys  # noqa: PLC0415 - the same
        from actors.http.undelivered import UndeliveredNotices  # noqa: PLC0415 - the same
        from actors.http.webhook import Patience, Webhook, read_secret  # noqa: PLC0415 - the same
    except ImportError as error:
        text = f"{error.name or error} is not installed; in the checkout: pip install '.[http]'"
        raise CannotStart(f"--http and webhooks need the extra [http]: {text}") from None
    secret = b"" if options.secret is None else _read(read_secret, options.secret)
    # Without a bound of its own, because each of these requests belongs to a run, or to a task of the notices: a
    # program that hangs holds those, and no connection that another one waits for.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
    async with httpx.AsyncClient(
        limits=limits, timeout=httpx.Timeout(_MESSAGE_SECONDS, connect=10.0, pool=None)
    ) as client:
        webhook = partial(Webhook, secret=secret, client=client, environment=Environment())
        patience = Patience(answer_seconds=_MESSAGE_SECONDS, total_seconds=2 * _MESSAGE_SECONDS)
        yield Programs(
            options,
            keys=None if options.keys is None else _read(read_keys, options.keys),
            answering=None
            if options.message_url is None
            else Answering(webhook(options.message_url, patience=patience)),
            notices=None
            if options.undelivered_url is None
            else UndeliveredNotices(webhook(options.undelivered_url, patience=Patience())),
        )


def _read(read: Any, path: Path) -> Any:
    try:
        return read(path)
    except ValueError as error:
        raise CannotStart(str(error)) from None


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
