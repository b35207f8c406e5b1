"""Restores for real: every set of real archives comes back, on the sandbox and on a real server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cluster.collection_config import differences
from qdrant_dr.jobs.restore.journal import journal_of
from qdrant_dr.records import Proof, Restored, RunEnd
from tests.support.driving import do, outcomes, rot
from tests.support.loopback import loopback
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource, expected, truth
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.spy import Spy
from tests.support.world import World, lent, make_world

MOVIES = "movies@latest-proven"
SETS = ("basic", "rich", "sharded", "empty", "single", "motion")


def name_of(set_name: str) -> str:
    return str(expected()["sets"][set_name]["collection"])


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Backups of every set, proven; movies has two aliases. The source is gone afterwards."""
    with ReplaySource(["basic", "rich", "sharded", "empty", "single"]) as source:
        source.collections["movies"].aliases = ["cinema", "films"]
        made = make_world(tmp_path_factory.mktemp("restore"), source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    with ReplaySource(["motion"]) as moving:
        made.file.write_text(made.file.read_text().replace(source.url, moving.url))
        source.collections["motion"] = moving.collections[name_of("motion")]
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A proven backup of movies alone: two copies, two aliases."""
    with ReplaySource(["basic"]) as source:
        source.collections["movies"].aliases = ["cinema", "films"]
        made = make_world(tmp_path_factory.mktemp("movies"), source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture
def world(movies: World) -> Iterator[World]:
    """The same, to be damaged."""
    with lent(movies) as mine:
        yield mine


@pytest.fixture(
    params=[
        "sandbox",
        pytest.param(
            "server",
            marks=pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
        ),
    ]
)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    make = sandbox_server if request.param == "sandbox" else qdrant_server
    with make(tmp_path / "target") as server:
        yield server


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Server]:
    with sandbox_server(tmp_path / "target") as server:
        yield server


def bring_back(world: World, url: str, backup: str = MOVIES, **request: Any) -> RunEnd:
    return do(world, "restore", backups=[backup], to=url, **{"dry_run": False, **request})


def restored(end: RunEnd) -> Restored:
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored), outcome
    return outcome.detail


def get(url: str, path: str) -> Any:
    return loopback.get(f"{url}{path}", timeout=30).raise_for_status().json()["result"]


def names(url: str) -> list[str]:
    return sorted(c["name"] for c in get(url, "/collections")["collections"])


def aliases(url: str) -> dict[str, str]:
    return {a["alias_name"]: a["collection_name"] for a in get(url, "/aliases")["aliases"]}


def make(url: str, name: str, **body: Any) -> None:
    body = {"vectors": {"size": 4, "distance": "Dot"}, **body}
    loopback.put(f"{url}/collections/{name}", json=body, timeout=30).raise_for_status()


def alias(url: str, alias: str, name: str) -> None:
    action = {"create_alias": {"alias_name": alias, "collection_name": name}}
    loopback.post(
        f"{url}/collections/aliases", json={"actions": [action]}, timeout=30
    ).raise_for_status()


def spool(world: World) -> list[str]:
    """What is left of restores on this machine."""
    return [p.name for p in world.spool()]


def proofs(world: World, repository: str) -> list[Proof]:
    found = world.folders[repository].glob("proofs/**/*.json")
    every = [Proof.from_bytes(p.read_bytes(), where=str(p)) for p in found]
    return sorted(every, key=lambda p: p.ended_at)


@pytest.mark.parametrize("set_name", SETS)
def test_every_set_comes_back(backups: World, target: Server, set_name: str) -> None:
    """Deleted and restored: content, indexes, settings and aliases are as they were."""
    name = name_of(set_name)
    end = bring_back(backups, target.url, f"{name}@latest-proven")
    assert end.verdict == "ok", end.reasons
    detail = restored(end)
    assert detail.fingerprint_equal
    assert detail.points_restored == detail.points_expected == len(truth(set_name))
    assert (detail.route, detail.way, detail.created) == ("whole", "upload", True)
    assert detail.sent_bytes == detail.size_bytes
    (manifest,) = (m for m in backups.manifests("one") if m.collection == name)
    now = get(target.url, f"/collections/{name}")
    assert differences(json.loads(manifest.collection_info), now) == ()
    assert aliases(target.url) == dict.fromkeys(manifest.aliases, name)
    assert detail.aliases_set == manifest.aliases
    assert get(target.url, f"/collections/{name}/snapshots") == []
    assert spool(backups) == []


def test_a_plan_changes_nothing(world: World, target: Server) -> None:
    before = {p: p.stat().st_mtime_ns for p in world.file.parent.rglob("*") if p.is_file()}
    end = bring_back(world, target.url, dry_run=True)
    assert end.verdict == "ok", end.reasons
    assert [o.verdict for o in end.outcomes] == ["skipped"]
    assert names(target.url) == []
    assert before == {p: p.stat().st_mtime_ns for p in world.file.parent.rglob("*") if p.is_file()}


def test_under_another_name_beside_the_old_one(world: World, target: Server) -> None:
    make(target.url, "movies")
    alias(target.url, "films", "movies")
    end = bring_back(world, target.url, name="movies-back", ticket="INC-3", note="at night")
    assert end.verdict == "ok", end.reasons
    detail = restored(end)
    assert (detail.aliases_set, detail.aliases_left) == (("cinema",), ("films",))
    assert aliases(target.url) == {"films": "movies", "cinema": "movies-back"}
    assert get(target.url, "/collections/movies")["points_count"] == 0
    assert detail.ticket == "INC-3"
    moved = bring_back(world, target.url, name="movies-3", aliases="move")
    assert moved.verdict == "ok", moved.reasons
    assert aliases(target.url) == {"films": "movies-3", "cinema": "movies-3"}
    kept = bring_back(world, target.url, name="movies-4", aliases="keep")
    assert restored(kept).aliases_set == ()
    assert aliases(target.url) == {"films": "movies-3", "cinema": "movies-3"}


def test_into_an_existing_collection_only_when_told(world: World, target: Server) -> None:
    assert bring_back(world, target.url).verdict == "ok"
    points = {"points": [7, 8, 9]}
    loopback.post(
        f"{target.url}/collections/movies/points/delete?wait=true", json=points, timeout=30
    ).raise_for_status()
    refused = bring_back(world, target.url)
    assert refused.error is not None
    assert refused.error.code == "plan-refused"
    assert "--into-existing" in refused.error.message
    end = bring_back(world, target.url, into_existing=True)
    assert end.verdict == "ok", end.reasons
    assert not restored(end).created
    assert get(target.url, "/collections/movies/points/7")["id"] == 7


def test_an_existing_collection_must_fit(world: World, target: Server) -> None:
    make(target.url, "movies", vectors={"size": 3, "distance": "Dot"})
    end = bring_back(world, target.url, into_existing=True)
    assert end.error is not None
    assert "has other vectors" in end.error.message
    assert get(target.url, "/collections/movies")["config"]["params"]["vectors"]["size"] == 3


def test_a_damaged_copy_is_replaced_and_proven_damaged(world: World, sandbox: Server) -> None:
    rot(world, "one")
    end = bring_back(world, sandbox.url)
    assert end.verdict == "degraded", end.reasons
    assert restored(end).sources == ("two",)
    assert restored(end).fingerprint_equal
    (outcome,) = outcomes(end, "restore")
    assert any(note.startswith("one could not give") for note in outcome.notes)
    worst = proofs(world, "one")[-1]
    assert (worst.made_by, worst.passed, worst.findings[0].code) == (
        "restore", False, "bytes-differ",
    )  # fmt: skip
    best = proofs(world, "two")[-1]
    assert (best.made_by, best.depth, best.passed) == ("restore", "bytes", True)


def test_a_repository_that_goes_away_on_the_way_is_replaced(world: World, sandbox: Server) -> None:
    def away(line: str) -> None:
        if spy.count("GET", "^/aliases$") == 2:  # after the plan, before the bytes
            for part in world.parts("one"):
                part.unlink()

    with Spy(sandbox.url) as spy:
        spy.after = away
        end = bring_back(world, spy.url)
    assert end.verdict == "degraded", end.reasons
    assert restored(end).sources == ("two",)


def test_no_good_copy_fails_and_leaves_nothing(world: World, target: Server) -> None:
    rot(world, "one")
    rot(world, "two")
    end = bring_back(world, target.url)
    assert end.verdict == "failed"
    (outcome,) = outcomes(end, "restore")
    assert outcome.error is not None
    assert outcome.error.code == "bytes-differ"
    assert names(target.url) == []
    assert spool(world) == []


def test_what_differs_is_never_green(world: World, target: Server) -> None:
    """Somebody writes between recovery and proof: failed, no alias; and it stays, named so."""

    def tamper(line: str) -> None:
        if line == "POST /collections/movies/snapshots/upload":
            loopback.post(
                f"{target.url}/collections/movies/points/payload?wait=true",
                json={"payload": {"rank": "tampered"}, "points": [3]}, timeout=30,
            ).raise_for_status()  # fmt: skip

    with Spy(target.url) as spy:
        spy.after = tamper
        end = bring_back(world, spy.url)
    assert end.verdict == "failed"
    (outcome,) = outcomes(end, "restore")
    assert outcome.error is not None
    assert outcome.error.code == "content-differs"
    assert "payload differs in 1 of 256 buckets" in outcome.error.message
    remove = f"curl -X DELETE {spy.url}/collections/movies"
    assert remove in outcome.error.hint
    assert any("restored in whole" in n and remove in n for n in outcome.notes)
    assert (restored(end).fingerprint_equal, restored(end).stays) == (False, True)
    assert restored(end).came_to == "CONTENT DIFFERS, and it was kept"
    assert not any("collection" in what for what in restored(end).removed)
    assert names(target.url) == ["movies"]
    assert aliases(target.url) == {}
    assert loopback.get(f"{target.url}/collections/movies/snapshots").json()["result"] == []


def test_the_same_command_says_what_stays_there_and_never_goes_over_it(
    world: World, target: Server
) -> None:
    def tamper(line: str) -> None:
        if line == "POST /collections/movies/snapshots/upload":
            loopback.post(
                f"{spy.url}/collections/movies/points/delete?wait=true",
                json={"points": [3]}, timeout=30,
            ).raise_for_status()  # fmt: skip

    with Spy(target.url) as spy:
        spy.after = tamper
        assert bring_back(world, spy.url).verdict == "failed"
        spy.after = None
        for dry_run in (True, False):
            again = bring_back(world, spy.url, dry_run=dry_run)
            assert again.error is not None
            assert again.error.code == "plan-refused"
            assert "UTC (it differs: " in again.error.message
            assert "1999 points, the seal says 2000" in again.error.message
            assert f"curl -X DELETE {spy.url}/collections/movies" in again.error.message
        count = loopback.post(f"{target.url}/collections/movies/points/count", json={"exact": True})
        assert count.json()["result"]["count"] == 1999
        beside = bring_back(world, spy.url, name="beside", aliases="keep")
        assert beside.verdict == "ok", beside.reasons
        loopback.delete(f"{target.url}/collections/movies", timeout=30).raise_for_status()
        assert bring_back(world, spy.url).verdict == "ok"
    assert names(target.url) == ["beside", "movies"]
    assert spool(world) == []


def test_a_whole_one_that_could_not_be_compared_stays_and_is_compared_by_the_next(
    world: World, target: Server
) -> None:
    """Rate limits, a server that is busy: nothing is known against what is there."""
    limited = [False]

    def refuse(line: str) -> tuple[int, bytes] | None:
        if limited[0] and line.endswith("/points/scroll"):
            return 429, b'{"status":{"error":"larger than rate limiter capacity"}}'
        return None

    def arrived(line: str) -> None:
        limited[0] |= line == "POST /collections/movies/snapshots/upload"

    with Spy(target.url) as spy:
        spy.after, spy.instead = arrived, refuse
        end = bring_back(world, spy.url)
        assert end.verdict == "failed"
        (outcome,) = outcomes(end, "restore")
        assert (restored(end).fingerprint_equal, restored(end).stays) == (None, False)
        assert any("is there in whole, and is not compared" in n for n in outcome.notes)
        assert names(target.url) == ["movies"]
        limited[0], spy.after = False, None
        sent = spy.count("POST", "/snapshots/upload")
        end = bring_back(world, spy.url)
        assert spy.count("POST", "/snapshots/upload") == sent
    assert end.verdict == "ok", end.reasons
    assert (restored(end).resumed, restored(end).fingerprint_equal) == (True, True)
    assert spool(world) == []


def test_a_failed_one_is_kept_when_told(world: World, sandbox: Server) -> None:
    """Half of it: the second copy goes bad while the first, bad too, is on its way."""
    shards = by_shard(world, "movies")
    (*_, last) = shards.parts
    for name in ("one", "two"):
        for path in world.folders[name].rglob(f"{shards.backup_id}/{last.file}"):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    end = bring_back(world, sandbox.url, f"movies@{shards.backup_id}", keep_failed=True)
    assert end.verdict == "failed"
    (outcome,) = outcomes(end, "restore")
    assert any("is kept: as asked: it is NOT what was backed up" in n for n in outcome.notes)
    assert names(sandbox.url) == ["movies"]
    assert aliases(sandbox.url) == {}


def test_a_lost_index_is_a_failed_restore(world: World, target: Server) -> None:
    (manifest,) = world.manifests("one")
    field = next(iter(json.loads(manifest.collection_info)["payload_schema"]))

    def lose(line: str) -> None:
        if line == "POST /collections/movies/snapshots/upload":
            loopback.delete(
                f"{target.url}/collections/movies/index/{field}?wait=true", timeout=30
            ).raise_for_status()

    with Spy(target.url) as spy:
        spy.after = lose
        end = bring_back(world, spy.url)
    assert end.verdict == "failed"
    assert f"payload index on '{field}' is missing" in end.reasons[0]
    assert restored(end).stays
    assert names(target.url) == ["movies"]


def test_without_a_seal_the_engine_says_what_to_expect(world: World, sandbox: Server) -> None:
    for name in ("one", "two"):
        for path in world.folders[name].glob("backups/**/seal.json"):
            path.unlink()
    refused = bring_back(world, sandbox.url, "movies@latest")
    assert refused.error is not None
    assert "--allow-unproven" in refused.error.message
    end = bring_back(world, sandbox.url, "movies@latest", allow_unproven=True)
    assert end.verdict == "degraded", end.reasons
    assert restored(end).fingerprint_equal
    assert any("engine reading" in r for r in end.reasons)


def test_all_of_an_inventory(backups: World, sandbox: Server) -> None:
    """The newest backup run saw one collection, the first one five."""
    ends = [e for e in backups.ends("one") if e.start.job == "backup"]
    end = do(
        backups, "restore", every=True, of_run=ends[0].start.run_id, to=sandbox.url, dry_run=False
    )
    assert end.verdict == "ok", end.reasons
    assert names(sandbox.url) == sorted(s.collection for s in ends[0].seen)
    assert len(outcomes(end, "restore")) == 5
    newest = do(backups, "restore", every=True, to=sandbox.url, dry_run=True)
    assert [o.collection for o in newest.outcomes] == ["busy"]


def test_all_names_what_has_no_proof(world: World, sandbox: Server) -> None:
    for name in ("one", "two"):
        for path in world.folders[name].glob("proofs/**/*.json"):
            path.unlink()
    end = do(world, "restore", every=True, to=sandbox.url, dry_run=False)
    assert end.error is not None
    assert end.error.message == "movies has no proven backup"
    assert names(sandbox.url) == []


def test_another_restore_at_work_is_refused(world: World, sandbox: Server) -> None:
    with journal_of(world.file.parent / "spool", sandbox.url, "movies"):
        end = bring_back(world, sandbox.url)
    assert end.verdict == "failed"
    (outcome,) = outcomes(end, "restore")
    assert outcome.error is not None
    assert "another restore into 'movies'" in outcome.error.message
    assert names(sandbox.url) == []


def test_bandwidth_is_kept(world: World, sandbox: Server) -> None:
    """Two seconds for 1.4 MiB at 700 KiB/s; unlimited it takes a few hundred milliseconds."""
    end = bring_back(world, sandbox.url, bandwidth=700 * 1024)
    assert end.verdict == "ok", end.reasons
    (sent,) = (p for p in restored(end).phases if p.name == "recover")
    assert sent.duration_us > 1_500_000


def test_the_key_of_the_cluster_stays_at_home(
    world: World, sandbox: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTER_KEY", "only-for-the-cluster")
    text = world.file.read_text().replace(
        "name: shop\n", "name: shop\n  api_key: env:CLUSTER_KEY\n"
    )
    world.file.write_text(text)
    seen: list[str | None] = []
    with Spy(sandbox.url) as spy:
        spy.keys = seen
        assert bring_back(world, spy.url).verdict == "ok"
        assert set(seen) == {None}
        monkeypatch.setenv("TARGET_KEY", "for-this-one")
        bring_back(world, spy.url, name="again", to_key="env:TARGET_KEY")
    assert set(seen) == {None, "for-this-one"}


@pytest.mark.parametrize("parallel", [1, 3])
def test_shard_by_shard(backups: World, target: Server, parallel: int) -> None:
    """A backup that is kept by shard goes in so, several at a time."""
    cut = by_shard(backups, "sharded")
    end = bring_back(backups, target.url, f"sharded@{cut.backup_id}", parallel=parallel)
    assert end.verdict == "ok", end.reasons
    detail = restored(end)
    assert (detail.route, detail.fingerprint_equal) == ("shards", True)
    assert get(target.url, "/collections/sharded")["config"]["params"]["shard_number"] == 3
