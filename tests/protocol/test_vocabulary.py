"""Nothing is said that is not written down.

Each op, field, word and code of the protocol is on its page, in a transcript
and in the browser's client, or stands in a short list here with the reason.
That codes are on the page and in transcripts is held by ``test_page`` and
``test_transcripts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import actors
from actors.errors import PeerError
from actors.events.delivered import Event
from actors.protocol import client_messages, server_messages
from actors.protocol.codes import CLOSINGS, REFUSALS
from tests.protocol.reading import ALL
from tests.protocol.test_page import PAGE

WEB = Path(actors.__file__).parent / "web"
BROWSER = (WEB / "actors.js").read_text()
DECLARED = (WEB / "actors.d.ts").read_text()

NOT_IN_THE_BROWSER = {
    "head": "a client has caught up when its server says so, and a ping is a sign of life wherever the log ends",
    "ok": "a reply without an error is one to a request that was carried out",
}
"""Fields that the browser's client does not look at, and why."""


def kinds(module: Any) -> list[type[msgspec.Struct]]:
    """The structs of one role's messages."""
    structs = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, module.Message)]
    return [kind for kind in structs if kind is not module.Message]


def op_of(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


SAID, HEARD = kinds(client_messages), kinds(server_messages)
BOTH = [
    pytest.param(role, kind, id=f"{role}-{kind.__name__}")
    for role, of_role in (("client", SAID), ("server", HEARD))
    for kind in of_role
]
PARTS: list[type[msgspec.Struct]] = [
    Event,
    client_messages.ResumePoint,
    server_messages.ServerLimits,
    server_messages.Problem,
    server_messages.Beginning,
    server_messages.Question,
]
"""The structs of which messages are made."""

WORDS = [client_messages.Origin, server_messages.Resume, server_messages.AskEnd, server_messages.RunLoss]
"""The words that a field may hold."""

NOT_TRANSCRIBED = {
    "gone": "needs a server that loses the last event of a run; clients conclude it from a pong",
}
"""Words that no transcript has, and why."""


def is_outcome(kind: type[msgspec.Struct]) -> bool:
    return issubclass(kind, server_messages.Reply) and kind is not server_messages.Reply


def fields_of(kind: type[msgspec.Struct]) -> set[str]:
    """The fields of a struct, by their names in JSON; of an outcome of a request those of its own."""
    shared = server_messages.Reply.__struct_encode_fields__ if is_outcome(kind) else ()
    return set(kind.__struct_encode_fields__) - set(shared)


def examples() -> Iterator[str]:
    """The messages on the page: in a line of text, and in blocks, where a line may go on in the next one."""
    yield from re.findall(r'`(\{"op":[^`]+)`', PAGE)
    for block in re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE):
        yield from re.findall(r'\{"(?:op|type)":.*?(?=^ {4}\{|\Z)', block, re.MULTILINE | re.DOTALL)


EXAMPLES = list(examples())
TRANSCRIBED = {
    "client": [one for scenario in ALL for verb in ("says", "wants") for one in scenario.messages(verb)],
    "server": [one for scenario in ALL for one in scenario.messages("hears")],
}


