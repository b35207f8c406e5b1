"""Deleting backups: on real repositories, denied, killed, locked and held."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.errors import NothingSelected, RepositoryDenied
from qdrant_dr.jobs.expire.expire_copy import expire_copy
from qdrant_dr.jobs.expire.hold import place_hold, release_holds
from qdrant_dr.jobs.run.catalogs import catalog_of
from qdrant_dr.jobs.run.holds import holds_of
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import ExpireUnit
from qdrant_dr.records import Deleted, Expired, Manifest
from qdrant_dr.repository import Catalog, Repository, read_expired
from qdrant_dr.stores.local import LocalStore
from tests.support.driving import do, outcomes
from tests.support.expiring import BYTES, LITTLE, fill, left, opened
from tests.support.world import World, make_world


def world_of(tmp_path: Path, **retention: object) -> World:
    return make_world(tmp_path, "http://127.0.0.1:9", retention={**LITTLE, **retention})


def catalog(world: World) -> Catalog:
    return catalog_of(configfile.load(world.reference), opened(world), {})


def test_a_dry_run_says_what_would_go_and_deletes_nothing(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    backups = fill(world, 4)
    end = do(world, "expire", dry_run=True)
    assert end.verdict == "ok"
    assert {(o.backup_id, o.repository) for o in end.outcomes} == {
        (b.backup_id, r) for b in backups[2:] for r in ("one", "two")
    }  # fmt: skip
    assert all("keeps it" in o.notes[1] for o in end.outcomes)
    assert len(left(world)) == 4


def test_what_goes_is_written_down_first_and_its_history_stays(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    backups = fill(world, 4)
    end = do(world, "expire")
    assert end.verdict == "ok", end.reasons
    assert left(world) == left(world, "two") == {b.backup_id for b in backups[:2]}
    gone = backups[3]
    folder = world.folders["one"] / "backups" / gone.key.folder
    assert not list(folder.glob("*")) if folder.exists() else True
    tombstone = read_expired(opened(world)["one"], gone.key.folder).records
    assert [(t.manifest_sha256, t.size_bytes, t.points) for t in tombstone] == [
        (gone.sha256, len(BYTES), 2000)
    ]
    assert list(world.folders["one"].glob(f"proofs/{gone.key.folder}/*.json"))
    detail = outcomes(end, "expire")[0].detail
    assert isinstance(detail, Deleted)
    assert detail.freed_bytes > len(BYTES)
    assert detail.hidden_bytes == 0
    again = do(world, "expire")
    assert (again.verdict, again.outcomes) == ("ok", ())


def test_replicate_does_not_bring_back_what_retention_let_go(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    backups = fill(world, 3)
    do(world, "expire", repositories=("one",))
    assert len(left(world)) == 2
    assert len(left(world, "two")) == 3
    states = {c.repository: c.state for b in catalog(world).backups for c in b.copies
              if b.key == backups[2].key}  # fmt: skip
    assert states == {"one": "expired", "two": "present"}
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons
    assert len(left(world)) == 2


def test_a_denied_deletion_is_a_failure_and_heals_on_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(tmp_path)
    backups = fill(world, 3)
    delete = LocalStore.delete

    def denied(store: LocalStore, path: str) -> None:
        if store.name == "one" and path.endswith("collection.snapshot"):
            raise RepositoryDenied("repository one: deleting is not allowed")
        delete(store, path)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "delete", denied)
        end = do(world, "expire")
    assert end.verdict == "failed"
    assert [o.error.code for o in end.outcomes if o.error] == ["repository-denied"]
    assert left(world) == left(world, "two") == {b.backup_id for b in backups[:2]}
    assert len(list(world.parts("one"))) == 3
    end = do(world, "expire")
    assert end.verdict == "ok", end.reasons
    assert len(list(world.parts("one"))) == 2


def test_a_deletion_that_was_cut_is_finished_by_the_next_run(tmp_path: Path) -> None:
    """Killed after the manifest: what is left is no backup, and no capture that may yet commit."""
    world = world_of(tmp_path)
    backups = fill(world, 3)
    of = backups[2]
    repository = opened(world)["one"]
    bury_only(world, repository, of)
    (world.folders["one"] / "backups" / of.key.folder / "manifest.json").unlink()
    do(world, "replicate", backups=(f"movies@{backups[0].backup_id}",))  # its sweep leaves it alone
    assert list((world.folders["one"] / "backups" / of.key.folder).glob("*.snapshot"))
    end = do(world, "expire")
    assert end.verdict == "ok", end.reasons
    assert not list((world.folders["one"] / "backups" / of.key.folder).glob("*"))
    assert any("begun before" in o.detail.reason for o in end.outcomes
               if isinstance(o.detail, Deleted))  # fmt: skip


def bury_only(world: World, repository: Repository, of: Manifest) -> None:
    record = Expired(
        backup_id=of.backup_id, cluster="shop", collection="movies", incarnation=of.incarnation,
        run_id="20261122T101530Z-7f3a9c", decided_at=utc_now(), reason="of the test",
        captured_at=of.captured_at, size_bytes=of.size_bytes, points=None,
        manifest_sha256=of.sha256, seal_sha256=None,
    )  # fmt: skip
    path = f"expired/{of.key.folder}/{record.run_id}.json"
    repository.store.create(path, record.to_bytes())


def test_a_hold_made_after_the_plan_still_keeps(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    backups = fill(world, 3)
    config, now = configfile.load(world.reference), utc_now()
    unit = ExpireUnit(
        key=backups[2].key, repository="one", decided_at=now, reason="planned a moment ago"
    )
    place_hold(
        opened(world), backups[2].key, reason="case 4711", until=now + timedelta(days=1),
        by="ada", now=now,
    )  # fmt: skip
    outcome = expire_copy(config, unit, "20261122T101530Z-000000")
    assert outcome.verdict == "skipped"
    assert "case 4711" in outcome.notes[0]
    assert len(left(world)) == 3
    held = holds_of(list(opened(world).values()), "shop")
    release_holds(opened(world), backups[2].key, held, reason="closed", by="ada", now=utc_now())
    assert expire_copy(config, unit, "20261122T101530Z-000001").verdict == "ok"
    held = holds_of(list(opened(world).values()), "shop")
    with pytest.raises(NothingSelected):
        release_holds(opened(world), backups[2].key, held, reason="x", by="ada", now=utc_now())


def test_a_release_in_one_of_two_repositories_ends_no_hold(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    key, places = fill(world, 3)[2].key, opened(world)
    place_hold(places, key, reason="case 4711", until=None, by="ada", now=utc_now())
    held = holds_of(list(places.values()), "shop")
    one = {"one": places["one"]}
    release_holds(one, key, held, reason="closed", by="mallory", now=utc_now())
    assert do(world, "expire").verdict == "ok"
    assert key.backup_id in left(world) & left(world, "two")
    held = holds_of(list(places.values()), "shop")
    release_holds(places, key, held, reason="closed", by="ada", now=utc_now())
    assert do(world, "expire").verdict == "ok"
    assert key.backup_id not in left(world) | left(world, "two")


@pytest.mark.parametrize("what", ["repository away", "manifest damaged", "hold damaged", "empty"])
def test_nothing_is_deleted_while_something_cannot_be_read(tmp_path: Path, what: str) -> None:
    world = world_of(tmp_path)
    if what != "empty":
        fill(world, 4)
    if what == "repository away":
        (world.folders["two"] / "repository.json").unlink()
    elif what == "manifest damaged":
        path = next(iter(world.folders["two"].glob("backups/**/manifest.json")))
        path.write_bytes(path.read_bytes()[:-2])
    elif what == "hold damaged":
        place_hold(
            opened(world), catalog(world).backups[0].key, reason="case", until=None, by="ada",
            now=utc_now(),
        )  # fmt: skip
        path = next(iter(world.folders["two"].glob("holds/**/*.json")))
        path.write_bytes(b"{}")
    end = do(world, "expire")
    assert end.verdict == "failed"
    assert not outcomes(end, "expire")
    if what != "empty":
        assert len(left(world)) == 4


def test_one_repository_may_keep_less_than_another(tmp_path: Path) -> None:
    world = world_of(tmp_path, last=4)
    body = yaml.safe_load(world.file.read_text())
    body["repositories"][1]["retention"] = {"last": 1}
    world.file.write_text(yaml.safe_dump(body))
    fill(world, 4)
    end = do(world, "expire")
    assert end.verdict == "ok", end.reasons
    assert (len(left(world)), len(left(world, "two"))) == (4, 2)


def test_what_could_not_be_deleted_and_stays_now_is_not_explained_away_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of a deletion that never happened must not make a later loss look intended."""
    world = world_of(tmp_path)
    backups = fill(world, 3)
    of = backups[2]

    def denied(store: LocalStore, path: str) -> None:
        raise RepositoryDenied(f"repository {store.name}: {path} may not be deleted")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "delete", denied)
        assert do(world, "expire").verdict == "failed"
    body = yaml.safe_load(world.file.read_text())
    body["retention"]["last"] = 5
    world.file.write_text(yaml.safe_dump(body))
    assert do(world, "expire").verdict == "ok"
    (world.folders["one"] / "backups" / of.key.folder / "manifest.json").unlink()
    states = {c.repository: c.state for b in catalog(world).backups for c in b.copies
              if b.key == of.key}  # fmt: skip
    assert states["one"] != "expired"
    assert do(world, "expire").verdict == "ok"
    assert list((world.folders["one"] / "backups" / of.key.folder).glob("*.snapshot"))


def test_a_retry_of_one_run_finds_what_it_wrote_down(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    of = fill(world, 3)[2]
    repository = opened(world)["one"]
    bury_only(world, repository, of)
    unit = ExpireUnit(key=of.key, repository="one", decided_at=utc_now(), reason="again")
    outcome = expire_copy(configfile.load(world.reference), unit, "20261122T101530Z-7f3a9c")
    assert outcome.verdict == "ok"
    assert of.backup_id not in left(world)
