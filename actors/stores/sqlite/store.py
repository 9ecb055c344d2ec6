"""A store in a SQLite file: what STORED says there survives the process, and the loss of power."""

from __future__ import annotations

import os
from os import PathLike
from typing import Literal

from actors.checks import check_word
from actors.stores.batch_writer import Policy
from actors.stores.local import LocalStore
from actors.stores.sqlite.journal import SQLiteJournal

Synchronous = Literal["full", "normal"]


class SQLiteStore(LocalStore):
    """The :class:`~actors.stores.store.Store` in a file, for one process at a time.

    ``synchronous="full"`` promises ``POWER``: a commit has returned when the
    disk has it. ``"normal"`` promises ``PROCESS``, and may lose the newest
    events with the power; then each log goes on in another epoch, and devices
    that saw what is gone are told.

    ``trouble`` says what becomes of events while the file cannot be written, on
    a full disk for example: ``"wait"`` has emitters wait, ``"refuse"`` has
    ``emit`` raise StoreUnavailable, and ``"volatile"`` delivers them live, from
    memory, until they can be written; their receipts say that they survive
    nothing. Raises TypeError for what is no path, ValueError for other words.
    """

    def __init__(
        self, path: str | PathLike[str], *, synchronous: Synchronous = "full", trouble: Policy = "wait"
    ) -> None:
        if not isinstance(path, str | PathLike):
            raise TypeError(f"SQLiteStore(path): expected the path of a file, got {type(path).__name__}")
        check_word("SQLiteStore(synchronous)", synchronous, Synchronous)
        check_word("SQLiteStore(trouble)", trouble, Policy)
        super().__init__(SQLiteJournal(os.fspath(path), synchronous), policy=trouble)
