"""The main job on the archives of a real server: stored, proven, replicated, drilled.

Every collection archive must come out with the content that the server itself answered right
after; archives that lost deletes must never get a seal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.units import VerifyUnit
from qdrant_dr.jobs.verify.job import verify_copy
from qdrant_dr.proof import compare_served, fingerprint_of, prove
from qdrant_dr.records import Drilled, Manifest, Part, Proof, RunEnd, Seal, ShardFacts
from tests.support.driving import do, outcomes, rot
from tests.support.replay import COUNTS, FIXTURES, OPERATIONS, ReplaySource, expected, truth
from tests.support.thorough import thorough
from tests.support.world import World, make_world

SETS = ("basic", "rich", "sharded", "empty", "single", "busy")
REPOSITORIES = ("one", "two", "three")


def name_of(set_name: str) -> str:
    return str(expected()["sets"][set_name]["collection"])


@pytest.fixture(scope="module")
def source() -> Iterator[ReplaySource]:
    with ReplaySource(SETS) as source:
        yield source


@pytest.fixture(scope="module")
def world(source: ReplaySource, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("main-job")
    return make_world(
        folder, source.url, repositories=REPOSITORIES, copies={"quorum": 2, "domains": 2}
    )


@pytest.fixture(scope="module")
def backed_up(world: World) -> RunEnd:
    return do(world, "backup")


def manifest_of(world: World, collection: str, repository: str = "one") -> Manifest:
    (found,) = (m for m in world.manifests(repository) if m.collection == collection)
    return found


def seal_of(world: World, collection: str, repository: str = "one") -> Seal:
    key = manifest_of(world, collection).key
    path = world.folders[repository] / "backups" / key.folder / "seal.json"
    return Seal.from_bytes(path.read_bytes(), where=str(path))


def test_the_backup_is_ok_and_leaves_nothing_behind(
    backed_up: RunEnd, source: ReplaySource, world: World
) -> None:
    assert (backed_up.verdict, backed_up.reasons) == ("ok", ())
    assert {s.collection for s in backed_up.seen} == {name_of(s) for s in SETS}
    assert all(source.snapshots(name_of(s)) == () for s in SETS)
    assert len(source.deleted) == len(SETS)
    assert world.spool() == []


@pytest.mark.parametrize("set_name", SETS)
def test_every_copy_is_the_servers_bytes(backed_up: RunEnd, world: World, set_name: str) -> None:
    archive = expected()["sets"][set_name]["archives"]["collection"]
    manifests = [manifest_of(world, name_of(set_name), r) for r in REPOSITORIES]
    assert len({m.to_bytes() for m in manifests}) == 1
    (part,) = manifests[0].parts
    assert (part.sha256, part.size_bytes) == (archive["sha256"], archive["size_bytes"])
    for name in REPOSITORIES:
        stored = world.folders[name] / "backups" / manifests[0].key.folder / part.file
        assert hashlib.sha256(stored.read_bytes()).hexdigest() == archive["sha256"]


@pytest.mark.parametrize("set_name", SETS)
def test_the_seal_is_what_the_server_answered(
    backed_up: RunEnd, world: World, set_name: str
) -> None:
    seals = [seal_of(world, name_of(set_name), r) for r in REPOSITORIES]
    assert len({s.to_bytes() for s in seals}) == 1
    seal = seals[0]
    assert seal.points == len(truth(set_name))
    comparison = compare_served(iter(truth(set_name)), seal.shards)
    assert comparison.faults == ()
    if not any(s.replayed_ids for s in seal.shards):
        assert seal.total == fingerprint_of(truth(set_name))
    assert seal.consistency == "quiesced"
    assert seal.reference == "source"
    assert bool(seal.live_sample) == bool(seal.points)


def test_verify_brings_every_copy_to_content(backed_up: RunEnd, world: World) -> None:
    end = do(world, "verify", collections=(name_of("basic"), name_of("sharded")))
    assert end.verdict == "ok", end.reasons
    done = [(o.collection, o.repository, o.detail.reached) for o in end.outcomes]
    assert sorted(done) == sorted(
        (name_of(s), r, "content") for s in ("basic", "sharded") for r in REPOSITORIES
    )


def test_a_rotten_copy_is_found_and_healed_and_only_then_whole(
    backed_up: RunEnd, world: World
) -> None:
    rot(world, "two", "movies")
    found = do(world, "verify", collections=("movies",), depth="bytes")
    assert found.verdict == "failed"
    assert [o.repository for o in found.outcomes if o.verdict == "failed"] == ["two"]
    healed = do(world, "replicate")
    assert healed.verdict == "ok", healed.reasons
    assert [o.repository for o in outcomes(healed, "heal")] == ["two"]
    again = do(world, "verify", collections=("movies",), depth="bytes")
    assert again.verdict == "ok", again.reasons


def test_a_lost_repository_is_filled_again(backed_up: RunEnd, world: World) -> None:
    for path in list((world.folders["three"] / "backups").rglob("*")):
        if path.is_file():
            path.unlink()
    healed = do(world, "replicate")
    assert healed.verdict == "ok", healed.reasons
    assert len(outcomes(healed, "heal")) == len(SETS)
    for name in SETS:
        assert manifest_of(world, name_of(name), "three") == manifest_of(world, name_of(name))
        assert seal_of(world, name_of(name), "three") == seal_of(world, name_of(name))


@pytest.mark.parametrize("set_name", SETS)
def test_a_drill_reads_every_point_back(backed_up: RunEnd, world: World, set_name: str) -> None:
    end = do(world, "drill", collection=name_of(set_name), pick="latest", engine="edge")
    assert end.verdict == "ok", end.reasons
    (outcome,) = end.outcomes
    assert isinstance(outcome.detail, Drilled)
    assert outcome.detail.points_restored == len(truth(set_name))
    assert outcome.detail.fingerprint_equal is True
    assert outcome.detail.target_kind is None  # read-back time, never RTO


@pytest.mark.parametrize("set_name", ["rich", pytest.param("busy", marks=thorough)])
def test_a_drill_restores_into_a_server(backed_up: RunEnd, world: World, set_name: str) -> None:
    end = do(world, "drill", collection=name_of(set_name), pick="latest", engine="server")
    assert end.verdict == "ok", end.reasons
    detail = end.outcomes[0].detail
    assert isinstance(detail, Drilled)
    assert [p.name for p in detail.phases] == [
        "pick", "fetch", "start", "recover", "ready", "prove", "tear down"
    ]  # fmt: skip
    assert detail.points_restored == len(truth(set_name))
    assert detail.teardown == "removed"
    assert world.spool() == []


def test_an_archive_taken_under_writes(tmp_path: Path) -> None:
    """Its log must be replayed; what the log brought is sealed apart."""

    def wrote(source: ReplaySource, collection: str) -> None:
        source.write(collection, 4)

    with ReplaySource(["motion"]) as source:
        world = make_world(tmp_path, source.url, repositories=("one", "two"))
        served = source.collections["busy"]
        served.operations = {0: OPERATIONS["motion"][0] - 2}  # what was acknowledged before
        source.faults.after_create = wrote
        end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    seal = seal_of(world, "busy")
    assert (seal.consistency, seal.reference) == ("in-motion", "self")
    assert seal.shards[0].operation == OPERATIONS["motion"][0]
    assert seal.shards[0].replayed_ids
    reading = prove(
        manifest_of(world, "busy"), _Stored(world), depth="content", folder=tmp_path / "scratch",
        seal=seal, keep_replayed=True,
    )  # fmt: skip
    assert reading.passed
    assert reading.read_back is not None
    replayed = [p for s in reading.read_back.shards for p in s.replayed_points]
    comparison = compare_served(iter(truth("motion")), seal.shards, replayed)
    assert comparison.faults == ()
    assert comparison.points == 3000
    for path in list(world.parts("two")):
        path.unlink()
    healed = do(world, "replicate")
    assert healed.verdict == "ok", healed.reasons
    verified = do(world, "verify")
    assert verified.verdict == "ok", verified.reasons
    drilled = do(world, "drill", engine="server")
    assert drilled.verdict == "ok", drilled.reasons


class _Stored:
    def __init__(self, world: World) -> None:
        (self.path,) = world.parts("one")

    def sizes(self, part: Part) -> int:
        return self.path.stat().st_size

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield self.path.read_bytes()[start:end]


def test_an_archive_older_than_acknowledged_writes_is_never_sealed(tmp_path: Path) -> None:
    with ReplaySource(["basic"]) as source:
        world = make_world(tmp_path, source.url, repositories=("one",))
        source.collections["movies"].operations = {0: OPERATIONS["basic"][0] + 1}
        end = do(world, "backup")
    assert end.verdict == "failed"
    (verified,) = outcomes(end, "verify")
    assert verified.error is not None
    assert verified.error.code == "operation-behind"
    # replicating cannot help: every copy of this archive is too old
    assert "qdrant-dr backup movies" in verified.error.hint
    assert not list(world.folders["one"].rglob("seal.json"))


@pytest.mark.parametrize(
    ("kind", "operation", "code"),
    [
        # the newest segment they hold is older than the last delete that was acknowledged
        ("shard-0", OPERATIONS["busy"][0], "operation-behind"),
        pytest.param("stream-0", OPERATIONS["busy"][0], "operation-behind", marks=thorough),
        # numbers that fit do not help them: they hold too many points
        ("shard-0", 209, "count-differs"),
        # nor does a server that tells none
        ("shard-0", None, "not-sealable"),
    ],
)
def test_archives_without_a_log_that_resurrect_deletes_fail_sealing(
    tmp_path: Path, kind: str, operation: int | None, code: str
) -> None:
    """Measured on a real server: they hold points whose deletion was acknowledged before."""
    with ReplaySource(["busy"]) as source:
        world = make_world(tmp_path, source.url, repositories=("one",))
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
        good = manifest_of(world, "busy")
        data = (FIXTURES / "busy" / f"{kind}.snapshot").read_bytes()
        bad = good.model_copy(
            update={
                "backup_id": "20261122T000000Z-0000ff",
                "method": "shard" if kind == "shard-0" else "stream",
                "parts": (
                    good.parts[0].model_copy(
                        update={
                            "name": "shard-0", "kind": "shard", "wal": False, "blocks": (),
                            "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                        }
                    ),
                ),
                "shards": (
                    ShardFacts(
                        shard=0, operation_before=operation, operation_after=operation,
                        count_before=COUNTS["busy"][0], count_after=COUNTS["busy"][0],
                    ),
                ),
            }
        )  # fmt: skip
        config = configfile.load(world.reference)
        opened, _ = open_all(config)
        sink = opened["one"].part_sink(bad.key, bad.parts[0].file)
        sink.write(data)
        sink.commit()
        opened["one"].commit(bad)
        unit = VerifyUnit(key=bad.key, repository="one", depth="content")
        outcome = verify_copy(config, unit, "run")
    assert outcome.verdict == "failed"
    assert outcome.error is not None
    assert outcome.error.code == code, outcome.error.message
    assert opened["one"].read_seal(bad.key) is None
    (proof,) = opened["one"].read_proofs("shop", "busy", bad.backup_id).records
    assert isinstance(proof, Proof)
    assert not proof.passed
