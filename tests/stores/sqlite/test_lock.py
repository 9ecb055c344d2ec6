"""One process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.errors import StoreError
from actors.stores.sqlite.lock import Lock


def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    """The text names the file and the process."""
    one, two = Lock(tmp_path / "events.db"), Lock(tmp_path / "events.db")
    one.take()
    with pytest.raises(StoreError, match=f"events.db-lock: expected .* not open, process {os.getpid()} has it open"):
        two.take()
    one.release()
    two.take()
    two.release()
    two.release()


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    """Its lock is gone with it, and the file that it leaves keeps nothing shut."""
    code = (
        "import sys, time; from pathlib import Path; from actors.stores.sqlite.lock import Lock;"
        "Lock(Path(sys.argv[1])).take(); print('locked', flush=True); time.sleep(60)"
    )
    path = tmp_path / "events.db"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        lock = Lock(path)
        with pytest.raises(StoreError, match=f"process {child.pid} has it open"):
            lock.take()
        child.send_signal(signal.SIGKILL)
    lock.take()
    assert lock.path.read_text().splitlines()[0] == str(os.getpid())
    lock.release()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The system's own error says so."""
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "nowhere" / "events.db").take()
