"""Very many threads without an owner: a plateau, then nothing but their number, and a cause for every event."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
import trio

from tests.system.chaos.processes import PATIENCE_SECONDS, on_linux
from tests.system.chaos.report import Report
from tests.system.chaos.unbound import EVENTS, LIMITS, SLICE, Found

MIB = 1024 * 1024


@on_linux
@pytest.mark.slow
async def test_a_flood_of_threads_without_an_owner(report: Report, *, at_length: bool) -> None:
    """Held events stay below the cap over all threads, and memory on a plateau; when their time is over it is within
    a tenth of what it was. Every event was dropped with a cause, which its receipt and ``explain`` agree on."""
    threads = 100_000 if at_length else 60_000
    found = await flooded(threads)
    assert found.balanced
    assert set(found.fates) == {"DROPPED unbound_overflow", "DROPPED unbound_expired"}
    assert set(found.explained) == {"forgotten", "unbound_overflow", "unbound_expired"}
    assert found.bystander_offsets == sorted(set(found.bystander_offsets))
    assert found.before.held == found.after.held == 0
    assert found.flooded.blocks <= 1.1 * found.halfway.blocks
    assert found.after.blocks <= 1.1 * found.before.blocks
    assert found.after.resident_bytes <= 1.1 * found.before.resident_bytes
    before, peak, after = (moment.resident_bytes / MIB for moment in (found.before, found.flooded, found.after))
    report(
        f"{threads:,} unbound threads, {EVENTS} events each",
        lost_unreported=threads * EVENTS - found.dropped + abs(found.accepted - found.dropped),
        others_hurt=2 * threads // SLICE - len(found.bystander_offsets),
        note=f"cap {LIMITS.unbound_total_bytes // MIB} MiB; RSS {before:.0f} → {peak:.0f} → {after:.0f} MiB, "
        f"live blocks {found.before.blocks:,} → {found.flooded.blocks:,} → {found.after.blocks:,}",
    )


async def flooded(threads: int) -> Found:
    """Have it happen in a process of its own, with a memory of its own."""
    with trio.fail_after(10 * PATIENCE_SECONDS):  # it computes for a quarter of one, alone
        done = await trio.run_process(
            [sys.executable, "-m", "tests.system.chaos.unbound", str(threads)],
            cwd=Path(__file__).parents[3],
            capture_stdout=True,
        )
    return msgspec.json.decode(done.stdout, type=Found)
