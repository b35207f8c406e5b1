"""A report lists and reads the entries of its period, the one before and the first, no others."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import SignatureInvalid, SigningKeyUnusable
from qdrant_dr.report.evidence.read_ledgers import read_ledger, read_signers
from qdrant_dr.repository import Repository, create_repository, open_repository
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.report_ledgers import TRUSTED, chain

LENGTH = 2 * layout.ENTRIES_PER_FOLDER + 40


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Path]:
    """A repository on disk with 552 entries, stored an hour apart, the last one just now."""
    folder = tmp_path_factory.mktemp("ledger") / "aws"
    body = {"name": "aws", "url": f"file://{folder}", "domain": "d"}
    body["id"] = create_repository(RepositoryConfig.model_validate(body), NOW)
    for read in chain("aws", LENGTH, key=None):
        file = folder / layout.ledger_entry(read.entry.number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(read.entry.to_bytes())
        at = (NOW - hours(LENGTH - read.entry.number)).timestamp()
        os.utime(file, (at, at))
    place = RepositoryConfig.model_validate(body)
    return open_repository(place, stall_timeout=timedelta(seconds=5)), folder


def test_only_the_period_the_entry_before_it_and_the_first_are_read(
    filled: tuple[Repository, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = filled
    read: list[str] = []
    listed: list[str] = []
    store = type(repository.store)
    plain_read, plain_find = store.read, store.find

    def counted_read(self: object, path: str) -> bytes:
        read.append(path)
        return plain_read(self, path)  # type: ignore[arg-type]

    def counted_find(self: object, folder: str) -> object:
        listed.append(folder)
        return plain_find(self, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "read", counted_read)
    monkeypatch.setattr(store, "find", counted_find)
    found = read_ledger(repository, NOW - hours(9.5))
    numbers = [e.entry.number for e in found.entries]
    assert numbers == list(range(LENGTH - 10, LENGTH + 1))
    assert found.first is not None
    assert found.first.entry.number == 1
    assert len(read) == len(numbers) + 1
    assert listed == [f"{layout.EVIDENCE}/0000002"]


def test_a_longer_period_goes_back_over_folders(filled: tuple[Repository, Path]) -> None:
    repository, _ = filled
    found = read_ledger(repository, NOW - hours(99.5))
    assert [e.entry.number for e in found.entries] == list(range(LENGTH - 100, LENGTH + 1))
    whole = read_ledger(repository, NOW - days(99))
    assert len(whole.entries) == LENGTH


def test_a_quiet_period_has_the_last_entry(filled: tuple[Repository, Path]) -> None:
    repository, _ = filled
    found = read_ledger(repository, NOW + hours(1))
    assert [e.entry.number for e in found.entries] == [LENGTH]


def test_an_entry_that_cannot_be_read_is_told(filled: tuple[Repository, Path]) -> None:
    repository, folder = filled
    file = folder / layout.ledger_entry(LENGTH)
    kept = file.read_bytes()
    file.write_bytes(kept[:-9])
    try:
        found = read_ledger(repository, NOW - hours(9.5))
    finally:
        file.write_bytes(kept)
    assert [u.path for u in found.unreadable] == [layout.ledger_entry(LENGTH)]


def test_nobody_is_allowed_by_a_file_that_cannot_be_read_and_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "allowed_signers"
    config = r.config(signing={"allowed_signers": str(file)})
    signers, error = read_signers(config)
    assert signers == ()
    assert isinstance(error, SigningKeyUnusable)
    assert str(file) in error.message
    file.write_text("what is this")
    signers, error = read_signers(config)
    assert signers == ()
    assert isinstance(error, SignatureInvalid)
    file.write_text(f"{TRUSTED[0].line}\n")
    assert read_signers(config) == (TRUSTED, None)
    assert read_signers(r.config()) == ((), None)
