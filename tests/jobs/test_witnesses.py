"""Losses and plants on real repositories, job by job: nothing that a record names is forgotten, and
no good copy goes because of it. Seeded; QDR_THOROUGH=1 tries every object and every folder."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.run.run import begin, utc_now
from qdrant_dr.jobs.run.units import SweepUnit
from qdrant_dr.layout import run_end
from qdrant_dr.records import Manifest
from qdrant_dr.report import Assessment, gather
from qdrant_dr.repository import read_catalog
from qdrant_dr.stores.base import Stat
from qdrant_dr.stores.local import LocalStore
from tests.support import records as made
from tests.support.driving import do, outcomes
from tests.support.expiring import LITTLE, fill, opened, store_backup
from tests.support.thorough import thorough
from tests.support.world import World, make_world

THREE = ("one", "two", "three")
AN_HOUR = timedelta(hours=1)


def make_healthy(folder: Path, names: tuple[str, ...] = THREE) -> tuple[World, list[Manifest]]:
    """A week of proven backups in every repository, each with its run; the oldest were let go."""
    world = make_world(folder, "http://127.0.0.1:9", repositories=names, retention=LITTLE)
    backups = fill(world, 5)
    for of in backups:
        record(world, of)
    assert do(world, "expire").verdict == "ok"
    return world, backups


def record(world: World, of: Manifest, *, only: str | None = None) -> None:
    """The run that made a backup, in every repository or in one."""
    places = opened(world)
    outcome = made.captured(of, *places)
    assert outcome.detail is not None
    digest = {"manifest_sha256": of.sha256}
    outcome = outcome.model_copy(update={"detail": outcome.detail.model_copy(update=digest)})
    start = made.run_start(
        at=of.captured_at - timedelta(minutes=1), run_id=of.run_id, cluster="shop"
    )
    seen = tuple(
        made.repository(n, repository_id=r.id, location=r.location) for n, r in places.items()
    )
    end = made.run_end(start, outcomes=(outcome,), repositories=seen, seen=(made.seen("movies"),))
    for name, repository in places.items():
        if only in (None, name):
            repository.write_run_start(start)
            repository.write_run_end(end)


def assess(world: World) -> Assessment:
    config = configfile.load(world.reference)
    return Assessment.of(gather(config, datetime.now(UTC), timedelta(days=30)))


def codes(world: World) -> set[tuple[str, str]]:
    return {(p.code, p.scope) for p in assess(world).problems if p.severity != "notice"}


def sweep_all(world: World) -> None:
    """What the next `backup` does to repositories, three days later."""
    old = time.time() - 3 * 86400
    for folder in world.folders.values():
        for path in folder.glob("backups/**/*"):
            os.utime(path, (old, old))
    config = configfile.load(world.reference)
    run = begin(config, "replicate")
    in_threads(config, run.run_id)(
        [SweepUnit(repository=name, now=utc_now()) for name in world.folders]
    )


def files(world: World, below: str = "backups") -> dict[str, set[str]]:
    return {
        name: {str(p.relative_to(folder)) for p in folder.glob(f"{below}/**/*") if p.is_file()}
        for name, folder in world.folders.items()
    }


@dataclass(frozen=True)
class Loss:
    """Some objects of one repository, or of all of them, that are gone."""

    name: str
    where: str | None
    pattern: str

    def __str__(self) -> str:
        return f"{self.name} of {self.where or 'all'}"

    def happen(self, world: World) -> list[str]:
        gone = []
        for name, folder in world.folders.items():
            for path in sorted(folder.glob(self.pattern)) if self.where in (None, name) else ():
                if path.is_file():
                    gone.append(f"{name}/{path.relative_to(folder)}")
                    path.unlink()
        return gone


def every_loss(world: World, newest: Manifest) -> list[Loss]:
    """Each object of the first repository, and whole folders of one and of all."""
    first = next(iter(world.folders))
    single = [Loss(path, first, path) for path in sorted(files(world, "**")[first])
              if path != "repository.json"]  # fmt: skip
    classes = {
        "the newest backup": f"backups/{newest.key.folder}/*",
        "the newest manifest": f"backups/{newest.key.folder}/manifest.json",
        "all backups": "backups/**/*",
        "all manifests": "backups/**/manifest.json",
        "all seals": "backups/**/seal.json",
        "all manifests and seals": "backups/**/[ms]*.json",
        "all parts": "backups/**/*.snapshot",
        "all proofs": "proofs/**/*",
        "all runs": "runs/**/*",
        "all deletions": "expired/**/*",
        "newest backup and its proofs": f"*/{newest.key.folder}/*",
    }
    return single + [
        Loss(name, where, pattern) for name, pattern in classes.items() for where in (first, None)
    ]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[Manifest], Path]:
    """A world, its backups, and a copy of its repositories to go back to."""
    world, backups = make_healthy(tmp_path_factory.mktemp("healthy"))
    assert not {c for c in codes(world) if c[0] in LOUD}
    kept = tmp_path_factory.mktemp("kept")
    for name, folder in world.folders.items():
        shutil.copytree(folder, kept / name)
    return world, backups, kept


@pytest.fixture
def again(healthy: tuple[World, list[Manifest], Path]) -> Iterator[tuple[World, list[Manifest]]]:
    """The same world, as it was at first."""
    world, backups, kept = healthy
    yield world, backups
    go_back(world, kept)


def go_back(world: World, kept: Path) -> None:
    for name, folder in world.folders.items():
        shutil.rmtree(folder)
        shutil.copytree(kept / name, folder)
    shutil.rmtree(world.file.parent / "spool", ignore_errors=True)


LOUD = {
    "backup-lost", "unwitnessed", "runs-missing", "copies-absent", "copy-damaged",
    "records-unreadable", "none-proven",
}  # fmt: skip


def missed(gone: list[str]) -> bool:
    """Whether something else names what is gone: all that a backup is made of, and all its runs."""
    named = [g for g in gone if g.endswith((".snapshot", "/manifest.json", "/seal.json"))]
    return bool(named) or sum("/runs/" in g for g in gone) > 2


def kept_files(world: World) -> dict[str, set[str]]:
    """What a heal brings back: all but the notes of a capture."""
    return {
        name: {f for f in of if not f.endswith("intent.json")} for name, of in files(world).items()
    }


def campaign(
    healthy: tuple[World, list[Manifest], Path], chosen: list[Loss]
) -> Iterator[tuple[Loss, str]]:
    """Every loss, one by one, and what went wrong after it."""
    world, _, kept = healthy
    before = kept_files(world)
    for loss in chosen:
        gone = loss.happen(world)
        if missed(gone) and assess(world).verdict == "ok":
            yield loss, f"status is green without {len(gone)} objects"
        looked = do(world, "verify", depth="bytes", which="all")
        if any("manifest" in g for g in gone) and looked.verdict == "ok":
            yield loss, "verify is green"
        left = files(world)
        sweep_all(world)
        if files(world) != left:
            yield loss, "a sweep took something away"
        do(world, "expire")
        if files(world) != left:
            yield loss, "expire let something go that it had let live before"
        end = do(world, "replicate")
        if loss.where is not None and kept_files(world) != before:
            yield loss, f"replicate did not bring everything back: {end.reasons}"
        go_back(world, kept)


def test_no_loss_is_silent_and_none_spreads(healthy: tuple[World, list[Manifest], Path]) -> None:
    world, backups, _ = healthy
    losses = every_loss(world, backups[0])
    chance = random.Random(10)
    singles = [loss for loss in losses if loss.name == loss.pattern]
    classes = [loss for loss in losses if loss.name != loss.pattern]
    bare = [loss for loss in classes if loss.name == "all manifests and seals"]
    chosen = [*bare, *chance.sample(singles, 2), *chance.sample(classes, 4)]
    found = list(campaign(healthy, chosen))
    assert found == [], [f"{loss}: {what}" for loss, what in found]


@thorough
def test_no_loss_of_any_object_is_silent(healthy: tuple[World, list[Manifest], Path]) -> None:
    world, backups, _ = healthy
    found = list(campaign(healthy, every_loss(world, backups[0])))
    assert found == [], [f"{loss}: {what}" for loss, what in found]


def test_a_lost_manifest_is_put_back_by_replicate(again: tuple[World, list[Manifest]]) -> None:
    world, backups = again
    path = world.folders["one"] / "backups" / backups[0].key.folder / "manifest.json"
    said = path.read_bytes()
    path.unlink()
    assert ("copies-absent", "movies in one") in codes(world)
    end = do(world, "replicate")
    assert [o.repository for o in outcomes(end, "heal")] == ["one"]
    assert path.read_bytes() == said


def test_a_lost_backup_is_told_and_given_up_by_name_only(
    again: tuple[World, list[Manifest]],
) -> None:
    world, backups = again
    key = backups[0].key
    for folder in world.folders.values():
        (folder / "backups" / key.folder / "manifest.json").unlink()
    assert ("backup-lost", str(key)) in codes(world)
    assert assess(world).verdict == "failed"
    sweep_all(world)
    assert do(world, "expire").verdict == "degraded"
    for folder in world.folders.values():
        assert list((folder / "backups" / key.folder).glob("*.snapshot"))
    end = do(world, "expire", backups=(str(key),))
    assert {o.repository for o in outcomes(end, "expire")} == set(THREE)
    assert all(o.verdict == "ok" for o in end.outcomes), end.reasons
    for folder in world.folders.values():
        assert not list((folder / "backups" / key.folder).glob("*"))
    assert not {c for c in codes(world) if c[0] in LOUD}


@pytest.mark.parametrize("data", [b"", b"{}", b"a note"])
@pytest.mark.parametrize("file", ["20261122T101530Z-7f3a9c.json", "readme/and/more.txt"])
def test_a_file_below_expired_that_is_no_record_explains_nothing(
    again: tuple[World, list[Manifest]], data: bytes, file: str
) -> None:
    world, backups = again
    key = backups[0].key
    for folder in world.folders.values():
        shutil.rmtree(folder / "backups" / key.folder)
        stranger = folder / "expired" / key.folder / file
        stranger.parent.mkdir(parents=True)
        stranger.write_bytes(data)
    found = codes(world)
    assert ("backup-lost", str(key)) in found
    as_what = "foreign-objects" if "/" in file else "records-unreadable"
    told = {(p.code, p.scope) for p in assess(world).problems}
    assert {(as_what, name) for name in THREE} <= told
    assert do(world, "verify", depth="bytes").verdict == "failed"


@pytest.mark.parametrize("meanwhile", ["committed", "let go"])
def test_what_changes_while_it_is_read_is_not_lost(
    again: tuple[World, list[Manifest]], monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Listed before its manifest came, or before its deletion was on record; proofs tell of it."""
    world, backups = again
    of = backups[0] if meanwhile == "committed" else backups[4]  # retention let the last ones go
    below = "backups" if meanwhile == "committed" else "expired"
    real, seen = LocalStore.find, set()

    def late(store: LocalStore, folder: str) -> list[Stat]:
        found = real(store, folder)
        if folder != f"{below}/shop" or store.name in seen:
            return found
        seen.add(store.name)
        return [s for s in found if of.backup_id not in s.path]

    monkeypatch.setattr(LocalStore, "find", late)
    assert not {c for c in codes(world) if c[0] == "backup-lost"}
    assert seen == set(THREE)


