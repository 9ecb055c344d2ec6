"""Keys: what a file may say, and how far a key reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.http.keys import BadKeys, Key, Keys, read_keys

SECRET = "s3cret-s3cret-s3cret"


def test_a_file_of_keys(tmp_path: Path) -> None:
    """A line is a key that reaches everything but the operators' part; a table may bound or widen it."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'billing = "{SECRET}-1"\n[support]\nkey = "{SECRET}-2"\nthreads = ["support-"]\nusers = ["a", "b"]\n'
        f'[ops]\nkey = "{SECRET}-3"\nadmin = true\n'
    )
    keys = read_keys(path)
    assert keys.find(f"Bearer {SECRET}-1") == Key(name="billing")
    assert keys.find(f"bearer  {SECRET}-2") == Key(name="support", threads=("support-",), users=("a", "b"))
    assert keys.find(f"Bearer {SECRET}-3") == Key(name="ops", admin=True)
    assert repr(keys) == "<Keys of billing, support, ops>"
    for wrong in (None, "", "Bearer", f"Basic {SECRET}-1", f"Bearer {SECRET}", f"{SECRET}-1", "Bearer \udc80"):
        assert keys.find(wrong) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "got none"),
        ("x", "expected TOML"),
        (f'a = "{SECRET}', "expected TOML"),
        ('a = "short"', "key 'a': expected a key of 16 to 1024 characters, got 5"),
        (f'a = "{SECRET}\\u00e9"', "key 'a': expected a key of visible ASCII characters"),
        (f'a = "{SECRET} "', "key 'a': expected a key of visible ASCII characters"),
        ("a = 1", "key 'a': expected name"),
        (f'a = "{SECRET}"\nb = "{SECRET}"', "key 'b': expected a key of its own, it is that of 'a'"),
        (f'[a]\nkey = "{SECRET}"\nadmins = true', "key 'a': Object contains unknown field `admins`"),
        ('[a]\nthreads = ["x"]', "key 'a': Object missing required field `key`"),
        (f'"" = "{SECRET}"', "key '': name: expected 1 to 256 characters, got 0"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, text: str, complaint: str) -> None:
    """It is refused with the name of the entry, and no key is shown."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(BadKeys) as caught:
        read_keys(path)
    assert complaint in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The file is named."""
    with pytest.raises(BadKeys, match=r"missing\.toml: expected a file of keys, No such file"):
        read_keys(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(BadKeys, match="expected UTF-8"):
        read_keys(tmp_path / "latin.toml")


def test_how_far_a_key_reaches() -> None:
    """Without prefixes everywhere, with some to what begins with one of them."""
    bounded = Key(name="x", threads=("a-", "b-"), users=("u",))
    assert [bounded.reaches_thread(one) for one in ("a-1", "b-", "a", "c-a-")] == [True, True, False, False]
    assert bounded.reaches_user("u1")
    assert not bounded.reaches_user("v")
    assert Key(name="y").reaches_thread("")
    assert Key(name="y").reaches_user("z")
    assert Keys({}).find("Bearer ") is None
