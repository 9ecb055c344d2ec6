"""The lock of a journal: a file beside it that one process has locked.

It tells a journal that was closed in order from an older copy of it that was
put back: the last life notes in the journal when it marked the lock, and
whatever writes to the journal after that marks it again.
"""

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
        self.path: Path = path.with_name(path.name + "-lock")
        self._file: int | None = None
        self.stamp: int = 0
        """The time of the file's last change, which no program can set, in nanoseconds since 1970."""
        self.stamp_before: int = 0
        """The stamp that the last life of the journal left which wrote anything."""

    def take(self) -> None:
        """Lock, and note this process; raises StoreError that names the process that has it locked, OSError."""
        if sys.platform == "win32":
            raise StoreError(f"{self.path}: expected a system with flock, which Windows is not")
        # The file stays when the lock is gone: to delete it would let two processes lock two files of one name.
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _lines(file)[0] or "unknown"
            os.close(file)
            raise StoreError(
                f"{self.path}: expected a journal that is not open, process {holder} has it open"
            ) from None
        except OSError:
            os.close(file)
            raise
        self._file = file
        _, kept = _lines(file)
        self.stamp_before = int(kept) if kept.isdecimal() else os.fstat(file).st_ctime_ns
        self._note(f"{os.getpid()}\n{self.stamp_before}\n")

    def mark(self) -> None:
        """Have another stamp from now on, also after the loss of power: this process is about to write, or has."""
        self._note(f"{os.getpid()}\n")

    def _note(self, text: str) -> None:
        assert self._file is not None, "it is locked"
        try:
            os.ftruncate(self._file, 0)
            os.utime(self._file)
            os.pwrite(self._file, text.encode(), 0)
            os.fsync(self._file)
        except OSError:
            pass  # a full disk: the lock holds without a name
        self.stamp = os.fstat(self._file).st_ctime_ns

    def release(self) -> None:
        """Unlock; no error if it is not locked."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lines(file: int) -> tuple[str, str]:
    """Return the two lines of a lock: the process, and the stamp before it, until that process has written."""
    process, _, stamp = os.pread(file, 64, 0).decode(errors="replace").partition("\n")
    return process.strip(), stamp.strip()
