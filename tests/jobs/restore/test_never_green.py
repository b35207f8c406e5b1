"""Whoever restores wants to believe it: what is wrong, missing, stale or not ours is never green.

Each test is a way in which a restore once ended well though it had not, or took away what was not
its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, ShardState
from qdrant_dr.errors import Interrupted, RecoverFailed, UsageError
from qdrant_dr.jobs.restore import salvage as salvage_module
from qdrant_dr.jobs.restore import take_over
from qdrant_dr.jobs.restore import transfer_parts as restore_recover
from qdrant_dr.jobs.restore import unit as restoring
from qdrant_dr.jobs.restore.journal import unfinished
from qdrant_dr.jobs.restore.options import RestoreRequest
from qdrant_dr.jobs.target.restored_content import not_of_the_backup
from qdrant_dr.records import Outcome, Restored, RunEnd
from tests.support.driving import change_seals, do, outcomes, rot
from tests.support.loopback import loopback
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource
from tests.support.servers import Server, qdrant_cluster, sandbox_server
from tests.support.spy import Spy
from tests.support.world import Layout, World, layouts, lent, make_world

MOVIES = "movies@latest-proven"


def backed_up(folder: Path, layout: Layout) -> World:
    """A proven backup of movies, which has an alias; the source is gone."""
    with ReplaySource(["basic"]) as source:
        source.collections["movies"].aliases = ["films"]
        made = make_world(folder, source.url, layout=layout)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture(scope="module", params=layouts("encrypted"))
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> World:
    """For tests that leave the backup as it is."""
    return backed_up(tmp_path_factory.mktemp("world") / "world", layout)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> World:
    return backed_up(tmp_path_factory.mktemp("untouched") / "world", layout)


@pytest.fixture
def fresh(untouched: World) -> Iterator[World]:
    """For tests that do not."""
    with lent(untouched) as mine:
        yield mine


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Server]:
    with sandbox_server(tmp_path / "target") as server:
        yield server


def bring_back(world: World, url: str, backup: str = MOVIES, **request: Any) -> RunEnd:
    return do(world, "restore", backups=[backup], to=url, **{"dry_run": False, **request})


def only(end: RunEnd) -> tuple[Outcome, Restored]:
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored), outcome
    return outcome, outcome.detail


def get(url: str, path: str) -> Any:
    return loopback.get(f"{url}{path}", timeout=30).raise_for_status().json()["result"]


def post(url: str, path: str, **body: Any) -> Any:
    answer = loopback.post(f"{url}{path}", json=body, timeout=30)
    return answer.raise_for_status().json()["result"]


def names(url: str) -> list[str]:
    return sorted(c["name"] for c in get(url, "/collections")["collections"])


def aliases(url: str) -> dict[str, str]:
    return {a["alias_name"]: a["collection_name"] for a in get(url, "/aliases")["aliases"]}


def count(url: str, name: str = "movies") -> int:
    return int(post(url, f"/collections/{name}/points/count", exact=True)["count"])


def theirs(url: str, world: World) -> None:
    """Somebody makes a collection of that name, like the one in the backup, and fills it."""
    params = json.loads(world.manifests("one")[0].collection_info)["config"]["params"]
    vectors = params["vectors"]
    body = {"vectors": vectors, "shard_number": params["shard_number"]}
    loopback.put(f"{url}/collections/movies", json=body, timeout=30).raise_for_status()
    if "size" in vectors:
        vector: Any = [0.5] * vectors["size"]
    else:
        vector = {name: [0.5] * v["size"] for name, v in vectors.items()}
    made = [{"id": n, "vector": vector, "payload": {"of": "them"}} for n in (1, 2, 3)]
    loopback.put(
        f"{url}/collections/movies/points?wait=true", json={"points": made}, timeout=30
    ).raise_for_status()


def write_to(url: str) -> None:
    """Somebody changes a point: as many as before, other content."""
    body = {"payload": {"of": "them"}, "points": [3]}
    post(url, "/collections/movies/points/payload?wait=true", **body)


def spool(world: World) -> Path:
    return world.file.parent / "spool"


def interrupt(world: World, url: str, at: str, **request: Any) -> None:
    """A restore that ends before the call `at`, and leaves its journal: as one that is killed."""

    def stop(*_: Any, **__: Any) -> None:
        stopping.set()
        raise Interrupted("as if it was killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"qdrant_dr.jobs.{at}", stop)
        try:
            end = bring_back(world, url, **request)
        finally:
            stopping.clear()
    assert unfinished(spool(world), url, "movies") is not None, end.reasons


def another(world: World) -> str:
    """The name of a second backup of movies."""
    first = world.manifests("one")[0].backup_id
    with ReplaySource(["basic"]) as source:
        text = world.file.read_text()
        (old,) = (line for line in text.splitlines() if "- http://127" in line)
        world.file.write_text(text.replace(old.strip(), f"- {source.url}"))
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    (second,) = {m.backup_id for m in world.manifests("one")} - {first}
    return f"movies@{second}"


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
@pytest.mark.timeout(170)
def test_every_replica_is_compared_not_only_the_one_that_answers(
    tmp_path: Path, layout: Layout
) -> None:
    """`no_sync` leaves the other replicas with what they had: Active, and as many points."""
    with ReplaySource(["sharded"]) as source:
        world = make_world(tmp_path / "world", source.url, layout=layout)
        assert do(world, "backup").verdict == "ok"
    backup = "sharded@latest-proven"
    with qdrant_cluster(tmp_path / "cluster", 2) as nodes:
        urls = "".join(f"\n  - {node.url}" for node in nodes)
        world.file.write_text(world.file.read_text().replace(f"\n  - {source.url}", urls))
        first = bring_back(world, nodes[0].url, backup, replication_factor=2)
        assert first.verdict == "ok", first.reasons
        post(
            nodes[0].url, "/collections/sharded/points/payload?wait=true",
            payload={"stale": True}, filter={},
        )  # fmt: skip
        over = {"replication_factor": 2, "into_existing": True}
        end = bring_back(world, nodes[0].url, backup, priority="no_sync", **over)
        assert end.verdict == "failed"
        outcome, detail = only(end)
        assert detail.fingerprint_equal is False
        assert outcome.error is not None
        assert "on the server: payload differs" in outcome.error.message
        assert any("there before, and overwritten in whole" in note for note in outcome.notes)
        assert names(nodes[1].url) == ["sharded"]
        end = bring_back(world, nodes[0].url, backup, **over)
        assert end.verdict == "ok", end.reasons


@pytest.mark.parametrize("at", ["restore.unit.PartSender.run", "restore.unit.wait_restored"])
def test_what_was_made_anew_under_the_name_is_not_ours(
    fresh: World, target: Server, at: str
) -> None:
    """An interrupted restore, its half deleted, the collection filled by somebody else."""
    interrupt(fresh, target.url, at)
    loopback.delete(f"{target.url}/collections/movies", timeout=30).raise_for_status()
    theirs(target.url, fresh)
    whole = at == "restore.unit.wait_restored"
    mine = str(fresh.manifests("one")[0].key)
    for backup in (mine, another(fresh)):
        end = bring_back(fresh, target.url, backup)
        assert end.verdict == "failed"
        if whole and backup != mine:  # what came back in whole is like any other collection
            error: Any = end.error
            assert "unless somebody has recreated it since" in error.message
        else:
            error = only(end)[0].error
            assert "somebody may use it, and it is not touched" in error.message
        assert error.code == "plan-refused"
        assert count(target.url) == 3
        assert get(target.url, "/collections/movies/points/1")["payload"] == {"of": "them"}


def test_an_interrupted_one_that_was_written_to_is_not_removed(
    world: World, target: Server
) -> None:
    """As many points, other content: the run that comes back cannot know whose it is."""
    interrupt(world, target.url, "restore.unit.wait_restored")
    write_to(target.url)
    end = bring_back(world, target.url)
    assert end.verdict == "failed"
    outcome, detail = only(end)
    assert detail.fingerprint_equal is False
    assert not any("collection" in what for what in detail.removed)
    assert any("may be in use since" in note for note in outcome.notes)
    assert get(target.url, "/collections/movies/points/3")["payload"]["of"] == "them"
    assert aliases(target.url) == {}


def test_what_was_proven_is_not_taken_away_by_the_next_backup(fresh: World, target: Server) -> None:
    """Only its aliases were not set yet: it is a collection like any other, and in use."""
    interrupt(fresh, target.url, "restore.unit.plan_aliases")
    write_to(target.url)
    end = bring_back(fresh, target.url, another(fresh))
    assert end.verdict == "failed"
    assert end.error is not None
    assert "--into-existing" in end.error.message
    assert get(target.url, "/collections/movies/points/3")["payload"]["of"] == "them"


def test_what_was_proven_and_made_anew_gets_no_alias(world: World, target: Server) -> None:
    interrupt(world, target.url, "restore.unit.plan_aliases")
    loopback.delete(f"{target.url}/collections/movies", timeout=30).raise_for_status()
    theirs(target.url, world)
    end = bring_back(world, target.url)
    assert end.verdict == "failed"
    assert "made anew since" in end.reasons[0]
    assert aliases(target.url) == {}
    assert count(target.url) == 3
    assert unfinished(spool(world), target.url, "movies") is None


def test_what_was_proven_and_written_to_gets_no_alias(world: World, target: Server) -> None:
    interrupt(world, target.url, "restore.unit.plan_aliases")
    write_to(target.url)
    end = bring_back(world, target.url)
    assert end.verdict == "degraded", end.reasons
    outcome, detail = only(end)
    assert detail.fingerprint_equal is None
    assert (detail.aliases_set, detail.aliases_left) == ((), ("films",))
    assert any("written to since its content was proven" in note for note in outcome.notes)
    assert aliases(target.url) == {}


def test_what_was_proven_and_rests_gets_its_aliases(world: World, target: Server) -> None:
    interrupt(world, target.url, "restore.unit.plan_aliases")
    end = bring_back(world, target.url)
    assert end.verdict == "ok", end.reasons
    assert aliases(target.url) == {"films": "movies"}


def test_a_collection_that_appears_before_ours_is_made_stays(fresh: World, target: Server) -> None:
    """Between the last look and the creation: the restore fails and takes nothing away."""
    cut = by_shard(fresh, "movies")
    with pytest.MonkeyPatch.context() as patch:
        create = take_over.create_target

        def late(*given: Any, **named: Any) -> None:
            theirs(target.url, fresh)
            create(*given, **named)

        patch.setattr(take_over, "create_target", late)
        end = bring_back(fresh, target.url, f"movies@{cut.backup_id}")
    assert end.verdict == "failed"
    outcome, _ = only(end)
    assert any("this restore did not make it" in note for note in outcome.notes)
    assert count(target.url) == 3


def test_a_collection_that_appears_while_no_copy_can_be_read_stays(
    fresh: World, target: Server
) -> None:
    """Nothing of ours arrived: whatever has the name is not ours to remove."""
    rot(fresh, "one")
    rot(fresh, "two")
    with pytest.MonkeyPatch.context() as patch:
        upload = restore_recover.recover_by_upload

        def late(*given: Any, **named: Any) -> str:
            if "movies" not in names(target.url):
                theirs(target.url, fresh)
            return upload(*given, **named)

        patch.setattr(restore_recover, "recover_by_upload", late)
        end = bring_back(fresh, target.url)
    assert end.verdict == "failed"
    outcome, _ = only(end)
    assert any("somebody else made or filled it meanwhile" in note for note in outcome.notes)
    assert count(target.url) == 3


def test_a_salvage_with_changed_points_is_a_doubt_and_stays(
    world: World, target: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = salvage_module.salvage

    def changed(*given: Any, **named: Any) -> salvage_module.Salvaged:
        return replace(real(*given, **named), changed_ids=(3, 4))

    monkeypatch.setattr(salvage_module, "salvage", changed)
    end = bring_back(world, target.url, salvage=True)
    assert end.verdict == "degraded", end.reasons
    outcome, detail = only(end)
    assert detail.fingerprint_equal is None
    assert any("2 points are not what was written: 3, 4" in note for note in outcome.notes)
    assert names(target.url) == ["movies"]
    assert aliases(target.url) == {}
    assert detail.aliases_left == ("films",)


def test_a_whole_salvage_gets_its_aliases(world: World, target: Server) -> None:
    end = bring_back(world, target.url, salvage=True)
    _, detail = only(end)
    assert detail.fingerprint_equal is None, "a salvage is never called equal"
    assert detail.came_to == "salvaged: 2000 of 2000 points, 0 lost"
    assert detail.sources == ("one",)
    assert detail.aliases_set == ("films",)
    assert aliases(target.url) == {"films": "movies"}


def test_a_salvage_that_fails_is_never_removed(world: World, target: Server) -> None:
    """All points are written, then the server refuses an index."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RecoverFailed("no index today")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salvage_module, "create_payload_indexes", refuse)
        end = bring_back(world, target.url, salvage=True)
    assert end.verdict == "failed"
    outcome, detail = only(end)
    assert detail.removed == ()
    assert any("what a salvage wrote is not removed" in note for note in outcome.notes)
    assert count(target.url) > 0
    again = bring_back(world, target.url, salvage=True)
    assert again.error is not None
    assert "--as" in again.error.message