# what nobody made


def plant(world: World, where: str) -> Manifest:
    """A backup that looks like the newest, with a seal, a proof and a run, in one repository."""
    of = made.manifest("movies", utc_now().replace(microsecond=0) - AN_HOUR, cluster="shop",
                       incarnation="one", note="not ours")  # fmt: skip
    data = b"points" * 1000
    part = of.parts[0].model_copy(
        update={"size_bytes": len(data), "sha256": made.digest(data.decode())}
    )
    of = of.model_copy(update={"parts": (part,)})
    store_backup(opened(world)[where], of)
    record(world, of, only=where)
    return of


def test_a_planted_backup_is_told_copied_nowhere_and_lets_nothing_go(
    again: tuple[World, list[Manifest]],
) -> None:
    world, backups = again
    of = plant(world, "two")
    assert ("unwitnessed", str(of.key)) in codes(world)
    assert do(world, "replicate").verdict == "degraded"
    assert do(world, "verify", depth="bytes").verdict == "failed"  # it is missing elsewhere
    assert do(world, "expire").verdict == "degraded"
    for name in THREE:
        there = {m.backup_id for m in world.manifests(name)}
        assert there - {of.backup_id} == {m.backup_id for m in backups[:2]}
        assert (of.backup_id in there) is (name == "two")
    # somebody who knows better says so, or lets it go
    assert do(world, "replicate", vouch=True).verdict == "ok"
    assert all(len(world.manifests(name)) == 3 for name in THREE)
    assert not {c for c in codes(world) if c[0] in LOUD}


