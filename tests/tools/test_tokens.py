"""The file of tokens: the users that it lets in, and what it is refused for, by the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.server.authentication import Credentials
from actors.tools.terminal import CannotStart
from actors.tools.tokens import check_against, read_tokens

SECRET = "s3cret-of-alice"
ALICE = f'{SECRET} = "alice"\n'


def written(path: Path, content: str | bytes) -> Path:
    file = path / "tokens.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    "content",
    [
        ALICE,
        f"\n# who is who\n\n{ALICE}",
        ALICE.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + ALICE.encode(),
        f'{SECRET} = """\\\n  alice"""',
    ],
    ids=["plain", "comments", "carriage_returns", "byte_order_mark", "several_lines"],
)
def test_a_file_of_tokens(content: str | bytes, tmp_path: Path) -> None:
    """A file is read as TOML, whichever editor wrote it."""
    assert read_tokens(written(tmp_path, content)) == {SECRET: "alice"}


def test_what_tokens_may_be(tmp_path: Path) -> None:
    """A user may have several tokens, and a token dots, spaces and letters of any script in it."""
    content = 'a-1 = "alice"\n"a.2" = "alice"\n"pass phrase" = "bob"\n"jeton-é" = "zoé"'
    found = {"a-1": "alice", "a.2": "alice", "pass phrase": "bob", "jeton-é": "zoé"}
    assert read_tokens(written(tmp_path, content)) == found


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ('"" = "mallory"', "got an empty token"),
        ("'' = 'mallory'", "got an empty token"),
        ('" " = "mallory"', "got an empty token"),
        ('"\\t\\n" = "mallory"', "got an empty token"),
        ('"\u00a0" = "mallory"', "got an empty token"),
        ('" t0ken" = "mallory"', "got a token with white space around it"),
        ('"t0ken\\n" = "mallory"', "got a token with white space around it"),
        ('"t0\\u0000ken" = "mallory"', "control characters in it"),
        (f'{"t0ken" * 1_000} = "mallory"', "at most 4096 characters, got 5000"),
        ('t0ken = ""', "user: expected 1 to 256 characters, got 0"),
        ('t0ken = " "', "user: expected a name without white space around it"),
        ('t0ken = "mallory "', "user: expected a name without white space around it"),
        (f't0ken = "{"m" * 257}"', "user: expected 1 to 256 characters, got 257"),
        ("t0ken = 7", "user: expected a string, got int"),
        ("t0ken = true", "user: expected a string, got bool"),
        ('t0ken = ["mallory"]', "user: expected a string, got list"),
        ("t0ken = 2020-01-01", "user: expected a string, got date"),
        ('t0.ken = "mallory"', "got a table; quote a token with dots in it"),
        ('[t0ken]\nuser = "mallory"', "got a table"),
        ('[[t0ken]]\nuser = "mallory"', "user: expected a string, got list"),
    ],
)
def test_what_an_entry_is_refused_for(entry: str, problem: str, tmp_path: Path) -> None:
    """A token that no client can have, or every client has, is refused by its line; so is a user that is none. No
    token shows."""
    file = written(tmp_path, f'# who is who\n{ALICE}bobs = """\nbob"""\n{entry}\n')
    with pytest.raises(CannotStart) as caught:
        read_tokens(file)
    text = str(caught.value)
    assert text.startswith(f"{file}: line 5: ")
    assert problem in text
    assert "t0" not in text.removeprefix(str(file))
    assert SECRET not in text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f'{ALICE}{SECRET} = "bob"\n', "expected TOML, Cannot overwrite a value (at line 2, "),
        (f'{ALICE}"{SECRET}" = "alice"\n', "expected TOML, Cannot overwrite a value (at line 2, "),
        (f"[{SECRET}]\n[{SECRET}]\n", "expected TOML, Cannot declare (at line 2, "),
        (f"{ALICE}= 'bob'\n", "expected TOML, Invalid statement (at line 2, column 1)"),
        (f"{SECRET}\n", "expected TOML, "),
        ("a = " + "[" * 10_000, "expected TOML, "),
        ("a = " + "1" * 10_000, "expected TOML, "),
        (f"{ALICE}# caf\xe9\n".encode("latin-1"), "line 2: expected UTF-8"),
        (ALICE.encode("utf-16"), "line 1: expected UTF-8"),
        ("", "expected a line token = "),
        ("# nobody yet\n", "expected a line token = "),
    ],
)
def test_what_a_file_is_refused_for(content: str | bytes, problem: str, tmp_path: Path) -> None:
    """A file of another kind is refused, with the line where there is one, and no token shows."""
    with pytest.raises(CannotStart) as caught:
        read_tokens(written(tmp_path, content))
    assert problem in str(caught.value)
    assert SECRET not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    """A file that cannot be read is refused in words."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CannotStart, match="expected a file of tokens, "):
            read_tokens(path)


async def test_whom_it_lets_in() -> None:
    """Only the exact token has a user."""
    authenticate = check_against({SECRET: "alice"})

    async def who(token: str) -> str | None:
        return await authenticate(Credentials(token=token, source="hello", peer="a peer", headers={}))

    assert await who(SECRET) == "alice"
    for token in ("", " ", SECRET.upper(), f"{SECRET} ", SECRET[:-1], "alice", "\ud800"):
        assert await who(token) is None
