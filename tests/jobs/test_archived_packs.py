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
from qdrant_dr.errors import ObjectArchived
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


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as found:
        yield found


@pytest.fixture
def world(place: Place, source: ReplaySource, tmp_path: Path) -> World:
    """Two proven backups of equal bytes, on a disk and in a vault in a bucket, whose packs a rule
    has moved to an archive since."""
    made = make_world(tmp_path / "world", source.url, repositories=("disk",))
    options = dict(place.options)
    for name in ("key", "secret", "connection_string"):  # plain text is refused
        if name in options:
            (tmp_path / name).write_text(options[name])
            options[name] = f"file:{tmp_path / name}"
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
    for path in packs(made):
        freeze(configured(made), path)
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


def thaw_all(world: World) -> None:
    for there in opened(world)["vault"].store.find("packs"):
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
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    old = set(packs(world))
    with caplog.at_level(logging.WARNING):
        end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    assert "blocks of 1 packs in an archive are stored anew" in caplog.text
    assert len(set(packs(world)) - old) == 1
    assert [c.state for c in copies(world)] == ["archived", "archived", "present"]
    assert do(world, "backup").verdict == "ok"
    assert len(set(packs(world)) - old) == 1, "its own blocks are reused"


def test_a_pack_that_was_brought_back_for_days_is_read_and_not_relied_on(
    world: World, place: Place
) -> None:
    if place.kind != "s3":
        pytest.skip("only S3 brings objects back for some days")
    thaw_all(world)
    assert do(world, "verify", which="all").verdict == "ok"
    old = set(packs(world))
    assert do(world, "backup").verdict == "ok"
    assert len(set(packs(world)) - old) == 1


def test_a_backup_finds_no_block_by_a_table_that_this_machine_remembers(world: World) -> None:
    """Tables are kept beside the other memories, so no read of the store would be refused."""
    vault = opened(world)["vault"]
    (listed,) = vault.store.find("packs")
    with pytest.raises(ObjectArchived):
        vault.table_of(listed)  # type: ignore[attr-defined]
    assert vault.known_table_of(listed) is not None  # type: ignore[attr-defined]


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


def test_a_copy_that_is_lost_is_made_anew_of_none_of_its_blocks(world: World) -> None:
    """Healing a vault finds nothing that it can lean on among archived packs, either."""
    lost, _ = backups(world)
    vault, old = opened(world)["vault"], set(packs(world))
    for there in list(vault.store.find(f"backups/{lost.key.folder}")):
        vault.store.delete(there.path)
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons
    assert set(packs(world)) - old
    assert sorted(c.state for c in copies(world)) == ["archived", "present"]


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


def test_a_sweep_reads_no_pack_and_keeps_those_that_are_needed(world: World) -> None:
    vault = opened(world)["vault"]
    later = utc_now() + timedelta(days=9)
    known = read_catalog([vault], cluster="shop")
    assert plan_packs(vault, known, store_now=later).packs == ()
    for backup in known.backups:
        for there in list(vault.store.find(f"backups/{backup.key.folder}")):
            vault.store.delete(there.path)
    none = read_catalog([vault], cluster="shop")
    assert plan_packs(vault, none, store_now=later).packs == ()  # nobody let them go
    assert packs(world), "nothing was removed"


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
