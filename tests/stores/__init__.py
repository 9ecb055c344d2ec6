import pytest

pytest.register_assert_rewrite(
    *(f"tests.stores.{name}" for name in ("contract", "desk", "lives", "machine", "one_life")),
)
