"""A look tells once what is new and once what is over, and never mistakes blindness for calm."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr import configfile
from qdrant_dr.cluster import ClockOffset
from qdrant_dr.config import Config
from qdrant_dr.dispatch.threads import in_this_thread
from qdrant_dr.errors import Interrupted, RepositoryDenied
from qdrant_dr.jobs.run.run import begin, utc_now
from qdrant_dr.records import Found, RunEnd, Watched
from qdrant_dr.records.manifest import collection_slug
from qdrant_dr.report.findings import cluster as live
from qdrant_dr.report.watch.changes import changes
from qdrant_dr.report.watch.job import WatchRequest, watch
from qdrant_dr.report.watch.unreadable import in_doubt
from qdrant_dr.repository import Repository, open_repository
from qdrant_dr.stores.local import LocalStore
from tests.support import records as r
from tests.support.driving import do
from tests.support.listener import Listener, listener
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.spy import Spy
from tests.support.world import World, make_world, seed

CODES = ("rpo-missed", "leftover-snapshot", "no-backup", "repository-unreadable")
FOUND = st.builds(
    Found,
    severity=st.sampled_from(["notice", "warning", "critical"]),
    code=st.sampled_from(CODES),
    scope=st.sampled_from(["movies", "users"]),
    what=st.text(max_size=4),
    since=st.just(r.NOW),
    blast_radius=st.just("some"),
    next_command=st.just("qdrant-dr check"),
)
LOOK = st.lists(FOUND, unique_by=lambda f: f.identity, max_size=6)
UNSEEN = st.sets(st.sampled_from(["records", "cluster"]))


def loud(findings: Any) -> set[tuple[str, str]]:
    return {f.identity for f in findings if f.severity != "notice"}


@given(LOOK, LOOK, UNSEEN)
def test_announced_changes_lead_from_the_previous_findings_to_the_present(
    before: list[Found], now: list[Found], unseen: Any
) -> None:
    got = changes(before, now, unseen=unseen)
    worse = loud(got.appeared) & loud(before)
    assert (loud(before) | loud(got.appeared)) - loud(got.cleared) == loud(got.standing)
    assert not loud(got.appeared) & loud(got.cleared)
    assert loud(got.cleared) <= loud(before)
    assert loud(got.appeared) <= loud(now)
    assert len(got.appeared) == len(loud(got.appeared)), "a notice is told"
    was = {f.identity: f.severity for f in before}
    is_now = {f.identity: f.severity for f in now}
    assert all((was[i], is_now[i]) == ("warning", "critical") for i in worse)
    assert {f.identity for f in now} <= {f.identity for f in got.standing}


@given(LOOK)
def test_the_same_again_is_silence_whatever_the_numbers_say(now: list[Found]) -> None:
    again = [f.model_copy(update={"what": "another number"}) for f in now]
    got = changes(now, again)
    assert not got.appeared
    assert not got.cleared
    assert not changes(got.standing, again).cleared


@given(LOOK, UNSEEN)
def test_nothing_is_over_that_was_not_known(now: list[Found], unseen: Any) -> None:
    got = changes(None, now, unseen=unseen)
    assert not got.cleared
    assert loud(got.appeared) == loud(now)


@given(LOOK)
def test_what_could_not_be_looked_at_stands_until_it_can(before: list[Found]) -> None:
    blind = changes(before, [], unseen={"records", "cluster"})
    assert {c for c, _ in loud(blind.cleared)} <= {"repository-unreadable"}
    seeing = changes(blind.standing, [])
    assert loud(blind.cleared) | loud(seeing.cleared) == loud(before)
    no_cluster = changes(before, [], unseen={"cluster"})
    assert {c for c, _ in loud(no_cluster.standing)} <= {"leftover-snapshot", "no-backup"}
    no_records = changes(before, [], unseen={"records"})
    assert {c for c, _ in loud(no_records.standing)} <= {"rpo-missed", "no-backup"}


def one(code: str, scope: str) -> Found:
    return Found(
        severity="critical", code=code, scope=scope, what="w", since=r.NOW, blast_radius="b",
        next_command="qdrant-dr check",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (one("node-unreachable", "node http://a"), one("cluster-unseen", "cluster")),
        (one("space-low", "repository two"), one("space-unseen", "repository one")),
        (one("clock-skew", "node http://a"), one("clock-unseen", "node http://a")),
    ],
)
def test_findings_of_an_unseen_half_are_not_over(known: Found, why: Found) -> None:
    assert not changes([known], [why]).cleared
    assert loud(changes([known], []).cleared) == {known.identity}


# a world with one backup, looked at


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("source")


@pytest.fixture(scope="module", params=["sandbox", pytest.param("real", marks=pytest.mark.qdrant)])
def source(request: pytest.FixtureRequest, data: Path) -> Iterator[Spy]:
    """A server behind a proxy that sees every call."""
    if request.param == "real" and "QDRANT_BIN" not in os.environ:
        pytest.skip("give QDRANT_BIN for a real server")
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(data / str(request.param)) as server, Spy(server.url) as spy:
        seed(server.url, "movies", points=40)
        seed(server.url, "users", points=10)
        yield spy


@pytest.fixture(scope="module")
def backed_up(source: Spy, tmp_path_factory: pytest.TempPathFactory) -> World:
    objectives = {"proven": {"max_age": "2d"}, "drill_every": "3d"}
    folder = tmp_path_factory.mktemp("world")
    built = make_world(folder, source.url, objectives=objectives)
    assert do(built, "backup").verdict == "ok"
    return built


@pytest.fixture
def world(backed_up: World) -> Iterator[World]:
    """As after the backup, and never looked at."""
    text = backed_up.file.read_text()
    yield backed_up
    backed_up.file.write_text(text)
    for folder in backed_up.folders.values():
        shutil.rmtree(folder / "watches", ignore_errors=True)


def looked(
    world: World, *, ahead: timedelta = timedelta(0), record: bool = True, **options: Any
) -> Watched:
    """One look, `ahead` of now."""
    return detail(ended(world, ahead=ahead, record=record, **options))


def ended(
    world: World, *, ahead: timedelta = timedelta(0), record: bool = True, **options: Any
) -> RunEnd:
    config = configfile.load(world.reference)
    run = begin(config, "watch", now=utc_now() + ahead)
    perform = in_this_thread(config, run.run_id)
    return watch(config, WatchRequest(record=record), run, perform, **options)


def detail(end: RunEnd) -> Watched:
    (outcome,) = end.outcomes
    assert isinstance(outcome.detail, Watched)
    return outcome.detail


def configure(world: World, **sections: dict[str, Any]) -> None:
    body = yaml.safe_load(world.file.read_text())
    for name, values in sections.items():
        body.setdefault(name, {}).update(values)
    world.file.write_text(yaml.safe_dump(body))


def kept(world: World) -> list[Path]:
    return sorted(world.folders["one"].glob("watches/**/*.json"))


def seen_to_come_and_go(
    world: World, come: Callable[[], object], go: Callable[[], object], **ahead: timedelta
) -> set[tuple[str, str]]:
    """What was told when something happened; all of it is over once it is put right."""
    before = looked(world)
    come()
    there = looked(world, **ahead)
    assert not there.cleared
    go()
    gone = looked(world)
    assert loud(there.appeared) <= loud(gone.cleared)
    assert loud(gone.findings) == loud(before.findings)
    assert not looked(world).appeared
    return loud(there.appeared)


def test_nothing_wrong_is_ok_and_is_kept_once_an_hour(world: World) -> None:
    end = ended(world)
    assert (end.verdict, loud(detail(end).findings)) == ("ok", set())
    assert end.source_kind is None or end.source_kind in ("sandbox", "server")
    assert detail(ended(world)).compared_with == end.ended_at
    assert len(kept(world)) == 1, "a look that brings nothing new leaves no record"
    (file,) = kept(world)
    assert RunEnd.from_bytes(file.read_bytes(), where="there") == end
    assert not list(world.folders["one"].glob(f"runs/**/{end.start.run_id}*"))


def test_an_old_watch_is_followed_by_a_recorded_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(world)
    monkeypatch.setattr("qdrant_dr.report.watch.job.RECORDED_EVERY", timedelta(0))
    looked(world)
    assert len(kept(world)) == 2


def test_a_manual_watch_leaves_announcements_to_the_next_watch(world: World) -> None:
    configure(world, cluster={"node_space": "1kB"})
    assert ("space-low", "cluster") in loud(looked(world, record=False).appeared)
    assert not kept(world)
    assert ("space-low", "cluster") in loud(looked(world).appeared)


def test_what_nobody_could_be_told_is_told_by_the_next(world: World) -> None:
    looked(world)
    configure(world, cluster={"node_space": "1kB"})
    assert looked(world, announce=lambda _end, _watched: False).appeared
    assert looked(world).appeared
    assert not looked(world).appeared


def test_an_interrupted_or_damaged_watch_does_not_count(world: World) -> None:
    first = ended(world)
    config = configfile.load(world.reference)
    begin(config, "watch").finish(config, outcomes=(), error=Interrupted("cancelled"))
    (file, *_) = kept(world)
    file.with_name("99991231T235959Z-abcdef.json").write_text("{")
    assert len(kept(world)) == 3
    assert looked(world).compared_with == first.ended_at


def test_a_watch_dated_in_the_future_is_not_compared_with(world: World) -> None:
    """Else all that changed since would be told by every look until its time comes."""
    end = ended(world)
    (file, *others) = [next(f.glob("watches/**/*.json")) for f in world.folders.values()]
    ahead = end.model_copy(update={"ended_at": end.ended_at + timedelta(hours=20)})
    for each in (file, *others):
        each.with_name("99991231T235959Z-abcdef.json").write_bytes(ahead.to_bytes())
    configure(world, cluster={"node_space": "1kB"})
    first = looked(world)
    assert first.compared_with == end.ended_at
    assert ("space-low", "cluster") in loud(first.appeared)
    assert not looked(world).appeared, "told again"


def test_many_interrupted_watches_do_not_hide_a_complete_one(world: World) -> None:
    first = ended(world)
    config = configfile.load(world.reference)
    for _ in range(7):
        run = begin(config, "watch", now=utc_now() + timedelta(minutes=1))
        run.finish(config, outcomes=(), error=Interrupted("cancelled"))
    assert looked(world).compared_with == first.ended_at


def test_a_watch_that_no_repository_accepts_is_not_green(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Repository, end: RunEnd) -> None:
        if self.name in away:
            raise RepositoryDenied(f"repository {self.name}: read-only")

    monkeypatch.setattr(Repository, "write_run_end", refuse)
    away = {"one"}
    assert ended(world).verdict == "degraded"
    away = {"one", "two"}
    end = ended(world)
    assert end.verdict == "failed"
    assert "no repository took the record of this run" in end.reasons


def test_ages_of_backup_proof_and_drill(world: World) -> None:
    told = seen_to_come_and_go(world, lambda: None, lambda: None, ahead=timedelta(days=4))
    assert {
        ("none-proven", "movies"),
        ("proof-too-old", "movies in one"),
        ("proof-too-old", "movies in two"),
        ("drill-overdue", "users"),
        ("no-backup-run", "cluster"),
    } <= told
    for folder in world.folders.values():
        shutil.rmtree(folder / "watches")
    told = seen_to_come_and_go(world, lambda: None, lambda: None, ahead=timedelta(hours=30))
    assert {("rpo-missed", "movies"), ("rpo-missed", "users")} <= told


def test_copies_below_quorum(world: World) -> None:
    two = world.folders["two"] / "backups"
    aside = two.with_name("aside")
    told = seen_to_come_and_go(world, lambda: two.rename(aside), lambda: aside.rename(two))
    assert {("below-quorum", "movies"), ("copies-absent", "movies in two")} <= told


def test_a_repository_that_is_away_hides_nothing_and_ends_nothing(world: World) -> None:
    two = world.folders["two"]
    aside = two.with_name("away")
    configure(world, objectives={"rpo": "1s"})
    assert ("rpo-missed", "movies") in loud(looked(world).appeared)
    two.rename(aside)
    configure(world, objectives={"rpo": "26h"})
    there = looked(world)
    assert ("repository-unreadable", "two") in loud(there.appeared)
    assert there.unseen == ("records",)
    assert not there.cleared, "it could not be seen whole"
    assert ("rpo-missed", "movies") in loud(there.findings)
    aside.rename(two)
    over = loud(looked(world).cleared)
    assert {("repository-unreadable", "two"), ("rpo-missed", "movies")} <= over


def test_without_any_repository_everything_is_told_and_nothing_is_over(world: World) -> None:
    looked(world)
    for folder in world.folders.values():
        folder.rename(folder.with_name(f"{folder.name}-away"))
    try:
        for _ in range(2):
            there = looked(world)
            assert {("repository-unreadable", "one"), ("repository-unreadable", "two")} <= loud(
                there.appeared
            )
            assert there.compared_with is None
            assert not there.cleared
    finally:
        for folder in world.folders.values():
            folder.with_name(f"{folder.name}-away").rename(folder)


def test_space_on_the_nodes_and_to_prove_in(world: World) -> None:
    spool = yaml.safe_load(world.file.read_text())["capture"]["spool"]

    def room(node: str, most: str) -> None:
        configure(world, cluster={"node_space": node}, capture={"spool": {**spool, "max": most}})

    told = seen_to_come_and_go(world, lambda: room("1kB", "1B"), lambda: room("9GiB", "1GiB"))
    assert {("space-low", "cluster"), ("space-low", "spool")} <= told


def test_a_record_that_is_damaged_ends_nothing_that_it_told(world: World) -> None:
    """The run that failed is the last one, and its record cannot be read any more."""
    looked(world)
    config = configfile.load(world.reference)
    end = begin(config, "verify").finish(config, outcomes=(), error=Interrupted("killed"))
    (at, *others) = [
        next(f.glob(f"runs/**/{end.start.run_id}.end.json")) for f in world.folders.values()
    ]
    was = at.read_bytes()
    told = ("run-bad", "last verify run")
    try:
        assert loud(looked(world).appeared) == {told}
        for file in (at, *others):
            file.write_bytes(was[:100])
        there = looked(world)
        assert {("records-unreadable", "one"), ("records-unreadable", "two")} <= loud(
            there.appeared
        )
        assert not there.cleared
        assert told in loud(there.findings)
    finally:
        for file in (at, *others):
            file.unlink()
            file.with_name(f"{end.start.run_id}.start.json").unlink()
    assert told in loud(looked(world).cleared)


def test_what_a_damaged_record_of_a_backup_may_hide() -> None:
    of = f"backups/shop/{collection_slug('my in movies')}/20261122T101530Z-7f3a9c/seal.json"
    doubted = in_doubt([of])
    for code, scope in (
        ("suspect", "my in movies"),
        ("copy-damaged", "my in movies@20261122T101530Z-7f3a9c in two"),
        ("future-dated", "my in movies@20261122T101530Z-7f3a9c"),
        ("copies-absent", "my in movies in two"),
    ):
        assert doubted(one(code, scope))
    assert not doubted(one("suspect", "users"))
    assert not doubted(one("rpo-missed", "my in movies")), "a lost record makes it look worse only"
    assert not doubted(one("run-bad", "last verify run"))


def test_space_that_cannot_be_looked_at_hides_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(world, cluster={"node_space": "1kB"})
    assert ("space-low", "cluster") in loud(looked(world).appeared)

    def away(_self: object) -> int:
        raise RepositoryDenied("repository: no")

    def closed(_path: str) -> int:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(LocalStore, "free_bytes", away)
    monkeypatch.setattr("qdrant_dr.jobs.check.space.free_below", closed)
    there = looked(world)
    assert not there.cleared
    assert loud(there.appeared) == {
        ("space-unseen", "repository one"),
        ("space-unseen", "repository two"),
        ("space-unseen", "spool"),
    }
    shutil.rmtree(world.folders["one"] / "watches")
    shutil.rmtree(world.folders["two"] / "watches")
    assert ("space-low", "cluster") in loud(looked(world).appeared), "hidden by another"


def test_a_node_that_is_away(world: World, source: Spy) -> None:
    url = configfile.load(world.reference).cluster.nodes[0]
    dead = "http://127.0.0.1:1"
    told = seen_to_come_and_go(
        world,
        lambda: configure(world, cluster={"nodes": [url, dead]}),
        lambda: configure(world, cluster={"nodes": [url]}),
    )
    assert told == {("node-unreachable", f"node {dead}")}
    configure(world, cluster={"nodes": [dead]})
    blind = looked(world)
    assert loud(blind.appeared) == {("cluster-unseen", "cluster")}
    assert blind.unseen == ("cluster",)


def test_clocks_of_nodes_and_stores(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = live.list_nodes

    def late(*arguments: Any) -> Any:
        seen, unreached = real(*arguments)
        return tuple(replace(f, clock=ClockOffset(-90_000, 1000)) for f in seen), unreached

    (url,) = configfile.load(world.reference).cluster.nodes
    told = seen_to_come_and_go(
        world,
        lambda: monkeypatch.setattr(live, "list_nodes", late),
        lambda: monkeypatch.setattr(live, "list_nodes", real),
    )
    assert told == {("clock-skew", f"node {url}")}
    ahead = (datetime.now(UTC) + timedelta(hours=2)).timestamp()
    for file in kept(world):  # of one second: their names do not tell which was the last
        os.utime(file, (ahead, ahead))
    there = looked(world)
    assert loud(there.appeared) == {("store-clock-skew", "repository one")}
    assert loud(looked(world).cleared) == {("store-clock-skew", "repository one")}


def test_a_copied_watch_record_says_nothing_about_the_clock_here(world: World) -> None:
    """An adopted repository: when its files were copied is no time of a store."""
    end = ended(world)
    of_another = tuple(s.model_copy(update={"repository_id": "0" * 8}) for s in end.repositories)
    (file,) = kept(world)
    file.write_bytes(end.model_copy(update={"repositories": of_another}).to_bytes())
    ahead = (datetime.now(UTC) + timedelta(hours=2)).timestamp()
    os.utime(file, (ahead, ahead))
    assert not looked(world).appeared


def test_a_new_collection_has_time_for_its_first_backup(world: World, source: Spy) -> None:
    seed(source.target, "fresh", points=3)
    try:
        first = looked(world)
        assert not first.appeared
        assert list(first.waiting) == ["fresh"]
        late = looked(world, ahead=timedelta(hours=27))
        assert ("no-backup", "fresh") in loud(late.appeared)
    finally:
        httpx.delete(f"{source.target}/collections/fresh").raise_for_status()
    after = looked(world)
    assert ("no-backup", "fresh") in loud(after.cleared)
    assert not after.waiting


def test_a_cluster_that_is_away_does_not_begin_the_wait_for_a_backup_anew(
    world: World, source: Spy
) -> None:
    url = configfile.load(world.reference).cluster.nodes[0]
    seed(source.target, "fresh", points=3)
    try:
        began = looked(world).waiting
        configure(world, cluster={"nodes": ["http://127.0.0.1:1"]})
        assert looked(world).waiting == began
        configure(world, cluster={"nodes": [url]})
        assert looked(world).waiting == began
        late = looked(world, ahead=timedelta(hours=27))
        assert ("no-backup", "fresh") in loud(late.appeared)
    finally:
        httpx.delete(f"{source.target}/collections/fresh").raise_for_status()


def test_a_collection_that_vanished_is_told_at_once(world: World, source: Spy) -> None:
    told = seen_to_come_and_go(
        world,
        lambda: httpx.delete(f"{source.target}/collections/users").raise_for_status(),
        lambda: seed(source.target, "users", points=10),
    )
    assert told == {("collection-missing", "users")}


def test_snapshots_of_ours_that_were_left_on_a_node(world: World, source: Spy, data: Path) -> None:
    """What lies there under a name that a backup of ours was made of."""
    (manifest,) = [m for m in world.manifests("one") if m.collection == "movies"]
    (part,) = manifest.parts
    (shelf, *_) = [f for f in data.glob("**/snapshots/movies") if f.is_dir()]
    (stored,) = [f for f in world.parts("one") if f"/{manifest.backup_id}/" in str(f)]
    assert part.server_name
    left = shelf / part.server_name
    told = seen_to_come_and_go(world, lambda: shutil.copy(stored, left), left.unlink)
    assert told == {("leftover-snapshot", f"'movies' on {part.node}")}


def test_a_killed_capture_leaves_what_it_asked_for(world: World, source: Spy) -> None:
    """An intent without a manifest, of a run that ended: its answer names the snapshot."""
    made = httpx.post(f"{source.target}/collections/users/snapshots", timeout=60).json()["result"]
    (old,) = [m for m in world.manifests("one") if m.collection == "users"]
    repository = open_repository(
        configfile.load(world.reference).repositories[0], stall_timeout=timedelta(seconds=30)
    )
    key = old.key.model_copy(update={"backup_id": "20200101T000000Z-abcdef"})
    calls = repository.read_calls(repository.find_backups("shop", "users", old.backup_id))[0]
    ((_, intent, answer),) = calls
    assert answer is not None
    listed = answer.snapshot.model_copy(update={"name": made["name"]})
    of_key = {"backup_id": key.backup_id}
    repository.write_intent(key, intent.model_copy(update=of_key))
    repository.write_answer(key, answer.model_copy(update={**of_key, "snapshot": listed}))
    folder = world.folders["one"] / "backups" / key.folder
    try:
        there = looked(world)
        assert loud(there.appeared) == {("leftover-snapshot", f"'users' on {intent.node}")}
        assert made["name"] in there.appeared[0].next_command
    finally:
        shutil.rmtree(folder)
        httpx.delete(
            f"{source.target}/collections/users/snapshots/{made['name']}"
        ).raise_for_status()
    assert loud(looked(world).cleared) == loud(there.appeared)


def test_what_a_call_without_an_answer_may_have_made_is_not_called_ours(
    world: World, source: Spy
) -> None:
    """Somebody else may have made it meanwhile: whoever pastes the command must know."""
    made = httpx.post(f"{source.target}/collections/users/snapshots", timeout=60).json()["result"]
    (old,) = [m for m in world.manifests("one") if m.collection == "users"]
    repository = open_repository(
        configfile.load(world.reference).repositories[0], stall_timeout=timedelta(seconds=30)
    )
    files = repository.find_backups("shop", "users", old.backup_id)
    ((_, intent, _),) = repository.read_calls(files)[0]
    key = old.key.model_copy(update={"backup_id": "20200101T000000Z-abcdef"})
    repository.write_intent(key, intent.model_copy(update={"backup_id": key.backup_id}))
    try:
        (left,) = looked(world).appeared
        assert left.code == "leftover-snapshot"
        assert f"delete {made['name']} only if nobody else made it" in left.what
        assert "of ours left" not in left.what
    finally:
        shutil.rmtree(world.folders["one"] / "backups" / key.folder)
        httpx.delete(
            f"{source.target}/collections/users/snapshots/{made['name']}"
        ).raise_for_status()


def test_a_watch_changes_nothing_and_makes_few_calls(world: World, source: Spy) -> None:
    source.log.clear()
    looked(world)
    assert {call.partition(" ")[0] for call in source.log} == {"GET"}
    assert len(source.log) <= 3 + 1 + 2, "per node: facts and names; per collection: a list"


# the world outside


@pytest.fixture
def outside() -> Iterator[Listener]:
    with listener() as kept_here:
        yield kept_here


def test_heartbeat_and_metrics_are_sent_after_each_watch(
    world: World, outside: Listener, tmp_path: Path
) -> None:
    secret = tmp_path / "heartbeat"
    secret.write_text(f"{outside.url}/ping/s3cr3t\n")
    configure(world, watch={"heartbeat": f"file:{secret}", "push": outside.url})
    assert looked(world).unsent == ()
    put, ping = outside.sent
    assert (put.method, put.path) == ("PUT", "/metrics/job/qdrant-dr/cluster/shop")
    assert 'qdrant_dr_findings{cluster="shop",severity="critical"} 0' in put.body
    assert (ping.method, ping.path) == ("GET", "/ping/s3cr3t")
    outside.sent.clear()
    configure(world, objectives={"rpo": "1s"})
    assert ended(world).verdict == "failed"
    assert [s.method for s in outside.sent] == ["PUT"], "no sign of life while a promise is broken"
    assert 'severity="critical"} 0' not in outside.sent[0].body


def test_what_could_not_be_sent_is_a_warning_without_the_secret(
    world: World, outside: Listener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    outside.status = 500
    secret = tmp_path / "heartbeat"
    for text in (f"{outside.url}/s3cr3t", "http://127.0.0.1:1/s3cr3t", "http://[s3cr3t", "s3cr3t"):
        secret.write_text(text)
        configure(world, watch={"heartbeat": f"file:{secret}", "push": "env:NOT_THERE_S"})
        end = ended(world)
        assert end.verdict == "ok"
        assert len(detail(end).unsent) == 2
        assert "s3cr3t" not in end.to_bytes().decode() + caplog.text


@pytest.mark.parametrize("wrong", ["ftp://x", "plain s3cr3t", ""])
def test_a_place_that_is_neither_url_nor_reference_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be an http") as said:
        r.config(watch={"heartbeat": wrong})
    assert not wrong or "s3cr3t" not in said.value.errors(include_input=False)[0]["msg"]


def test_without_a_section_nothing_is_sent() -> None:
    config: Config = r.config()
    assert (config.watch.heartbeat, config.watch.push) == (None, None)
