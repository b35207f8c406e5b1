"""A record that went on record may come back as another: no box of it is the same twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr import layout
from qdrant_dr.evidence.check import Check
from qdrant_dr.evidence.places import in_folder
from qdrant_dr.evidence.trust import read_trust
from qdrant_dr.evidence.verify import cross_check, examine
from qdrant_dr.signing.ssh_keys import new_key
from tests.support import records as made
from tests.support.ledgers import Ledger, trust_line

KEY = new_key()
COPY = made.manifest("movies", made.NOW)
MANIFEST = layout.in_backup(COPY.key, layout.MANIFEST)
ONE, OTHER = COPY.to_bytes(), made.manifest("movies", made.NOW, tool_version="9").to_bytes()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A repository with one copy, which one entry names."""
    ledger = Ledger(tmp_path / "one", KEY)
    ledger.append({MANIFEST: ONE})
    return ledger


@pytest.fixture
def wrong(tmp_path: Path) -> Callable[[Ledger], dict[str, Check]]:
    """What `evidence verify` finds that is not ok, by its check."""
    (file := tmp_path / "trusted").write_text(trust_line(KEY))

    def look(ledger: Ledger) -> dict[str, Check]:
        (found,) = cross_check([examine(in_folder(ledger.root, "one"), read_trust(file))])
        return {c.name: c for c in found.checks if c.state in ("doubt", "failed")}

    return look


Wrong = Callable[[Ledger], dict[str, Check]]


def expire(ledger: Ledger, *, removed: tuple[str, ...] = (MANIFEST,)) -> None:
    tombstone = made.expired(COPY, run_id="20261122T101530Z-7f3a9c")
    ledger.append(
        {layout.expired(COPY.key, tombstone.run_id): tombstone.to_bytes()}, removed=removed
    )
    (ledger.root / MANIFEST).unlink()


def test_a_removed_record_may_be_written_anew(ledger: Ledger, wrong: Wrong) -> None:
    expire(ledger)
    ledger.append({MANIFEST: OTHER}, job="replicate")
    assert wrong(ledger) == {}


def test_so_may_one_whose_removal_died_before_its_entry(ledger: Ledger, wrong: Wrong) -> None:
    expire(ledger, removed=())
    ledger.append({MANIFEST: OTHER}, job="replicate")
    assert wrong(ledger) == {}


def test_so_may_one_that_its_run_put_in_the_place_of_a_damaged_one(
    ledger: Ledger, wrong: Wrong
) -> None:
    ledger.append({MANIFEST: OTHER}, removed=(MANIFEST,))
    assert wrong(ledger) == {}
    (ledger.root / MANIFEST).unlink()  # that it was replaced does not explain that it is gone
    assert [*wrong(ledger)] == ["absences"]


@pytest.mark.parametrize("removed", [(), (MANIFEST,)])
def test_a_removal_of_before_does_not_explain_that_the_new_one_is_gone(
    removed: tuple[str, ...], ledger: Ledger, wrong: Wrong
) -> None:
    expire(ledger, removed=removed)
    ledger.append({MANIFEST: ONE}, job="replicate")
    assert wrong(ledger) == {}
    (ledger.root / MANIFEST).unlink()
    assert [*wrong(ledger)] == ["absences"]


def test_another_record_without_a_removal_fails(ledger: Ledger, wrong: Wrong) -> None:
    ledger.append({MANIFEST: OTHER})
    assert wrong(ledger)["insertions"].state == "failed"
    assert wrong(ledger)["records"].state == "failed"


def test_a_record_that_is_found_once_more_as_it_was_is_no_insertion(
    ledger: Ledger, wrong: Wrong
) -> None:
    """Every object of a bucket that was copied is new to its store."""
    proof = made.proof(COPY, ended_at=made.NOW)
    path = layout.proof(COPY.key, proof.proof_id)
    ledger.append({path: proof.to_bytes()})
    ledger.at += timedelta(days=30)
    named = ledger.put(path, proof.to_bytes()), ledger.put(MANIFEST, ONE)
    ledger.append(found=named, previous_stored_at=None)
    assert wrong(ledger) == {}
    other = made.proof(COPY, "other", ended_at=made.NOW)
    path = layout.proof(COPY.key, other.proof_id)
    ledger.append(found=(ledger.put(path, other.to_bytes()),))
    assert "insertions" in wrong(ledger)


@pytest.mark.parametrize("path", [MANIFEST, "tombstone"])
def test_a_removed_record_that_lies_there_again_is_named_by_no_entry(
    path: str, ledger: Ledger, wrong: Wrong
) -> None:
    """Else a reason that was taken back would explain a loss one day."""
    tombstone = made.expired(COPY)
    why = layout.expired(COPY.key, tombstone.run_id)
    ledger.append({why: tombstone.to_bytes()})
    ledger.append(removed=(why if path == "tombstone" else MANIFEST,))
    if path == "tombstone":
        (ledger.root / MANIFEST).unlink()
        assert [*wrong(ledger)] == ["absences", "unnamed"]
    else:
        assert [*wrong(ledger)] == ["unnamed"]
