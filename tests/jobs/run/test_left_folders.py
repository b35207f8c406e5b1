"""What lies on a node: deleted only if we made it, and told for as long as it lies there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.jobs.expire.expire_copy import expire_copy
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import ExpireUnit, SweepUnit
from qdrant_dr.jobs.sweep.job import sweep
from qdrant_dr.records import (
    Expired,
    Intent,
    LeftSnapshot,
    ListedSnapshot,
    Manifest,
    SnapshotAnswer,
    Swept,
)
from qdrant_dr.repository import Repository, new_id, record_expiry
from tests.support import records as made
from tests.support.driving import do, outcomes
from tests.support.loopback import loopback
from tests.support.replay import ReplaySource
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import World, make_world, seed

RUN = "20261122T120000Z-aaaaaa"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def opened(world: World) -> dict[str, Repository]:
    return open_all(configfile.load(world.reference))[0]


def swept(world: World, url: str, now: datetime) -> Swept:
    """The repositories are swept, then the node: as the nights of `now` would."""
    config = configfile.load(world.reference)
    for name in world.folders:
        sweep(config, SweepUnit(repository=name, now=now), RUN)
    outcome = sweep(config, SweepUnit(node=url, now=now), RUN)
    assert isinstance(outcome.detail, Swept)
    assert (outcome.verdict == "degraded") == bool(outcome.detail.kept)
    return outcome.detail


def told(found: Swept) -> list[str]:
    return [left.name for left in found.left or ()]


def another_machine(world: World) -> None:
    """Its spool, and what it remembers, stay behind."""
    shutil.rmtree(world.file.parent / "spool", ignore_errors=True)


# orders out of a bucket


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(sandbox_server, id="sandbox"),
        pytest.param(
            qdrant_server,
            marks=[
                pytest.mark.qdrant,
                pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
            ],
            id="qdrant",
        ),
    ],
)
def production(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with request.param(tmp_path_factory.mktemp("production")) as server:
        seed(server.url, "movies", points=20)
        yield server.url


def snapshots(url: str) -> list[ListedSnapshot]:
    listed = loopback.get(f"{url}/collections/movies/snapshots", timeout=10).json()["result"]
    return [
        ListedSnapshot(name=s["name"], size_bytes=s["size"], checksum=s["checksum"]) for s in listed
    ]


@pytest.fixture
def theirs(production: str) -> Iterator[ListedSnapshot]:
    """A snapshot that the operator made by hand."""
    made = loopback.post(f"{production}/collections/movies/snapshots")
    answer = made.json()["result"]
    yield ListedSnapshot(
        name=answer["name"], size_bytes=answer["size"], checksum=answer["checksum"]
    )
    for left in snapshots(production):
        loopback.delete(f"{production}/collections/movies/snapshots/{left.name}", timeout=10)


def forge(url: str, target: ListedSnapshot, *repositories: Repository, **fields: object) -> Intent:
    """The records of a capture that died, as whoever may write to these buckets can make them."""
    at = utc_now()
    intent = Intent(
        run_id=RUN.replace("aaaaaa", "bbbbbb"), backup_id=new_id(at), cluster="shop",
        collection="movies", node=url, started_at=at - 3 * DAY, listed_before=(),
        tool_version="0.1.0",
    ).model_copy(update=fields)  # fmt: skip
    answer = SnapshotAnswer(backup_id=intent.backup_id, node=url, answered_at=at, snapshot=target)
    of = made.manifest("movies", at, cluster="shop").key
    key = of.model_copy(update={"backup_id": intent.backup_id})
    for repository in repositories:
        repository.write_intent(key, intent)
        repository.write_answer(key, answer)
    return intent


@pytest.mark.parametrize("repositories", [("one",), ("one", "two")])
def test_a_forged_call_in_one_bucket_deletes_nothing(
    tmp_path: Path, production: str, theirs: ListedSnapshot, repositories: tuple[str, ...]
) -> None:
    world = make_world(tmp_path, production, repositories=repositories)
    intent = forge(production, theirs, opened(world)["one"])
    for now in (utc_now(), utc_now() + 30 * DAY):
        found = swept(world, production, now)
        assert snapshots(production) == [theirs]
        assert found.removed == ()
        (left,) = found.left or ()
        assert (left.name, left.of) == (theirs.name, f"movies@{intent.backup_id}")
        assert "only repository one says that it is ours" in found.kept[0]
        assert "curl -X DELETE" in found.kept[0]


@pytest.mark.parametrize("quorum", [1, 2])
def test_a_forged_backup_deletes_nothing(
    tmp_path: Path, production: str, theirs: ListedSnapshot, quorum: int
) -> None:
    """Planted whole, as recent as can be, its run ended well."""
    copies = {"quorum": quorum, "domains": 1}
    world = make_world(tmp_path, production, copies=copies)
    one = opened(world)["one"]
    intent = forge(production, theirs, one, started_at=utc_now())
    of = made.manifest("movies", utc_now(), cluster="shop", backup_id=intent.backup_id)
    part = of.parts[0].model_copy(
        update={"node": production, "server_name": theirs.name, "size_bytes": 5}
    )
    planted = of.model_copy(update={"parts": (part,)})
    one.store.create(f"backups/{of.key.folder}/{part.file}", b"bytes")
    one.store.create(f"backups/{of.key.folder}/manifest.json", planted.to_bytes())
    start = made.run_start(at=utc_now() - HOUR, cluster="shop", run_id=intent.run_id)
    one.write_run_end(made.run_end(start, outcomes=()))
    for now in (utc_now() + DAY + HOUR, utc_now() + 30 * DAY):
        found = swept(world, production, now)
        assert (snapshots(production), found.removed, told(found)) == ([theirs], (), [theirs.name])


def test_two_buckets_apart_are_believed(
    tmp_path: Path, production: str, theirs: ListedSnapshot
) -> None:
    """That is the bound of it: who may write to two failure domains can say that we made it."""
    world = make_world(tmp_path, production)
    forge(production, theirs, *opened(world).values())
    found = swept(world, production, utc_now())
    assert (snapshots(production), len(found.removed), found.left) == ([], 1, ())


def test_two_buckets_of_one_failure_domain_are_one(
    tmp_path: Path, production: str, theirs: ListedSnapshot
) -> None:
    world = make_world(tmp_path, production)
    body = yaml.safe_load(world.file.read_text())
    for entry in body["repositories"]:
        entry["domain"] = "one house"
    world.file.write_text(yaml.safe_dump(body | {"copies": {"quorum": 2, "domains": 1}}))
    forge(production, theirs, *opened(world).values())
    found = swept(world, production, utc_now())
    assert (snapshots(production), told(found)) == ([theirs], [theirs.name])


@pytest.mark.parametrize("change", ["size", "checksum", "there before", "another name"])
def test_even_two_buckets_delete_only_what_looks_like_ours(
    tmp_path: Path, production: str, theirs: ListedSnapshot, change: str
) -> None:
    world = make_world(tmp_path, production)
    target, fields = theirs, {}
    if change == "size":
        target = theirs.model_copy(update={"size_bytes": theirs.size_bytes + 1})
    elif change == "checksum":
        target = theirs.model_copy(update={"checksum": "0" * 64})
    elif change == "there before":
        fields = {"listed_before": (theirs,)}
    else:
        fields = {"shard": 0}  # the calls of a shard are answered with other names
    forge(production, target, *opened(world).values(), **fields)
    assert swept(world, production, utc_now()).removed == ()
    assert snapshots(production) == [theirs]


def test_a_forged_record_beside_a_true_one_takes_nothing_of_it_away(
    tmp_path: Path, production: str, theirs: ListedSnapshot
) -> None:
    """The same call answered with another name in one bucket: the true pair is still ours."""
    world = make_world(tmp_path, production)
    one, two = opened(world).values()
    intent = forge(production, theirs, one)
    other = theirs.model_copy(update={"name": theirs.name.replace("movies-", "movies-9")})
    key = made.manifest("movies", utc_now(), cluster="shop").key
    key = key.model_copy(update={"backup_id": intent.backup_id})
    two.write_intent(key, intent)
    answer = SnapshotAnswer(
        backup_id=intent.backup_id, node=production, answered_at=utc_now(), snapshot=other
    )
    two.write_answer(key, answer)
    CallJournal(tmp_path / "spool").intend(1, intent)
    truth = SnapshotAnswer.from_bytes(
        one.store.read(f"backups/{key.folder}/snapshot.json"), where="one"
    )
    CallJournal(tmp_path / "spool").answered(1, truth)
    found = swept(world, production, utc_now())
    assert (snapshots(production), len(found.removed)) == ([], 1)


# memory


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


def killed_in_create(world: World, source: ReplaySource) -> str:
    """A capture whose call was never answered; the name of what the server made of it."""
    source.faults.cut_create = True
    assert do(world, "backup").verdict == "failed"
    source.faults.cut_create = False
    (orphan,) = source.snapshots("movies")
    return orphan


def intents(world: World) -> list[Path]:
    return [p for f in world.folders.values() for p in f.glob("backups/**/intent*.json")]


@pytest.mark.parametrize("here", [True, False], ids=["this machine", "another machine"])
def test_what_an_unanswered_call_made_is_told_until_it_is_gone(
    tmp_path: Path, source: ReplaySource, here: bool
) -> None:
    world = make_world(tmp_path, source.url)
    orphan = killed_in_create(world, source)
    if not here:
        another_machine(world)
    for days in (2, 3, 30, 365):
        found = swept(world, source.url, utc_now() + days * DAY)
        (left,) = found.left or ()
        assert (left.name, left.ours) == (orphan, False)
        assert any("curl -X DELETE" in words for words in found.kept)
        assert source.snapshots("movies") == (orphan,)
    assert not list(world.parts("one"))
    del source.collections["movies"].snapshots[orphan]  # somebody followed the command
    assert swept(world, source.url, utc_now() + 365 * DAY).left == ()
    assert intents(world) == []
    assert not (tmp_path / "spool" / "calls").exists()


def test_it_ends_when_the_collection_is_gone(tmp_path: Path, source: ReplaySource) -> None:
    world = make_world(tmp_path, source.url)
    killed_in_create(world, source)
    source.vanish("movies")
    assert swept(world, source.url, utc_now() + HOUR).left == ()
    assert len(intents(world)) == 2  # the server may not be done with it
    assert swept(world, source.url, utc_now() + 3 * DAY).left == ()
    assert intents(world) == []


def test_what_others_make_later_is_none_of_an_old_call(
    tmp_path: Path, source: ReplaySource
) -> None:
    """Else every snapshot that an operator ever makes would be told as perhaps ours."""
    world = make_world(tmp_path, source.url)
    orphan = killed_in_create(world, source)
    now = utc_now()
    for at in (now - 40 * DAY, now + 2 * DAY, now + 9 * DAY):
        source.add_snapshot("movies", f"movies-7-{at:%Y-%m-%d-%H-%M-%S}.snapshot", b"of theirs")
    source.add_snapshot("movies", "movies-before-the-migration.snapshot", b"of theirs")
    assert len(told(swept(world, source.url, now + DAY + HOUR))) == 5  # at first, all that is new
    assert told(swept(world, source.url, now + 10 * DAY)) == [orphan]


def test_a_backup_below_quorum_keeps_what_it_was_made_from_and_it_is_told(
    tmp_path: Path, source: ReplaySource
) -> None:
    world = make_world(tmp_path, source.url)
    kept = below_quorum(world, source)
    for days in (3, 30, 365):
        found = swept(world, source.url, utc_now() + days * DAY)
        assert (told(found), source.snapshots("movies")) == ([kept], (kept,))
        assert "only 1 of 2 copies hold it" in found.kept[0]
    assert do(world, "replicate").verdict == "ok"
    found = swept(world, source.url, utc_now() + 365 * DAY)
    assert (len(found.removed), source.snapshots("movies")) == (1, ())
    assert len(intents(world)) == 1  # it belongs to the backup


def below_quorum(world: World, source: ReplaySource) -> str:
    """One repository was away in the night; what lies on the server since then."""
    away = world.folders["two"].rename(world.folders["two"].with_name("away"))
    assert do(world, "backup").verdict == "failed"
    away.rename(world.folders["two"])
    (kept,) = source.snapshots("movies")
    return kept


def test_it_is_not_deleted_while_something_cannot_be_read(
    tmp_path: Path, source: ReplaySource
) -> None:
    """A repository that is away may hold the only copy."""
    world = make_world(tmp_path, source.url)
    source.faults.flip_byte = 700_000
    assert do(world, "backup").verdict == "failed"
    (kept,) = source.snapshots("movies")
    moved = world.folders["two"].rename(tmp_path / "away")
    found = swept_node(world, source.url)
    assert (told(found), found.removed) == ([kept], ())
    assert "not everything could be read" in found.kept[-1]
    moved.rename(world.folders["two"])
    found = swept_node(world, source.url)
    assert (found.left, source.snapshots("movies")) == ((), ())


def swept_node(world: World, url: str) -> Swept:
    detail = sweep(configfile.load(world.reference), SweepUnit(node=url, now=utc_now()), RUN).detail
    assert isinstance(detail, Swept)
    return detail


def test_what_a_dead_capture_left_is_deleted_by_who_can_tell(
    tmp_path: Path, source: ReplaySource
) -> None:
    """With one repository another machine has nothing but that bucket's word."""
    world = make_world(tmp_path, source.url, repositories=("one",))
    source.faults.flip_byte = 700_000
    assert do(world, "backup").verdict == "failed"
    (ours,) = source.snapshots("movies")
    remembered = tmp_path / "spool" / "calls"
    remembered.rename(tmp_path / "elsewhere")
    found = swept_node(world, source.url)
    assert (told(found), source.snapshots("movies")) == ([ours], (ours,))
    (tmp_path / "elsewhere").rename(remembered)
    assert swept_node(world, source.url).left == ()
    assert source.snapshots("movies") == ()
    assert not remembered.exists()