def test_half_a_salvage_is_neither_continued_nor_removed(world: World, target: Server) -> None:
    interrupt(world, target.url, "restore.salvage.create_payload_indexes", salvage=True)
    held = count(target.url)
    assert held > 0
    end = bring_back(world, target.url, salvage=True)
    assert end.verdict == "failed"
    assert "what a salvage wrote stays" in end.reasons[0]
    assert count(target.url) == held


def test_a_salvage_into_which_somebody_writes_is_not_whole(world: World, target: Server) -> None:
    written = []

    def write(line: str) -> None:
        if line == "PUT /collections/movies/index" and not written:
            page = post(
                target.url, "/collections/movies/points/scroll", limit=1, with_vector=True
            )  # fmt: skip
            written.append({"id": 10**9, "vector": page["points"][0]["vector"]})
            loopback.put(
                f"{target.url}/collections/movies/points?wait=true", json={"points": written},
                timeout=30,
            ).raise_for_status()  # fmt: skip

    with Spy(target.url) as spy:
        spy.after = write
        end = bring_back(world, spy.url, salvage=True)
    assert written
    assert end.verdict == "degraded", end.reasons
    outcome, detail = only(end)
    assert detail.fingerprint_equal is None
    assert any("holds 1 points that were not written to it" in note for note in outcome.notes)
    assert aliases(target.url) == {}


