"""Scratch folders do not outlive their owner, however it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qdrant_dr.errors import StorageFull
from qdrant_dr.jobs.scratch import abandoned, remove_scratch, scratch_folder, sweep_scratch

HOLD = """
import sys, time
from qdrant_dr.jobs.scratch import scratch_folder
with scratch_folder(sys.argv[1], sys.argv[2]) as folder:
    (folder / "data").write_bytes(b"x" * 1000)
    print("ready", flush=True)
    time.sleep(60)
"""


def hold_and_kill(spool: Path, name: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(spool), name], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()


def test_is_removed_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "one") as folder:
        (folder / "x").write_text("y")
        assert abandoned(tmp_path, "one") is False
    assert list(tmp_path.iterdir()) == []
    assert abandoned(tmp_path, "one") is None


def test_is_removed_when_its_block_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch_folder(tmp_path, "one"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_leaves_a_folder_that_the_next_sweeps(tmp_path: Path) -> None:
    hold_and_kill(tmp_path, "dead")
    assert abandoned(tmp_path, "dead") is True
    with scratch_folder(tmp_path, "next") as folder:
        assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_a_capture_is_swept_only_by_who_looks_after_its_snapshot(tmp_path: Path) -> None:
    hold_and_kill(tmp_path, "capture-7")
    assert sweep_scratch(tmp_path) == ()
    assert abandoned(tmp_path, "capture-7") is True
    remove_scratch(tmp_path, "capture-7")
    assert list(tmp_path.iterdir()) == []


def test_living_owners_are_never_swept(tmp_path: Path) -> None:
    """Many owners at once: each makes, fills and reads its folder while all others sweep."""
    lost: list[str] = []

    def own(name: str) -> None:
        for turn in range(20):
            with scratch_folder(tmp_path, f"{name}-{turn}") as folder:
                (folder / "data").write_text(name)
                time.sleep(0.001)
                if not (folder / "data").exists():
                    lost.append(f"{name}-{turn}")

    threads = [threading.Thread(target=own, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused = pytest.raises(StorageFull, match="no scratch space at ")
    with refused, scratch_folder(tmp_path / "file" / "below", "x"):
        pass
