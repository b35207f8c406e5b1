"""What a machine remembers of a ledger is written whole, or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.repository.ledger_memory import FOLDER, LedgerMemory

HEAD = LedgerHead(7, "a" * 64, size_bytes=100)


def files(spool: Path) -> list[str]:
    return sorted(p.name for p in (spool / FOLDER).iterdir())


def test_a_full_disk_leaves_no_temporary_file(tmp_path: Path) -> None:
    memory = LedgerMemory(tmp_path, "0a0b0c0d")
    memory.remember(HEAD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no file may grow
    try:
        memory.remember(LedgerHead(8, "b" * 64))
        memory.run_began("20261122T101530Z-7f3a9c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == ["0a0b0c0d.json"]
    known = memory.head()
    assert known is not None
    assert known.number == 7


def test_so_does_a_name_that_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FOLDER).mkdir(mode=0o700)
    (tmp_path / FOLDER / "0a0b0c0d.json").mkdir()
    LedgerMemory(tmp_path, "0a0b0c0d").remember(HEAD)
    assert files(tmp_path) == ["0a0b0c0d.json"]
    assert "the ledger is not remembered" in caplog.text
