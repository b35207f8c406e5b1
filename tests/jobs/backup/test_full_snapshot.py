"""Method `full`: one snapshot of the instance becomes one backup of each collection."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.backup.full_snapshot import plan_full
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.jobs.startup_archive.job import StartupRequest, startup
from qdrant_dr.records import Captured, Drilled, Intent
from tests.support import records as made
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource, expected
from tests.support.servers import qdrant_server
from tests.support.world import World, make_world, seed

SETS = ("basic", "sharded", "single")
NAMES = ["movies", "sharded", "single"]
FULL = "POST /snapshots"


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(SETS) as replayed:
        yield replayed


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path) -> World:
    return make_world(
        tmp_path / "world", source.url, objectives={"proven": {"depth": "bytes", "max_age": "8d"}}
    )


def digests(world: World, repository: str) -> dict[str, str]:
    """SHA-256 of the stored archives, by collection."""
    return {
        m.collection: hashlib.sha256(
            (
                world.folders[repository] / "backups" / m.key.folder / "collection.snapshot"
            ).read_bytes()
        ).hexdigest()
        for m in world.manifests(repository)
    }


def originals(*sets: str) -> dict[str, str]:
    every = expected()["sets"]
    return {every[s]["collection"]: every[s]["archives"]["collection"]["sha256"] for s in sets}


def test_one_full_snapshot_becomes_a_proven_backup_of_each_collection(
    source: ReplaySource, world: World
) -> None:
    end = do(world, "backup", method="full", prove="content")
    assert end.verdict == "ok", end.reasons
    assert digests(world, "one") == digests(world, "two") == originals(*SETS)
    captured = outcomes(end, "capture")
    assert [o.collection for o in captured] == NAMES
    assert all(isinstance(o.detail, Captured) for o in captured)
    assert all(any(".checksum" in note for note in o.notes) for o in captured)
    assert {o.verdict for o in outcomes(end, "verify")} == {"ok"}
    manifests = {m.collection: m for m in world.manifests("one")}
    part = manifests["movies"].parts[0]
    assert (part.kind, part.wal, manifests["movies"].method) == ("collection", True, "full")
    assert part.server_name is not None
    assert part.server_name.startswith("full-snapshot-")
    assert manifests["movies"].aliases == ("live-movies",)
    assert source.full == {}
    assert [where for where, _ in source.deleted] == [""]
    assert source.log.count(FULL) == 1


def test_a_backup_made_so_is_drilled_like_any_other(world: World) -> None:
    assert (
        do(world, "backup", method="full", collections=("movies",), prove="content").verdict == "ok"
    )
    end = do(world, "drill", collection="movies", engine="server")
    assert end.verdict == "ok", end.reasons
    assert outcomes(end, "drill")[0].collection == "movies"


def test_what_is_not_selected_passes_by(source: ReplaySource, world: World) -> None:
    end = do(world, "backup", method="full", collections=("single",))
    assert [o.collection for o in outcomes(end, "capture")] == ["single"]
    assert digests(world, "one") == originals("single")


def test_a_cluster_is_refused_with_the_reason(source: ReplaySource, world: World) -> None:
    source.cluster = {"status": "enabled", "peer_id": 1, "peers": {}}
    end = do(world, "backup", method="full")
    assert end.verdict == "failed"
    assert any("its own shards only" in reason for reason in end.reasons)
    assert FULL not in source.log
    assert world.manifests("one") == []


def test_several_nodes_are_refused_before_anything_is_asked() -> None:
    config = made.config("one", "two", cluster={"name": "c", "nodes": ["http://a:1", "http://b:1"]})
    unit = CaptureUnit(
        collection="movies", nodes=("http://a:1", "http://b:1"), repositories=("one",),
        method="full", method_reason="asked for",
    )  # fmt: skip
    with pytest.raises(PlanRefused, match=r"2 are\s+configured"):
        plan_full(config, [unit])
    assert plan_full(config, []) == ()


def test_a_collection_that_changes_meanwhile_fails_alone(
    source: ReplaySource, world: World
) -> None:
    def change(at: ReplaySource, _: str) -> None:
        at.recreate("single")

    source.faults.after_download = change
    end = do(world, "backup", method="full")
    assert end.verdict == "failed"
    by_name = {o.collection: o for o in outcomes(end, "capture")}
    assert by_name["single"].verdict == "failed"
    assert by_name["single"].error is not None
    assert by_name["single"].error.code == "collection-changed"
    assert sorted(digests(world, "one")) == ["movies", "sharded"]
    assert len(source.full) == 1  # not every collection has its quorum: it stays
    assert any("kept: single" in note for note in by_name["movies"].notes)


def test_one_that_cannot_be_captured_is_a_failed_row_and_the_others_go_on(
    source: ReplaySource, world: World
) -> None:
    source.faults.broken = "single"
    end = do(world, "backup", method="full")
    assert end.verdict == "failed"
    verdicts = {o.collection: o.verdict for o in outcomes(end, "capture")}
    assert verdicts["single"] == "failed"
    assert sorted(digests(world, "one")) == ["movies", "sharded"]


def test_a_collection_that_is_not_in_it_is_not_green(source: ReplaySource, world: World) -> None:
    archive = source.create_full

    def without() -> dict[str, object]:
        away = source.collections.pop("single")
        try:
            return archive()
        finally:
            source.collections["single"] = away

    source.create_full = without  # type: ignore[method-assign]
    end = do(world, "backup", method="full")
    failed = {o.collection: o.error.code for o in outcomes(end, "capture") if o.error}
    assert failed == {"single": "collection-vanished"}
    assert sorted(digests(world, "one")) == ["movies", "sharded"]


@pytest.mark.parametrize("fault", ["flip_byte", "wrong_size"])
def test_bytes_that_are_not_the_servers_make_no_backup(
    source: ReplaySource, world: World, fault: str
) -> None:
    if fault == "flip_byte":
        source.faults.flip_byte = 700_000
    else:
        source.faults.after_create = lambda at, _: at.full.update(
            {n: type(s)(n, s.read(0, s.size // 2), s.checksum, s.etag) for n, s in at.full.items()}
        )
        source.faults.no_range = True
    end = do(world, "backup", method="full")
    assert end.verdict == "failed"
    assert {o.verdict for o in outcomes(end, "capture")} == {"failed"}
    assert world.manifests("one") == world.manifests("two") == []
    assert len(source.full) == 1


def test_a_cut_is_resumed(source: ReplaySource, world: World) -> None:
    source.faults.cut_after = 600_000
    end = do(world, "backup", method="full")
    assert end.verdict == "ok", end.reasons
    assert digests(world, "one") == originals(*SETS)
    assert sum(line.startswith("GET /snapshots/full-") for line in source.log) == 2


def test_an_unanswered_call_is_reported_with_the_command_and_never_repeated(
    source: ReplaySource, world: World
) -> None:
    source.faults.cut_create = True
    end = do(world, "backup", method="full")
    codes = {o.error.code for o in outcomes(end, "capture") if o.error}
    assert codes == {"snapshot-unanswered"}
    assert source.log.count(FULL) == 1
    hint = next(o.error.hint for o in outcomes(end, "capture") if o.error)
    assert f"{source.url}/snapshots/NAME" in hint
    source.faults.cut_create = False
    again = do(world, "backup", method="full")
    (name,) = source.full
    notes = [n for o in outcomes(again, "sweep") for n in o.notes]
    assert any(name in n and "curl -X DELETE" in n for n in notes)


def test_what_a_full_snapshot_leaves_beside_its_collections_is_reported(
    source: ReplaySource, world: World
) -> None:
    """One collection fails, the whole fails: those made before it stay where they were made
    (content_manager/snapshots/mod.rs), and in S3 mode all of them always do."""
    theirs = source.create("movies")["name"]

    def leave(at: ReplaySource, _: str) -> None:
        at.faults.after_create = None
        at.create("movies")

    source.faults.after_create = leave
    source.faults.cut_create = True
    assert do(world, "backup", method="full").verdict == "failed"
    source.faults.cut_create = False
    (left,) = source.collections["movies"].snapshots.keys() - {theirs}
    end = do(world, "backup", method="full")
    notes = [n for o in outcomes(end, "sweep") for n in o.notes]
    assert sum(left in n and "curl -X DELETE" in n for n in notes) == 1, notes
    assert not any(theirs in n for n in notes)
    assert end.verdict == "degraded"


def test_a_dead_run_is_swept_and_only_what_it_made(source: ReplaySource, world: World) -> None:
    theirs = source.create_full()["name"]
    source.faults.flip_byte = 700_000
    assert do(world, "backup", method="full").verdict == "failed"
    assert len(source.full) == 2
    source.faults.flip_byte = None
    end = do(world, "backup", method="full")
    assert end.verdict == "ok", end.reasons
    assert list(source.full) == [theirs]
    intents = [
        Intent.from_bytes(p.read_bytes(), where=str(p))
        for p in world.folders["one"].glob("backups/**/intent.json")
    ]
    assert all(i.full and i.knew(theirs, full=True) for i in intents)
    assert not any(theirs.encode() in i.to_bytes() for i in intents)  # nobody's business


def test_an_alias_that_moved_meanwhile_is_a_doubt(source: ReplaySource, world: World) -> None:
    full = source.create_full

    def moved() -> dict[str, object]:
        source.collections["movies"].aliases = []
        return full()

    source.create_full = moved  # type: ignore[method-assign]
    end = do(world, "backup", method="full")
    assert end.verdict == "degraded"
    (movies,) = (o for o in outcomes(end, "capture") if o.collection == "movies")
    assert any("aliases changed" in note for note in movies.notes)


def test_a_dry_run_says_so_and_asks_for_nothing(source: ReplaySource, world: World) -> None:
    end = do(world, "backup", method="full", dry_run=True)
    assert [n for o in end.outcomes for n in o.notes] == [
        f"would capture-full 3 collections of {source.url}"
    ]
    assert FULL not in source.log


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs a Qdrant binary in QDRANT_BIN")
def test_a_real_server_comes_back_from_its_full_snapshot_with_its_aliases(tmp_path: Path) -> None:
    with qdrant_server(tmp_path / "qdrant") as server:
        for name in ("movies", "rich-ünïcode"):
            seed(server.url, name, points=60)
        alias = {"create_alias": {"collection_name": "movies", "alias_name": "live"}}
        httpx.post(
            f"{server.url}/collections/aliases", json={"actions": [alias]}, timeout=30
        ).raise_for_status()
        world = make_world(tmp_path / "world", server.url)
        end = do(world, "backup", method="full")
        assert end.verdict == "ok", end.reasons
        assert httpx.get(f"{server.url}/snapshots", timeout=30).json()["result"] == []
        left = [p.name for p in (tmp_path / "qdrant" / "snapshots").rglob("*") if p.is_file()]
        told = [n for o in outcomes(end, "capture") for n in o.notes]
        assert sorted(f"a small orphan stays on the node: {n}" for n in left) == sorted(told)
    config = configfile.load(world.reference)
    run = begin(config, "drill")
    request = StartupRequest(out=str(tmp_path / "full.snapshot"), prove=True)
    proven = startup(config, request, run, in_threads(config, run.run_id))
    assert proven.verdict == "ok", proven.reasons
    kinds = [
        o.detail.target_kind for o in outcomes(proven, "drill") if isinstance(o.detail, Drilled)
    ]
    assert kinds == ["server", "server"]