def test_an_unwitnessed_backup_is_deleted_only_when_named(
    again: tuple[World, list[Manifest]],
) -> None:
    world, backups = again
    of = plant(world, "two")
    end = do(world, "expire", backups=(str(of.key),))
    assert [(o.repository, o.verdict) for o in outcomes(end, "expire")] == [("two", "ok")]
    # the run that was planted with it says that it was everywhere: that is given up by name, too
    assert ("backup-lost", str(of.key)) in codes(world)
    do(world, "expire", backups=(str(of.key),))
    assert not {c for c in codes(world) if c[0] in LOUD}
    assert all(len(world.manifests(name)) == 2 for name in THREE)
    assert {m.backup_id for m in world.manifests("one")} == {m.backup_id for m in backups[:2]}


def test_a_repository_that_is_new_or_was_emptied_is_filled(
    again: tuple[World, list[Manifest]],
) -> None:
    world, backups = again
    for name in ("two", "three"):
        for below in ("backups", "proofs", "runs", "expired"):
            shutil.rmtree(world.folders[name] / below)
    assert ("runs-missing", "two") in codes(world)
    assert do(world, "replicate").verdict == "ok"
    for name in THREE:
        assert {m.backup_id for m in backups[:2]} <= {m.backup_id for m in world.manifests(name)}


