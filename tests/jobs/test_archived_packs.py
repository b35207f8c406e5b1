"""Packs that a rule moved to an archive: no backup relies on them, nothing reads them or calls them
bad, and whoever needs them is told which to bring back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.cli.byhand import bring_back
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.jobs.check.archive import check_archive
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.repository import (
    Backup,
    Copy,
    Repository,
    create_repository,
    plan_packs,
    read_catalog,
)
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.servers import sandbox_server
from tests.support.stores import PLACES, Place, freeze, thaw
from tests.support.thorough import few
from tests.support.world import World, make_world


@pytest.fixture(scope="module", params=few(["s3", "azure"], "s3"))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with PLACES[request.param]() as found:
        yield found


@pytest.fixture(scope="module")
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as found:
        yield found


def proven(place: Place, source: ReplaySource, folder: Path) -> World:
    """Two proven backups of equal bytes, on a disk and in a vault in a bucket."""
    made = make_world(folder / "world", source.url, repositories=("disk",))
    options = dict(place.options)
    for name in ("key", "secret", "connection_string"):  # plain text is refused
        if name in options:
            (folder / name).write_text(options[name])
            options[name] = f"file:{folder / name}"
    vault = {"name": "vault", "url": place.config().url, "domain": "cloud", "options": options}
    change(made, lambda body: body["repositories"].append(vault))
    made_id = create_repository(configured(made), utc_now(), kind="chunked")
    change(made, lambda body: body["repositories"][1].update(id=made_id))
    change(made, lambda body: body["copies"].update(quorum=2, domains=2))
    for _ in range(2):
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    assert do(made, "verify", which="all").verdict == "ok"
    assert len(packs(made)) == 1, "both are made of the same blocks"
    return made


@pytest.fixture(scope="module")
def lent(place: Place, source: ReplaySource, tmp_path_factory: pytest.TempPathFactory) -> World:
    return proven(place, source, tmp_path_factory.mktemp("lent"))


@pytest.fixture
def world(lent: World) -> Iterator[World]:
    """With all packs moved to an archive by a rule; as it was for the next test."""
    text = lent.file.read_text()
    freeze_all(lent)
    yield lent
    lent.file.write_text(text)
    thaw_all(lent)


@pytest.fixture
def own(place: Place, source: ReplaySource, tmp_path: Path) -> World:
    """The same for a test that adds and removes backups."""
    made = proven(place, source, tmp_path)
    freeze_all(made)
    return made


def change(world: World, how: object) -> None:
    body = yaml.safe_load(world.file.read_text())
    how(body)  # type: ignore[operator]
    world.file.write_text(yaml.safe_dump(body))


def agree(world: World) -> None:
    """Say how long the bucket takes to bring a copy back."""
    change(world, lambda body: body["repositories"][1].update(archive_restore_time="12h"))


def configured(world: World) -> RepositoryConfig:
    found = configfile.load(world.file).repository("vault")
    assert found is not None
    return found


def opened(world: World) -> dict[str, Repository]:
    found, failed = open_all(configfile.load(world.file))
    assert "vault" in found, failed
    return found


def packs(world: World) -> list[str]:
    return [s.path for s in opened(world)["vault"].store.find("packs")]


def freeze_all(world: World) -> None:
    for there in list(opened(world)["vault"].store.find("packs")):
        if not there.storage.archived:
            freeze(configured(world), there.path)


def thaw_all(world: World) -> None:
    store = opened(world)["vault"].store
    for there in [*store.find("packs"), *store.find("backups")]:
        if there.storage.archived:
            thaw(configured(world), there.path)


def backups(world: World) -> tuple[Backup, ...]:
    return read_catalog(list(opened(world).values()), cluster="shop").backups


def copies(world: World) -> list[Copy]:
    return [b.copy("vault") for b in backups(world)]


def test_every_backup_that_needs_the_pack_is_archived(world: World) -> None:
    known = read_catalog(list(opened(world).values()), cluster="shop")
    assert known.complete, "a pack is no record"
    assert [(c.state, c.lacks) for c in copies(world)] == [("archived", ())] * 2
    assert [[a.path for a in c.archived] for c in copies(world)] == [packs(world)] * 2
    assert all("one of its packs" in c.archive for c in copies(world))
    lines = bring_back(configfile.load(world.file), backups(world)[0])
    assert lines[0].startswith("# vault: archived")
    assert packs(world)[0] in lines[1]
    thaw_all(world)
    assert [c.state for c in copies(world)] == ["present"] * 2


def test_the_next_backup_relies_on_no_block_of_it(
    own: World, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    old = set(packs(own))
    with caplog.at_level(logging.WARNING):
        end = do(own, "backup")
    assert end.verdict == "ok", end.reasons
    assert "blocks of 1 packs in an archive are stored anew" in caplog.text
    assert len(set(packs(own)) - old) == 1
    assert [c.state for c in copies(own)] == ["archived", "archived", "present"]
    assert do(own, "backup").verdict == "ok"
    assert len(set(packs(own)) - old) == 1, "its own blocks are reused"
    if place.kind == "s3":  # where what was brought back is in the archive again some days later
        freeze_all(own)
        thaw_all(own)
        assert [c.state for c in copies(own)] == ["present"] * 4
        assert do(own, "backup").verdict == "ok"
        assert len(set(packs(own)) - old) == 2


def test_what_is_lost_is_made_anew_of_none_of_its_blocks(own: World) -> None:
    vault, old = opened(own)["vault"], set(packs(own))
    lost, _ = backups(own)
    for there in list(vault.store.find(f"backups/{lost.key.folder}")):
        vault.store.delete(there.path)
    known = read_catalog([vault], cluster="shop")
    assert plan_packs(vault, known, store_now=utc_now() + timedelta(days=9)).packs == ()
    end = do(own, "replicate")
    assert end.verdict == "ok", end.reasons
    assert set(packs(own)) > old
    assert sorted(c.state for c in copies(own)) == ["archived", "present"]


@pytest.mark.parametrize("depth", ["presence", "bytes", "content"])
def test_verify_skips_it_with_the_reason_and_blames_nobody(world: World, depth: str) -> None:
    end = do(world, "verify", which="all", depth=depth)
    assert end.verdict == "degraded", end.reasons
    by = {(o.repository, o.verdict) for o in outcomes(end, "verify")}
    assert by == {("disk", "ok"), ("vault", "skipped")}
    assert do(world, "verify", depth=depth, repositories=["vault"]).verdict == "failed"
    assert [c.state for c in copies(world)] == ["archived"] * 2, "no failed proof was written"


def test_replicate_neither_heals_it_nor_heals_from_it(world: World) -> None:
    whole = do(world, "replicate")
    assert whole.verdict == "ok", whole.reasons
    assert outcomes(whole, "heal") == []
    for part in world.parts("disk"):
        part.unlink()
    end = do(world, "replicate")
    assert end.verdict == "failed"
    assert any("vault holds one in an archive" in r for r in end.reasons), end.reasons
    thaw_all(world)
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons


def test_a_restore_takes_the_other_copy_and_alone_it_asks_for_a_thaw(
    world: World, tmp_path: Path
) -> None:
    with sandbox_server(tmp_path / "target") as target:
        wanted = {"backups": ["movies@latest"], "to": target.url, "dry_run": False}
        alone = do(world, "restore", repository="vault", **wanted)
        assert alone.verdict == "failed"
        assert alone.error is not None
        assert alone.error.code == "plan-refused"
        tool = {"s3": "restore-object", "az": "set-tier"}[configured(world).url.partition(":")[0]]
        assert tool in alone.error.message
        end = do(world, "restore", **wanted)
        assert end.verdict == "ok", end.reasons
        (outcome,) = outcomes(end, "restore")
        assert outcome.repository == "disk"


def test_a_recipe_in_an_archive_lets_nothing_go_and_is_no_damage(world: World) -> None:
    thaw_all(world)
    vault = opened(world)["vault"]
    recipes = [s.path for s in vault.store.find("backups") if s.path.endswith(".recipe")]
    freeze(configured(world), recipes[0])
    known = read_catalog([vault], cluster="shop")
    assert not known.complete
    assert {u.error.code for u in known.unreadable} == {"object-archived"}
    assert sorted(c.state for c in copies(world)) == ["archived", "present"]
    later = utc_now() + timedelta(days=9)
    assert plan_packs(vault, known, store_now=later).packs == ()


def test_check_tells_of_packs_and_never_accepts_a_recipe_there(world: World) -> None:
    def states() -> list[str]:
        rows = check_archive(configured(world), opened(world)["vault"])
        return [row.state for row in rows if row.what == "archive"]

    assert states() == ["degraded"]
    agree(world)
    assert states() == ["ok"]
    vault = opened(world)["vault"]
    recipe = next(s.path for s in vault.store.find("backups") if s.path.endswith(".recipe"))
    freeze(configured(world), recipe)
    assert states() == ["degraded"]