def test_a_suspect_backup_never_ends_ok(fresh: World, target: Server) -> None:
    """It equals its seal, and the seal itself has doubts."""
    change_seals(fresh, suspect=("half of it is gone",))
    assert bring_back(fresh, target.url, "movies@latest").verdict == "failed"
    end = bring_back(fresh, target.url, "movies@latest", allow_unproven=True)
    assert end.verdict == "degraded", end.reasons
    assert "half of it is gone" in end.reasons[0]


def test_all_of_an_inventory_of_nothing_is_not_ok(fresh: World, target: Server) -> None:
    (first,) = fresh.ends("one")
    seen = tuple(s.model_copy(update={"status": "excluded"}) for s in first.seen)
    for folder in fresh.folders.values():
        for path in folder.glob("runs/**/*.end.json"):
            path.chmod(0o644)
            path.write_bytes(first.model_copy(update={"seen": seen}).to_bytes())
    end = do(fresh, "restore", every=True, to=target.url, dry_run=False)
    assert end.verdict == "failed"
    assert "no collection" in end.reasons[0]


def test_who_writes_while_it_is_compared_is_told_of(world: World, target: Server) -> None:
    """The pages that were read are equal, and are not what is there any more."""
    written = []

    def write(line: str) -> None:
        if line == "POST /collections/movies/shards/0/points/scroll" and not written:
            written.append(line)
            write_to(target.url)

    with Spy(target.url) as spy:
        spy.after = write
        end = bring_back(world, spy.url)
    assert end.verdict == "degraded", end.reasons
    assert "was written to while it was compared" in end.reasons[0]


