"""The address that a command listens on, or why it cannot."""

from __future__ import annotations

from tests.tools.command import check_refusal, device, run, running

ANYWHERE = "0.0.0.0"  # noqa: S104 - what is tested is that it is guarded


async def test_an_address_may_stand_in_brackets() -> None:
    """An address of IPv6 is taken as it stands in a URL."""
    async with running("serve", "--host", "[::1]") as command, device(command.url, "alice"):
        assert command.url.startswith("ws://[::1]:")


async def test_an_open_address_needs_tokens() -> None:
    """Without tokens only loopback is served."""
    check_refusal(await run("serve", "--host", ANYWHERE, "--port", "0"), "expected a loopback address")


async def test_a_port_in_use_is_one_line() -> None:
    """A second server on one port says which port it was."""
    async with running("serve") as command:
        port = command.url.removesuffix("/ws").rpartition(":")[2]
        check_refusal(await run("serve", "--port", port), f"cannot listen on 127.0.0.1:{port}")
        check_refusal(await run("demo", "--port", port), f"cannot listen on 127.0.0.1:{port}")
