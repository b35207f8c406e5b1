"""Ways in which a run once ended green though something was bad. None of them may come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.errors import ObjectMissing, RepositoryDenied, RepositoryUnreachable
from qdrant_dr.report import Assessment, gather
from qdrant_dr.repository import Repository
from qdrant_dr.repository.ledger_memory import FOLDER as LEDGERS
from qdrant_dr.stores.local import LocalStore
from tasks.announce import protected, proven_captures
from tests.support.driving import do, outcomes, rot
from tests.support.loopback import loopback
from tests.support.replay import ReplaySource
from tests.support.servers import sandbox_server
from tests.support.world import Layout, World, layouts, make_world, seed


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


@pytest.fixture(params=layouts("chunked"))
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path, layout: Layout) -> World:
    return make_world(tmp_path, source.url, layout=layout)


def statuses(world: World) -> dict[str, str]:
    """What a report says of each collection."""
    config = configfile.load(world.reference)
    assessment = Assessment.of(gather(config, datetime.now(UTC), timedelta(days=30)))
    return {s.collection: s.status for s in assessment.standings}


def rewrite(world: World, **sections: Any) -> None:
    body = yaml.safe_load(world.file.read_text())
    world.file.write_text(yaml.safe_dump({**body, **sections}))


def test_a_repository_that_opens_and_cannot_be_listed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert do(world, "backup").verdict == "ok"
    real = LocalStore.find

    def find(store: LocalStore, folder: str) -> Any:
        if store.name == "two" and folder.startswith("backups"):
            raise RepositoryUnreachable("repository two: listing is refused")
        return real(store, folder)

    monkeypatch.setattr(LocalStore, "find", find)
    for job in ("verify", "replicate", "drill", "backup"):
        end = do(world, job)
        assert end.verdict != "ok", job
        assert [r.name for r in end.repositories if not r.reachable] == ["two"]


def test_a_manifest_that_nobody_can_read_is_not_no_backup(world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    assert do(world, "backup").verdict == "ok"
    for folder in world.folders.values():
        newest = max(folder.glob("backups/**/manifest.json"))
        newest.write_bytes(newest.read_bytes()[:-5])
    assert do(world, "verify").verdict == "failed"
    assert do(world, "replicate").verdict == "failed"
    assert do(world, "drill").verdict == "degraded"
    assert do(world, "backup").verdict == "degraded"


def test_a_truncated_failure_record_does_not_make_a_damaged_copy_good(world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    assert do(world, "verify").verdict == "ok"
    rot(world, "two")
    assert do(world, "verify").verdict == "failed"
    (failed,) = (
        p for p in world.folders["two"].glob("proofs/**/*.json")
        if b'"passed":false' in p.read_bytes()
    )  # fmt: skip
    failed.write_bytes(failed.read_bytes()[:-5])
    assert do(world, "replicate").verdict == "failed"
    again = do(world, "verify", not_proven_since_hours=24)
    assert again.verdict == "failed"
    # a copy with a hidden proof is not fresh: it is looked at, and found out
    assert [o.repository for o in again.outcomes if o.verdict == "failed"] == ["two"]
    assert statuses(world)["movies"] != "protected"


def test_a_lost_failure_record_does_not_make_a_damaged_copy_good(world: World) -> None:
    """The run that found it tells of it, until the content of that copy was read again."""
    assert do(world, "backup").verdict == "ok"
    assert do(world, "verify").verdict == "ok"
    (part,) = world.parts("two")
    good = part.read_bytes()
    rot(world, "two")
    assert do(world, "verify").verdict == "failed"
    (failed,) = (
        p for p in world.folders["two"].glob("proofs/**/*.json")
        if b'"passed":false' in p.read_bytes()
    )  # fmt: skip
    failed.unlink()
    assert statuses(world)["movies"] != "protected"
    assert do(world, "expire").verdict == "failed"  # and nothing goes for its sake
    again = do(world, "verify", not_proven_since_hours=24)
    assert [o.repository for o in again.outcomes if o.verdict == "failed"] == ["two"]
    for left in world.folders["two"].glob("proofs/**/*.json"):
        if b'"passed":false' in left.read_bytes():
            left.unlink()
    part.write_bytes(good)
    assert statuses(world)["movies"] != "protected"
    do(world, "verify")
    assert do(world, "verify").verdict == "ok"


def test_a_source_without_operation_numbers_is_never_sealed(
    source: ReplaySource, world: World
) -> None:
    source.faults.no_manifest = True
    source.collections["movies"].counts[0] = 2600  # it held more than the archive does
    assert do(world, "backup").verdict == "failed"
    assert not list(world.file.parent.rglob("seal.json"))
    assert do(world, "verify").verdict == "failed"
    assert statuses(world)["movies"] != "protected"


def test_a_key_is_not_sent_to_an_address_out_of_a_bucket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: Layout
) -> None:
    asked: list[str] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers.get("api-key")))
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    stranger = HTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=stranger.serve_forever, daemon=True).start()
    monkeypatch.setenv("K", "cluster-key")
    with ReplaySource(["basic"], api_key="cluster-key") as source:
        cluster = {"name": "shop", "nodes": [source.url], "api_key": "env:K"}
        world = make_world(tmp_path, source.url, layout=layout, cluster=cluster)
        assert do(world, "backup", prove="bytes").verdict == "degraded"
        manifest = world.manifests("one")[0]
        node = f"http://127.0.0.1:{stranger.server_port}"
        part = manifest.parts[0].model_copy(update={"node": node})
        forged = manifest.model_copy(update={"parts": (part,)})
        for folder in world.folders.values():
            next(folder.glob("backups/**/manifest.json")).write_bytes(forged.to_bytes())
        do(world, "verify")
    stranger.shutdown()
    stranger.server_close()
    assert asked == []


def test_an_expected_collection_is_included_whatever_the_patterns_say(
    tmp_path: Path, layout: Layout
) -> None:
    with ReplaySource(["basic", "single"]) as source:
        world = make_world(
            tmp_path, source.url, layout=layout,
            collections={"include": ["movies"], "expect": ["single"]},
        )  # fmt: skip
        end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    assert {m.collection for m in world.manifests("one")} == {"movies", "single"}


def test_a_seal_that_nobody_took_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_seal(*_: object) -> None:
        raise RepositoryDenied("repository: no")

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "put_seal", put_seal)
        assert do(world, "backup").verdict == "failed"
    assert statuses(world)["movies"] != "protected"


def test_no_second_seal_while_the_first_may_be_out_of_sight(world: World, tmp_path: Path) -> None:
    assert do(world, "backup").verdict == "ok"
    for seal in world.folders["two"].glob("backups/**/seal.json"):
        seal.unlink()  # as a heal that was killed in between once left it
    world.folders["one"].rename(tmp_path / "away")
    assert do(world, "verify", repositories=("two",)).verdict == "failed"
    assert not list(world.folders["two"].glob("backups/**/seal.json"))
    (tmp_path / "away").rename(world.folders["one"])
    assert do(world, "replicate").verdict == "ok"
    assert do(world, "verify").verdict == "ok"
    assert statuses(world)["movies"] == "protected"


def test_a_fault_of_the_target_is_no_proof_against_the_source(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert do(world, "backup").verdict == "ok"
    for part in world.parts("two"):
        part.unlink()
    real = LocalStore.sink

    def sink(store: LocalStore, path: str, **options: Any) -> Any:
        if store.name == "two" and path.endswith((".snapshot", ".recipe", ".pack")):
            raise ObjectMissing("repository two: the folder was just removed")
        return real(store, path, **options)

    really_create = LocalStore.create

    def create(store: LocalStore, path: str, data: bytes) -> None:
        if store.name == "two" and path.endswith(".pack"):  # one that was gone is written so
            raise ObjectMissing("repository two: the folder was just removed")
        really_create(store, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "sink", sink)
        patch.setattr(LocalStore, "create", create)
        assert do(world, "replicate").verdict == "failed"
    assert not any(b'"passed":false' in p.read_bytes()
                   for p in world.folders["one"].glob("proofs/**/*.json"))  # fmt: skip
    assert do(world, "replicate").verdict == "ok"


def test_a_dry_run_leaves_no_record_and_hides_nothing(source: ReplaySource, world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    before = sorted(p.name for p in world.folders["one"].rglob("*.json"))
    planned = do(world, "backup", dry_run=True)
    assert [o.verdict for o in planned.outcomes] == ["skipped"]
    assert sorted(p.name for p in world.folders["one"].rglob("*.json")) == before
    assert len(source.deleted) == 1  # that of the real run
    for name in world.folders:
        rot(world, name)
    assert do(world, "verify").verdict == "failed"
    assert do(world, "replicate", dry_run=True).verdict == "failed"


def test_a_run_without_a_record_has_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalStore.create

    def create(store: LocalStore, path: str, data: bytes) -> None:
        if path.startswith("runs/"):
            raise RepositoryDenied("no runs here")
        real(store, path, data)

    monkeypatch.setattr(LocalStore, "create", create)
    assert do(world, "backup").verdict == "failed"


def test_lost_data_alarms_every_night_until_somebody_looks(tmp_path: Path, layout: Layout) -> None:
    with ReplaySource(["basic", "empty"]) as source:
        world = make_world(tmp_path, source.url, layout=layout, collections={"include": ["movies"]})
        assert do(world, "backup").verdict == "ok"
        served, emptied = source.collections["movies"], source.collections["empty"]
        served.archive, served.points = emptied.archive, ()
        served.counts = {0: 0}
        config = configfile.load(world.reference)
        for _night in range(3):
            end = do(world, "backup")
            assert end.verdict != "ok"
            assert not protected(end, config)
            assert proven_captures(end, config) == {}


def test_a_new_incarnation_is_reported(source: ReplaySource, world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    served = source.collections["movies"]
    lives = {m.incarnation for m in world.manifests("one")}
    served.operations = {0: 2}
    end = do(world, "backup")
    assert end.verdict != "ok"
    (captured,) = outcomes(end, "capture")
    assert any("a new life of this name" in note for note in captured.notes)
    assert {m.incarnation for m in world.manifests("one")} - lives


def test_a_drill_that_takes_longer_than_promised(world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    with ReplaySource([]) as scratch:
        rewrite(
            world,
            objectives={"rto": "0.001s"},
            drill={"engine": "server", "scratch": {"url": scratch.url, "disposable": True}},
        )
        end = do(world, "drill")
    assert end.verdict == "failed"
    assert any("promised 0 s" in reason for reason in end.reasons)
    assert outcomes(end, "drill")[0].detail.fingerprint_equal is True


def test_a_living_drill_of_somebody_else_is_left_alone(world: World, tmp_path: Path) -> None:
    assert do(world, "backup").verdict == "ok"
    with sandbox_server(tmp_path / "scratch") as scratch:
        name = f"qdr-drill-{datetime.now(UTC):%Y%m%dt%H%M%Sz}-7f3a9c-0a1b2c"
        seed(scratch.url, name, points=3)
        rewrite(
            world,
            drill={"engine": "server", "scratch": {"url": scratch.url, "disposable": True}},
        )
        end = do(world, "drill")
        assert end.verdict == "failed"
        assert "another drill is at work" in end.reasons[0]
        assert collections_of(scratch.url) == [name]
        loopback.delete(f"{scratch.url}/collections/{name}").raise_for_status()
        seed(scratch.url, "qdr-drill-20260101t000000z-7f3a9c-0a1b2c", points=3)
        again = do(world, "drill")
        assert again.verdict == "ok", again.reasons
        assert collections_of(scratch.url) == []


def collections_of(url: str) -> list[str]:
    found = loopback.get(f"{url}/collections").raise_for_status().json()["result"]
    return sorted(c["name"] for c in found["collections"])


def test_what_is_not_ours_is_told_and_stays(world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    stray = world.folders["two"] / "backups" / "shop" / "stray.txt"
    stray.write_text("who put this here?")
    end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    assert any("stray.txt" in remark for remark in end.remarks)
    assert stray.exists()


def test_a_capture_that_died_before_its_intent_leaves_no_folder(world: World) -> None:
    left = world.file.parent / "spool" / "qdr-capture-20260101T000000Z-abcdef"
    left.mkdir(parents=True)
    (left / ".lock").touch()
    assert do(world, "backup").verdict == "ok"
    assert [p.name for p in left.parent.iterdir()] == [LEDGERS]
