"""A repository that is older than its ledger: what it held is compared as a whole, and what runs
remove of it since is no loss."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cli import main
from qdrant_dr.evidence.places import in_folder
from qdrant_dr.evidence.verify import examine
from qdrant_dr.records.base import canonical_json, parse_canonical
from qdrant_dr.records.ledger import LedgerEntry
from qdrant_dr.repository import unnamed_records
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Two copies, and then a ledger whose first entry has but one digest of what was there."""
    monkeypatch.setattr(unnamed_records, "LISTED", 2)
    with ReplaySource(["basic"]) as source:
        world = make_world(
            tmp_path,
            source.url,
            retention={"last": 1, "daily": 0, "weekly": 0, "monthly": 0, "floor": 1, "grace": "1s"},
        )
        for _ in range(2):
            do(world, "backup")
        shutil.rmtree(world.folders["one"] / "evidence")
        shutil.rmtree(world.file.parent / "spool" / "ledger")
        do(world, "verify")
        yield world


def entries(world: World) -> list[Path]:
    return sorted(world.folders["one"].glob("evidence/*/*.json"))


def unnamed(world: World) -> tuple[str, str]:
    """What `evidence verify` says of records that no entry names."""
    checks = examine(in_folder(world.folders["one"], "one"), None).checks
    assert [c.name for c in checks if c.state == "failed"] == []
    (found,) = (c for c in checks if c.name == "unnamed")
    return found.state, found.found


def expire(world: World) -> None:
    before = set(world.folders["one"].glob("backups/*/*/*/manifest.json"))
    assert main(["expire", "--execute", "-q", "-c", world.reference]) == 0
    assert before - set(world.folders["one"].glob("backups/*/*/*/manifest.json"))


def test_they_are_known_by_name_and_size(world: World) -> None:
    (first,) = entries(world)
    since = LedgerEntry.from_bytes(first.read_bytes(), where="1").since
    assert since is not None
    assert since.listing_sha256 is not None
    state, said = unnamed(world)
    assert (state, f"{since.records_count} records of before" in said) == ("ok", True), said


def test_those_that_expire_are_gone_with_a_reason(world: World) -> None:
    expire(world)
    state, said = unnamed(world)
    assert state == "ok", said
    assert "are gone, as entries say: by name and size only" in said


def test_one_that_is_gone_without_a_reason_is_a_doubt(world: World) -> None:
    expire(world)
    min(world.folders["one"].glob("runs/*/*/*.end.json")).unlink()
    state, said = unnamed(world)
    assert state == "doubt"
    assert said.startswith("1 of ")
    assert "are gone, and no entry says why" in said


def test_one_in_the_place_of_another_is_a_doubt(world: World) -> None:
    expire(world)
    end = min(world.folders["one"].glob("runs/*/*/*.end.json"))
    end.rename(end.with_name("20260101T000000Z-00beef.end.json"))
    state, said = unnamed(world)
    assert (state, "are not the" in said) == ("doubt", True), said


def test_before_sizes_were_noted_they_are_counted(world: World) -> None:
    expire(world)
    last = entries(world)[-1]
    rewrite(last, removed_sizes=None)
    state, said = unnamed(world)
    assert (state, "by number only" in said) == ("ok", True), said
    min(world.folders["one"].glob("runs/*/*/*.end.json")).unlink()
    assert unnamed(world)[0] == "doubt"


def test_those_that_a_later_entry_names_count_as_well(world: World) -> None:
    """As after a copy of the bucket, when all of them are found."""
    folder = world.folders["one"]
    end = min(folder.glob("runs/*/*/*.end.json"))
    do(world, "verify")
    last = entries(world)[-1]
    body = parse_canonical(last.read_bytes(), where="last")
    data = end.read_bytes()
    again = {
        "path": str(end.relative_to(folder)),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
    }
    rewrite(last, records=[*body["records"], again])
    assert unnamed(world)[0] == "ok"


def rewrite(file: Path, **changes: Any) -> None:
    """Write an entry with other values, or without some."""
    body = {**parse_canonical(file.read_bytes(), where=str(file)), **changes}
    body = {key: value for key, value in body.items() if value is not None or key not in changes}
    digest = hashlib.sha256(canonical_json(body)).hexdigest()
    file.write_bytes(canonical_json({**body, "sha256": digest}))