def test_a_copied_repository_was_told_nothing_before_it_was_one_of_its_own(
    again: tuple[World, list[Manifest]],
) -> None:
    """Its run records are those of the original, up to when it was copied."""
    world, _ = again
    of = plant(world, "one")
    one, two, _ = opened(world).values()
    (backup,) = [b for b in read_catalog([one, two], cluster="shop").backups if b.key == of.key]
    assert backup.witness == "nobody"
    copied = two.record.model_copy(update={"adopted_at": utc_now()})
    two = replace(two, record=copied)
    (backup,) = [b for b in read_catalog([one, two], cluster="shop").backups if b.key == of.key]
    assert backup.witness == "named"


def test_a_run_record_waits_for_a_repository_that_was_away(
    again: tuple[World, list[Manifest]],
) -> None:
    """Two of three were away while a backup was made: then they know of it as soon as they can."""
    world, _ = again
    aside = world.file.parent / "aside"
    aside.mkdir()
    for name in ("two", "three"):
        world.folders[name].rename(aside / name)
    config = configfile.load(world.reference)
    run = begin(config, "backup")
    of = plant(world, "one")
    outcome = made.captured(of, "one")
    assert outcome.detail is not None
    digest = {"manifest_sha256": of.sha256}
    outcome = outcome.model_copy(update={"detail": outcome.detail.model_copy(update=digest)})
    run.finish(config, outcomes=[outcome])
    for name in ("two", "three"):
        (aside / name).rename(world.folders[name])
    assert not (world.folders["two"] / run_end(run.run_id, run.start.started_at)).exists()
    assert ("unwitnessed", str(of.key)) in codes(world)
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons
    for name in ("two", "three"):
        assert (world.folders[name] / run_end(run.run_id, run.start.started_at)).exists()
        assert of.backup_id in {m.backup_id for m in world.manifests(name)}
