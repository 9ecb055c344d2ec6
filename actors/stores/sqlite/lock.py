"""The lock of a journal: a file beside it that one process has locked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from actors.errors import StoreError

if sys.platform != "win32":
    import fcntl


class Lock:
    """An exclusive ``flock`` on ``<path>-lock``. The system lets go of it when the process ends, however it does."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + "-lock")
        self._file: int | None = None

    def take(self) -> None:
        """Lock, and note this process; raises StoreError that names the process that has it locked, OSError."""
        if sys.platform == "win32":
            raise StoreError(f"{self.path}: expected a system with flock, which Windows is not")
        # The file stays when the lock is gone: to delete it would let two processes lock two files of one name.
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise StoreError(
                f"{self.path}: expected a journal that is not open, process {holder} has it open"
            ) from None
        except OSError:
            os.close(file)
            raise
        self._file = file
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # a full disk: the lock holds without a name

    def release(self) -> None:
        """Unlock; no error if it is not locked."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
