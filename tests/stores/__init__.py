import pytest

pytest.register_assert_rewrite("tests.stores.contract", "tests.stores.journal_contract")