def names_in(text: str) -> set[str]:
    """The words of JavaScript's or TypeScript's code, without those of comments, strings and patterns."""
    code = re.sub(r"/\*.*?\*/|^\s*//.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"[a-z]\w*", re.sub(r'"[^"\n]*"|/\^.*?/', "", code)))


def parts_of(value: object) -> Iterator[dict[str, Any]]:
    """Each object in a message, however deep."""
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts_of(child)
    if isinstance(value, dict):
        yield value


@pytest.mark.parametrize(("role", "kind"), BOTH)
def test_on_the_page(role: str, kind: type[msgspec.Struct]) -> None:
    """Each op is an example on the page, and each of its fields is in one; those of an outcome are in one together."""
    of_op = [example for example in EXAMPLES if f'"op":"{op_of(kind)}"' in example]
    assert of_op, f"no example of {op_of(kind)}"
    shown = of_op if is_outcome(kind) else ["".join(of_op)]
    missing = [{field for field in fields_of(kind) if f'"{field}":' not in example} for example in shown]
    assert set() in missing, f"{op_of(kind)}: not in an example: {min(missing, key=len)}"


@pytest.mark.parametrize(("role", "kind"), BOTH)
def test_in_a_transcript(role: str, kind: type[msgspec.Struct]) -> None:
    """Each op is said in a transcript, and each of its fields with it."""
    of_op = [message for message in TRANSCRIBED[role] if message.get("op") == op_of(kind)]
    assert of_op, f"no transcript has {op_of(kind)}"
    assert fields_of(kind) <= {field for message in of_op for field in message}


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_parts_are_written_down(kind: type[msgspec.Struct]) -> None:
    """Each field of what messages are made of is on the page and in a transcript."""
    fields = fields_of(kind)
    assert not {field for field in fields if not re.search(f'["`]{field}["`]', PAGE)}
    everything = [*TRANSCRIBED["client"], *TRANSCRIBED["server"]]
    transcribed = {field for message in everything for part in parts_of(message) for field in part}
    of_limits = fields if kind is server_messages.ServerLimits else set[str]()  # transcripts name them as Limits does
    assert fields - of_limits <= transcribed


def test_words_are_written_down() -> None:
    """Each word that a field may hold is on the page and in a transcript."""
    words = {word for one in WORDS for word in get_args(one)}
    assert not {word for word in words if not re.search(f'["`]{word}["`]', PAGE)}
    everything = [*TRANSCRIBED["client"], *TRANSCRIBED["server"]]
    transcribed = {value for message in everything for value in message.values() if isinstance(value, str)}
    assert words - transcribed == set(NOT_TRANSCRIBED)


def test_in_the_browser() -> None:
    """The browser's client handles each op of a server and says each of a client; and it knows their fields."""
    handled = BROWSER[BROWSER.index("#ops = {") :]
    for kind in HEARD:
        assert re.search(rf"^    {op_of(kind)}: ", handled, re.MULTILINE), f"no handler of {op_of(kind)}"
    for kind in SAID:
        assert re.search(rf'"?op"?: ?"{op_of(kind)}"', BROWSER), f"nothing says {op_of(kind)}"
    everything: list[type[msgspec.Struct]] = [*SAID, *HEARD, *PARTS]
    fields = {field for kind in everything for field in kind.__struct_encode_fields__}
    assert fields - (names_in(BROWSER) | names_in(DECLARED)) == set(NOT_IN_THE_BROWSER)


def test_codes_in_the_browser() -> None:
    """The browser's client comes back after the codes that say so, and not after the others."""
    found = re.search(r"const FINAL_CODE = /(.*)/;", BROWSER)
    assert found is not None
    for row in CLOSINGS.values():
        assert bool(re.search(found[1], str(row.code))) != row.temporary, row
    assert all(row.temporary == (row.code < 4500) for row in REFUSALS.values()), "the page's rule, which needs no rows"


def test_no_other_op() -> None:
    """No page and no client has an op that the protocol does not have."""
    ops = {op_of(kind) for kind in [*SAID, *HEARD]}
    assert set(re.findall(r'"op":"(\w+)"', PAGE)) == ops
    handled = BROWSER[BROWSER.index("#ops = {") : BROWSER.index("  };", BROWSER.index("#ops = {"))]
    assert set(re.findall(r"^    (\w+): ", handled, re.MULTILINE)) - {"__proto__"} == {op_of(kind) for kind in HEARD}


def test_each_op_is_decoded() -> None:
    """No struct is forgotten by the decoder of its role."""
    for kind in SAID:
        with suppress(PeerError):
            told = client_messages.decode(f'{{"op":"{op_of(kind)}","id":"c1"}}')
            assert not isinstance(told, client_messages.Unknown), kind
    for kind in HEARD:
        with suppress(PeerError):
            assert server_messages.decode(f'{{"op":"{op_of(kind)}"}}') is not None, kind