def test_an_expired_copy_leaves_the_facts_of_its_snapshot(
    tmp_path: Path, source: ReplaySource
) -> None:
    world = make_world(tmp_path, source.url)
    kept = below_quorum(world, source)
    (manifest,) = world.manifests("one")
    let_go(world, "one", manifest)
    assert not world.manifests("one")
    assert len(intents(world)) == 1
    end = do(world, "expire")
    assert (end.verdict, outcomes(end, "expire")) == ("failed", [])  # nothing is left to finish
    found = swept(world, source.url, utc_now() + 30 * DAY)
    assert (len(found.removed), source.snapshots("movies")) == (1, ())
    assert intents(world) == []
    assert kept in found.removed[0]


def test_a_copy_whose_snapshot_was_deleted_leaves_nothing(
    tmp_path: Path, source: ReplaySource
) -> None:
    world = make_world(tmp_path, source.url)
    assert do(world, "backup").verdict == "ok"
    (manifest,) = world.manifests("one")
    let_go(world, "one", manifest)
    assert not list((world.folders["one"] / "backups" / manifest.key.folder).glob("*"))


def let_go(world: World, name: str, of: Manifest) -> None:
    """As a deletion that was begun."""
    record = Expired(
        backup_id=of.backup_id, cluster="shop", collection="movies", incarnation=of.incarnation,
        run_id=RUN, decided_at=utc_now(), reason="of the test", captured_at=of.captured_at,
        size_bytes=of.size_bytes, points=None, manifest_sha256=of.sha256, seal_sha256=None,
    )  # fmt: skip
    record_expiry(opened(world)[name], record)
    unit = ExpireUnit(
        key=of.key, repository=name, decided_at=utc_now(), reason="begun", finish=True
    )
    assert expire_copy(configfile.load(world.reference), unit, RUN).verdict == "ok"