def test_a_target_of_another_version_than_the_plan_saw_is_refused(
    world: World, target: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = restoring.facts_of
    monkeypatch.setattr(
        restoring, "facts_of", lambda *given: replace(look(*given), version="1.2.3")
    )
    end = bring_back(world, target.url)
    assert end.verdict == "failed"
    assert "an older server cannot restore it" in end.reasons[0]
    assert names(target.url) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"to": "http://admin:hunter2@qdrant:6333"},
        {"to": "https://qdrant:6333/?api-key=hunter2"},
        {"to": "http://qdrant:6333", "server_file": "https://bucket/a?X-Amz-Signature=hunter2"},
        {"to": "http://qdrant:6333", "server_file": "https://me:hunter2@bucket/a"},
    ],
)
def test_a_secret_in_an_address_is_refused_before_it_is_written(asked: dict[str, Any]) -> None:
    """What is asked for goes into the record of the run, and into every plan."""
    with pytest.raises(UsageError) as refusal:
        RestoreRequest(backups=("movies@latest",), **asked)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"kind": "restore-journal"}'])
def test_a_journal_that_cannot_be_read_stops_everything(
    fresh: World, target: Server, damage: bytes
) -> None:
    interrupt(fresh, target.url, "restore.unit.wait_restored")
    held = count(target.url)
    (path,) = spool(fresh).glob("restores/*.json")
    path.write_bytes(damage)
    end = bring_back(fresh, target.url)
    assert end.verdict == "failed"
    assert end.error is not None
    assert end.error.code == "plan-refused"
    assert str(path) in end.error.hint
    assert count(target.url) == held
    assert path.read_bytes() == damage


def test_points_in_a_shard_that_the_backup_does_not_have_are_no_success() -> None:
    replica = ShardState(
        shard=7, shard_key="late", state="Active", local=True, peer_id=1, operation=3, count=2
    )
    with Node("http://127.0.0.1:1") as node:
        (fault,) = not_of_the_backup(replica, node)
        assert "shard 7" in fault.message
        assert "2 points" in fault.message
        assert not_of_the_backup(replace(replica, count=0), node) == []
        assert len(not_of_the_backup(replace(replica, count=None), node)) == 1
