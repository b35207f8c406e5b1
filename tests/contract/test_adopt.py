"""A repository that was copied, object by object, to another place gets an id of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import Conflict, PlanRefused, RepositoryMismatch, RepositoryMissing
from qdrant_dr.jobs.adopt.job import plan_adopt
from qdrant_dr.records import Expired, Hold, Manifest
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.repository import (
    Repository,
    add_hold,
    adopt_repository,
    create_repository,
    is_proven,
    new_id,
    open_repository,
    proven_copies,
    read_catalog,
    read_holds,
    read_repository,
    record_expiry,
    same_place,
)
from qdrant_dr.repository.open_store import open_store
from tests.support import records as made
from tests.support.stores import Place

PATIENCE = timedelta(seconds=60)
NOW = made.NOW + timedelta(days=3)
MAX_AGE = timedelta(days=8)


class Pair:
    """An original with one proven backup, a hold and an ended run, and its copy elsewhere."""

    def __init__(self, place: Place) -> None:
        self.original = place.config("first")
        self.original = self.original.model_copy(
            update={"id": create_repository(self.original, made.NOW)}
        )
        self.mirror = place.config("mirror").model_copy(update={"domain": "elsewhere"})
        repository = open_repository(self.original, stall_timeout=PATIENCE)
        self.manifest: Manifest = made.manifest(size_bytes=4096)
        (part,) = self.manifest.parts
        sink = repository.part_sink(self.manifest.key, part.file)
        sink.write(bytes(part.size_bytes))
        sink.commit()
        repository.commit(self.manifest)
        seal = made.seal(self.manifest)
        repository.put_seal(seal)
        repository.add_proof(self.proof_in(repository))
        seen = made.repository("first", repository_id=repository.id, location=repository.location)
        end = made.run_end(made.run_start(at=made.NOW), repositories=(seen,))
        repository.write_run_start(end.start)
        repository.write_run_end(end)
        self.end = end
        hold = Hold(
            hold_id=new_id(made.NOW),
            backup_id=self.manifest.backup_id,
            cluster=self.manifest.cluster,
            collection=self.manifest.collection,
            made_at=made.NOW,
            made_by="ada",
            reason="case 4711",
            until=None,
        )
        add_hold(repository, hold)
        self.copy()

    def record_expiry(self) -> None:
        """The original let its copy go, after it was copied; that was copied, too."""
        manifest, run = self.manifest, made.run_start(at=made.NOW)
        record_expiry(
            read_repository(self.mirror, stall_timeout=PATIENCE),
            Expired(
                backup_id=manifest.backup_id,
                cluster=manifest.cluster,
                collection=manifest.collection,
                incarnation=manifest.incarnation,
                run_id=run.run_id,
                decided_at=NOW,
                reason="none keeps it",
                captured_at=manifest.captured_at,
                size_bytes=manifest.size_bytes,
                points=None,
                manifest_sha256=manifest.sha256,
                seal_sha256=None,
            ),
        )

    def proof_in(self, repository: Repository) -> made.Proof:
        seal = made.seal(self.manifest)
        return made.proof(
            self.manifest,
            repository_id=repository.id,
            location=repository.location,
            seal_sha256=seal.sha256,
            ended_at=NOW - timedelta(hours=1),
            proof_id=f"20261125T110000Z-{repository.id[:6]}",
        )

    def copy(self) -> None:
        """What rclone does: every object, as it is."""
        old = open_store(self.original, stall_timeout=PATIENCE)
        new = open_store(self.mirror, stall_timeout=PATIENCE, make=True)
        for top in ("backups", "proofs", "runs", "holds", "expired"):
            for there in old.find(top):
                new.create(there.path, old.read(there.path))
        new.create("repository.json", old.read("repository.json"))

    def config(self, **mirror: object) -> Config:
        return Config.model_validate(
            {
                "format": 1,
                "cluster": {"name": "prod", "nodes": ["http://127.0.0.1:1"]},
                "repositories": [self.original, self.mirror.model_copy(update=mirror)],
            }
        )

    def opened(self, cfg: RepositoryConfig, identity: str) -> Repository:
        named = cfg.model_copy(update={"id": identity})
        return open_repository(named, stall_timeout=PATIENCE)


@pytest.fixture
def pair(place: Place) -> Pair:
    return Pair(place)


def test_a_copy_gets_its_id_and_nothing_of_the_original_is_believed(pair: Pair) -> None:
    plan = plan_adopt(pair.config(), "mirror", NOW)
    assert (plan.found.id, plan.remarks) == (pair.original.id, ())
    was = read_repository(pair.mirror, stall_timeout=PATIENCE)
    assert was.id == pair.original.id, "a plan changes nothing"
    new = adopt_repository(plan.found, NOW)
    assert new != pair.original.id
    with pytest.raises(RepositoryMismatch):
        pair.opened(pair.mirror, str(pair.original.id))
    mirror = pair.opened(pair.mirror, new)
    assert mirror.record.adopted_from == (pair.original.id,)
    assert (mirror.record.adopted_at, mirror.record.created_at) == (NOW, made.NOW)
    assert pair.opened(pair.original, str(pair.original.id)).record.adopted_from == ()

    original = open_repository(pair.original, stall_timeout=PATIENCE)
    (backup,) = read_catalog([original, mirror], cluster="prod").backups
    assert backup.manifest == pair.manifest
    assert backup.conflict is None
    copy = backup.copy("mirror")
    assert (copy.state, copy.proofs, len(copy.inherited)) == ("present", (), 1)
    proven = proven_copies(backup, depth="content", max_age=MAX_AGE, now=NOW)
    assert [c.repository for c in proven] == ["first"]
    mirror.add_proof(pair.proof_in(mirror))
    (backup,) = read_catalog([mirror], cluster="prod").backups
    assert is_proven(backup, backup.copy("mirror"), depth="content", max_age=MAX_AGE, now=NOW)
    assert [h.reason for h in read_holds(mirror, "prod").records] == ["case 4711"]
    _, ends = mirror.read_runs(made.NOW - MAX_AGE, NOW)
    assert ends.records == (pair.end,)


def test_what_the_original_let_go_does_not_explain_a_loss_here(pair: Pair) -> None:
    """Its copy here lives: without its manifest it would be damaged, not expired, and its parts
    would be the next `expire`'s."""
    pair.record_expiry()
    new = adopt_repository(plan_adopt(pair.config(), "mirror", NOW).found, NOW)
    mirror = pair.opened(pair.mirror, new)
    mirror.store.delete(f"backups/{pair.manifest.key.folder}/manifest.json")
    original = open_repository(pair.original, stall_timeout=PATIENCE)
    catalog = read_catalog([original, mirror], cluster="prod")
    (backup,) = catalog.backups
    assert backup.copy("mirror").state == "behind"
    assert not [u for u in catalog.unfinished if u.expired]