def test_a_record_of_a_call_says_little_of_the_server(tmp_path: Path, source: ReplaySource) -> None:
    names = ["customer-4711-before-migration.snapshot", "movies-1-2026-01-01-00-00-00.snapshot"]
    for name in names:
        source.add_snapshot("movies", name, b"theirs")
    world = make_world(tmp_path, source.url)
    assert do(world, "backup").verdict == "ok"
    for path in intents(world):
        intent = Intent.from_bytes(path.read_bytes(), where=str(path))
        assert [intent.knew(name) for name in names] == [False, True]
        assert intent.listed_before == ()
        assert not any(name.encode() in path.read_bytes() for name in names)


def test_the_last_sweep_carries_what_nobody_else_knows(
    tmp_path: Path, source: ReplaySource
) -> None:
    """A call without an answer, of a backup that was completed from another replica."""
    world = make_world(tmp_path, source.url)
    assert do(world, "backup").verdict == "ok"
    (manifest,) = world.manifests("one")
    now = utc_now()
    stray = f"movies-7-{now:%Y-%m-%d-%H-%M-%S}.snapshot"
    source.add_snapshot("movies", stray, b"of the call that was lost")
    unanswered = Intent(
        run_id=manifest.run_id, backup_id=manifest.backup_id, cluster="shop", collection="movies",
        node=source.url, started_at=manifest.captured_at, listed_before=(), tool_version="0.1.0",
        names_before=(), asked_at=now,
    )  # fmt: skip
    for repository in opened(world).values():
        repository.write_intent(manifest.key, unanswered, 2)
    end = do(world, "backup")
    (left,) = left_of(end)
    assert left.name == stray
    assert told(swept(world, source.url, now + 3 * DAY)) == [stray]


def left_of(end: object) -> tuple[LeftSnapshot, ...]:
    details = [o.detail for o in outcomes(end, "sweep")]  # type: ignore[arg-type]
    return tuple(left for d in details if isinstance(d, Swept) for left in d.left or ())
