import pytest

pytest.register_assert_rewrite(
    *(f"tests.stores.{name}" for name in ("contract", "desk", "journal_contract", "lives", "machine", "one_life")),
)
