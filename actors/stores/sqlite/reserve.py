"""Room that is kept free for the day on which the disk is full.

SQLite cannot delete without writing: what a transaction changes goes to the
write-ahead log first, and from there to the file when that can grow. On a disk
without room neither can, and a journal that may not forget can never write
again. So a file as large as the log may become is kept beside it, and given up
for the time of a checkpoint and of the deletions that make room.
"""

from __future__ import annotations

import os
from pathlib import Path

BYTES = 4 * 1024 * 1024
"""The room: 1 MiB at which SQLite checkpoints its log, and a batch of 2 MiB in pages."""


class Reserve:
    """The file ``<path>-reserve``."""

    def __init__(self, path: Path, size_bytes: int = BYTES) -> None:
        self.path: Path = path.with_name(path.name + "-reserve")
        self._size_bytes = size_bytes

    @property
    def is_there(self) -> bool:
        """True if the room is kept."""
        try:
            return self.path.stat().st_size >= self._size_bytes
        except OSError:
            return False

    def keep(self) -> bool:
        """Keep the room, if there is so much; false without it."""
        if self.is_there:
            return True
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            _allocate(file, self._size_bytes)
        except OSError:
            self.give()  # half a reserve is of no use, and takes room
            return False
        finally:
            os.close(file)
        return True

    def give(self) -> None:
        """Give the room up."""
        self.path.unlink(missing_ok=True)


def _allocate(file: int, size_bytes: int) -> None:
    """Have blocks of its own for each byte of a file; raises OSError where there are not so many."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size_bytes)
        return
    zeros = memoryview(bytes(size_bytes))
    while zeros:
        zeros = zeros[os.write(file, zeros) :]
