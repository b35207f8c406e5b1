"""Every run leaves one signed entry in each repository that names all it wrote there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr import layout
from qdrant_dr.records.ledger import FIRST, LedgerEntry
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


@pytest.fixture
def key() -> PrivateKey:
    return new_key()


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path, key: PrivateKey) -> World:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(key.to_text())
    return make_world(tmp_path, source.url, signing={"key": f"file:{file}"})


def ledger(world: World, repository: str) -> list[LedgerEntry]:
    """All entries of a repository, checked: dense, chained, and each record as it is named."""
    folder, previous, found = world.folders[repository], FIRST, []
    for number, path in enumerate(sorted(folder.glob("evidence/*/*.json")), 1):
        entry = LedgerEntry.from_bytes(path.read_bytes(), where=str(path))
        assert layout.ledger_entry(number) == str(path.relative_to(folder))
        assert (entry.number, entry.previous) == (number, previous)
        previous = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(entry)
    return found


def named(entries: list[LedgerEntry]) -> dict[str, str]:
    return {w.path: w.sha256 for e in entries for w in (*e.found, *e.records)}


def records(world: World, repository: str) -> dict[str, str]:
    folder = world.folders[repository]
    every = {str(p.relative_to(folder)): p for p in folder.rglob("*.json")}
    return {
        path: hashlib.sha256(p.read_bytes()).hexdigest()
        for path, p in every.items()
        if layout.in_ledger(path)
    }


def test_a_run_names_every_record_that_it_wrote(world: World, key: PrivateKey) -> None:
    for job in ("backup", "verify", "replicate"):
        assert do(world, job).verdict == "ok"
    for repository in world.folders:
        entries = ledger(world, repository)
        assert [e.job for e in entries] == ["backup", "verify", "replicate"]
        assert named(entries) == records(world, repository)
        assert not any(e.found for e in entries[1:])
        for path in world.folders[repository].glob("evidence/*/*.json"):
            signature = path.with_name(f"{path.name}.sig").read_bytes()
            assert sshsig.verify(path.read_bytes(), signature, LEDGER) == key.public
        assert {e.signer for e in entries} == {key.public.fingerprint}


def test_repositories_are_witnesses_of_each_other(world: World) -> None:
    for _ in range(2):
        do(world, "verify")
    one, two = ledger(world, "one"), ledger(world, "two")
    assert one[0].heads == ()
    assert [(h.number, h.sha256) for h in one[1].heads] == [(1, two[0].sha256)]
    assert [(h.number, h.sha256) for h in two[1].heads] == [(1, one[0].sha256)]


def test_a_dry_run_and_a_watch_leave_no_entry(world: World) -> None:
    do(world, "backup", dry_run=True)
    assert ledger(world, "one") == []


def test_without_a_key_entries_are_chained(source: ReplaySource, tmp_path: Path) -> None:
    world = make_world(tmp_path, source.url)
    assert do(world, "backup").verdict == "ok"
    (entry,) = ledger(world, "one")
    assert entry.signer is None
    assert not list(world.folders["one"].glob("evidence/*/*.sig"))


@pytest.mark.parametrize("wrong", ["readable", "missing", "no key"])
def test_a_key_that_cannot_be_used_degrades_and_is_no_obstacle(world: World, wrong: str) -> None:
    file = world.file.parent / "key"
    if wrong == "readable":
        file.chmod(0o644)
    elif wrong == "missing":
        file.unlink()
    else:
        file.write_text("hello")
    end = do(world, "backup")
    assert end.verdict == "degraded"
    assert any("key" in reason for reason in end.reasons), end.reasons
    assert [e.signer for e in ledger(world, "two")] == [None]
    assert world.manifests("one")


def test_what_a_crashed_run_wrote_is_found_by_the_next(world: World) -> None:
    do(world, "backup")
    for entry in world.folders["one"].glob("evidence/*/*"):
        entry.unlink()
    spool = world.file.parent / "spool" / "ledger"
    for file in spool.iterdir():
        file.unlink()
    do(world, "verify")
    (entry,) = ledger(world, "one")
    assert entry.since is not None
    assert entry.since.records_count == len(entry.found)
    assert named([entry]) == records(world, "one")


def test_an_end_that_was_cut_is_told_and_stays_a_gap(world: World) -> None:
    do(world, "backup")
    do(world, "verify")
    kept = (world.folders["two"] / layout.ledger_entry(2)).read_bytes()
    for suffix in ("", layout.SIGNATURE):
        (world.folders["two"] / (layout.ledger_entry(2) + suffix)).unlink()
    end = do(world, "verify")
    assert end.verdict == "degraded"
    assert any("has seen entry 2" in r and "qdrant-dr evidence verify" in r for r in end.reasons)
    third = world.folders["two"] / layout.ledger_entry(3)
    entry = LedgerEntry.from_bytes(third.read_bytes(), where="3")
    assert entry.previous == hashlib.sha256(kept).hexdigest()
    assert do(world, "verify").verdict == "ok"


def test_an_end_that_was_replaced_is_told(world: World) -> None:
    do(world, "backup")
    path = world.folders["two"] / layout.ledger_entry(1)
    entry = LedgerEntry.from_bytes(path.read_bytes(), where="1")
    path.write_bytes(entry.model_copy(update={"records": ()}).to_bytes())
    end = do(world, "verify")
    assert end.verdict == "degraded"
    assert any("was replaced" in r for r in end.reasons)


def test_a_damaged_end_is_told_and_followed(world: World) -> None:
    do(world, "backup")
    path = world.folders["two"] / layout.ledger_entry(1)
    path.write_bytes(b"{}")
    end = do(world, "verify")
    assert end.verdict == "degraded"
    assert (world.folders["two"] / layout.ledger_entry(2)).exists()