def test_a_copy_of_a_copy_knows_where_it_comes_from(pair: Pair) -> None:
    first = read_repository(pair.mirror, stall_timeout=PATIENCE)
    adopt_repository(first, NOW)
    second = read_repository(pair.mirror, stall_timeout=PATIENCE)
    third = adopt_repository(second, NOW)
    found = pair.opened(pair.mirror, third)
    assert found.record.adopted_from == (first.id, second.id)


def test_the_place_of_another_repository_is_no_copy(pair: Pair) -> None:
    config = pair.config()
    same = pair.mirror.model_copy(update={"url": pair.original.url})
    # as if the configuration could not see it, such as where a block knows the endpoint
    config = config.model_copy(update={"repositories": (pair.original, same)})
    with pytest.raises(PlanRefused, match="the very place of first"):
        plan_adopt(config, "mirror", NOW)


def test_one_place_under_two_addresses_is_found_by_writing_to_it(pair: Pair) -> None:
    original = open_repository(pair.original, stall_timeout=PATIENCE)
    elsewhere = original.location.model_copy(update={"prefix": "another/name"})
    other_name = replace(original, location=elsewhere)
    mirror = read_repository(pair.mirror, stall_timeout=PATIENCE)
    assert same_place(other_name, original)
    assert not same_place(mirror, original)
    assert original.store.find("probes") == mirror.store.find("probes") == []


def test_where_runs_have_used_it_it_is_the_repository_itself(pair: Pair, place: Place) -> None:
    config = pair.config()
    alone = config.model_copy(update={"repositories": (pair.original,)})
    with pytest.raises(PlanRefused, match="it is the repository itself"):
        plan_adopt(alone, "first", NOW)
    # without an id: on a disk, a path may be that of another machine
    nameless = pair.original.model_copy(update={"id": None})
    alone = alone.model_copy(update={"repositories": (nameless,)})
    if place.kind == "file":
        (remark,) = plan_adopt(alone, "first", NOW).remarks
        assert "if that was on this machine" in remark
    else:
        with pytest.raises(PlanRefused, match="it is the repository itself"):
            plan_adopt(alone, "first", NOW)


def test_a_run_under_way_is_waited_for(pair: Pair) -> None:
    mirror = read_repository(pair.mirror, stall_timeout=PATIENCE)
    start = made.run_start(at=NOW - timedelta(hours=1))
    mirror.write_run_start(start)
    with pytest.raises(PlanRefused, match=f"a run is under way.*{start.run_id}"):
        plan_adopt(pair.config(), "mirror", NOW)
    assert plan_adopt(pair.config(), "mirror", NOW + timedelta(hours=25)).found.id == mirror.id
    mirror.write_run_end(made.run_end(start))
    assert plan_adopt(pair.config(), "mirror", NOW).found.id == mirror.id


def test_an_original_that_is_lost_is_told_and_stops_nothing(pair: Pair) -> None:
    open_store(pair.original, stall_timeout=PATIENCE).delete("repository.json")
    (remark,) = plan_adopt(pair.config(), "mirror", NOW).remarks
    assert remark.startswith(f"first, which {pair.original.id} is, cannot be asked")


def test_a_place_without_a_repository_is_not_adopted(pair: Pair) -> None:
    open_store(pair.mirror, stall_timeout=PATIENCE).delete("repository.json")
    with pytest.raises(RepositoryMissing):
        plan_adopt(pair.config(), "mirror", NOW)


def test_what_somebody_else_wrote_meanwhile_is_not_written_over(pair: Pair) -> None:
    seen = read_repository(pair.mirror, stall_timeout=PATIENCE)
    winner = adopt_repository(seen, NOW)
    with pytest.raises(Conflict, match="by somebody else meanwhile"):
        adopt_repository(seen, NOW)
    assert pair.opened(pair.mirror, winner).id == winner


def test_older_records_keep_their_bytes() -> None:
    before = RepositoryRecord(id="7f3a9c21", layout="plain", created_at=made.NOW, tool_version="1")
    assert b"adopted" not in before.to_bytes()
    assert sorted(json.loads(before.to_bytes())) == [
        "created_at", "format", "id", "kind", "layout", "sha256", "tool_version",
    ]  # fmt: skip
    after = before.model_copy(
        update={"adopted_from": ("7f3a9c21",), "adopted_at": datetime(2026, 11, 22, tzinfo=UTC)}
    )
    assert RepositoryRecord.from_bytes(after.to_bytes(), where="x") == after
