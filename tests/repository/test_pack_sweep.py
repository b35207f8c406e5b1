"""Packs go when nothing has needed them for the grace, and never sooner or on a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.errors import RepositoryDenied, RepositoryUnreachable
from qdrant_dr.records import Manifest
from qdrant_dr.repository import (
    ORPHAN_GRACE,
    PackPlan,
    Repository,
    RepositoryState,
    adopt_repository,
    plan_packs,
    plan_sweep,
    read_catalog,
    record_expiry,
    sweep,
    sweep_packs,
    withdraw,
)
from qdrant_dr.repository.chunked import ChunkedRepository
from tests.support import records as made
from tests.support.intents import intent_of
from tests.support.stores import repository_on_disk
from tests.support.vaults import (
    age,
    backed_up,
    content,
    let_go,
    names,
    now,
    vault_on_disk,
    written,
)

HOUR = timedelta(hours=1)
OLD = ORPHAN_GRACE + HOUR
FIRST, SECOND = made.NOW - 30 * HOUR, made.NOW - 6 * HOUR


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(root: Path) -> ChunkedRepository:
    return vault_on_disk(root)


def planned(vault: Repository, *others: Repository, **fields: object) -> PackPlan:
    began = now()
    catalog = read_catalog([vault, *others], cluster="prod")
    return plan_packs(vault, catalog, store_now=began, **fields)


def swept(vault: Repository) -> set[str]:
    """The names of the packs that a sweep takes."""
    plan = planned(vault)
    assert sweep_packs(vault, plan).hidden_bytes == 0
    return {p.path.rpartition("/")[2] for p in plan.packs}


def readable(vault: Repository, of: Manifest, numbers: range) -> bool:
    return b"".join(vault.read_verified(of.key, of.parts[0])) == content(numbers)


def two(vault: Repository) -> tuple[Manifest, Manifest]:
    """A backup of 1-9, then one of 5-13: blocks 5-9 are shared, and lie in a pack of the first."""
    first = backed_up(vault, numbers=range(1, 10), at=FIRST)
    return first, backed_up(vault, numbers=range(5, 14), at=SECOND)


def test_an_expired_copy_protects_its_packs_for_the_grace(
    vault: ChunkedRepository, root: Path
) -> None:
    first, second = two(vault)
    age(root, OLD)
    let_go(vault, second)
    assert names(root, f"backups/{second.key.folder}") == {"collection.recipe"}
    assert swept(vault) == set()
    age(root, ORPHAN_GRACE - HOUR, "expired")
    assert swept(vault) == set()
    age(root, 2 * HOUR, "expired")
    assert swept(vault) == {f"{second.backup_id}-1.pack"}
    assert names(root, f"backups/{second.key.folder}") == set()
    assert readable(vault, first, range(1, 10))
    assert planned(vault) == PackPlan()


def test_what_another_backup_shares_stays(vault: ChunkedRepository, root: Path) -> None:
    first, second = two(vault)
    let_go(vault, first)
    age(root, OLD)
    assert swept(vault) == set()
    assert names(root, f"backups/{first.key.folder}") == set()  # its recipe is over all the same
    assert readable(vault, second, range(5, 14))
    let_go(vault, second)
    age(root, OLD)
    assert len(swept(vault)) == 2
    assert names(root, "packs") == set()


def test_what_a_dead_run_left_goes_when_it_is_old(vault: ChunkedRepository, root: Path) -> None:
    first = backed_up(vault, numbers=range(1, 10), at=FIRST)
    sink = vault.part_sink(made.manifest(at=SECOND).key, "collection.snapshot")
    sink.write(content(range(20, 29)))
    sink.commit()
    (root / "backups" / made.manifest(at=SECOND).key.folder / "collection.recipe").unlink()
    age(root, ORPHAN_GRACE - HOUR)
    assert swept(vault) == set()
    age(root, 2 * HOUR)
    assert len(swept(vault)) == 1
    assert readable(vault, first, range(1, 10))


def test_a_recipe_of_an_unfinished_run_protects_until_it_is_swept(
    vault: ChunkedRepository, root: Path
) -> None:
    of = made.manifest(at=SECOND)
    vault.write_intent(of.key, intent_of(of))
    written(vault, numbers=range(20, 29), at=SECOND)
    age(root, OLD, "packs")
    assert swept(vault) == set()
    age(root, OLD, "backups")
    assert len(swept(vault)) == 1
    sweep(vault, plan_sweep(read_catalog([vault], cluster="prod"), "vault", store_now=now()))
    assert names(root, f"backups/{of.key.folder}") == {"intent.json"}


def test_what_is_committed_elsewhere_protects(
    vault: ChunkedRepository, root: Path, tmp_path: Path
) -> None:
    other = vault_on_disk(tmp_path / "other", "other")
    of = written(vault, other, numbers=range(1, 10), at=FIRST)
    other.commit(of)
    age(root, OLD)
    assert planned(vault, other).packs == ()
    assert len(planned(vault).packs) == 1  # nobody knows of it any more


def test_a_record_that_it_goes_takes_nothing_from_a_copy_that_is_there(
    vault: ChunkedRepository, root: Path
) -> None:
    """The run died between the record and the manifest; and it may be withdrawn."""
    first = backed_up(vault, numbers=range(1, 10), at=FIRST)
    record_expiry(vault, made.expired(first))
    age(root, 9 * OLD)
    assert swept(vault) == set()
    second = backed_up(vault, numbers=range(1, 12), at=SECOND)
    recipe = vault.read_recipe(second.key, second.parts[0].file)
    assert not any(name.startswith(first.backup_id) for name in recipe.packs)  # no base any more
    withdraw(vault, first.key.folder)
    third = backed_up(vault, numbers=range(1, 13), at=SECOND + HOUR)
    assert readable(vault, third, range(1, 13))
    assert swept(vault) == set()


@pytest.mark.parametrize("then", ["it stays", "it is let go"])
def test_what_a_recipe_named_before_a_repair_stays_for_the_grace(
    vault: ChunkedRepository, root: Path, then: str
) -> None:
    """Runs may have seen the recipe that was replaced, and rely on its packs still."""
    first = backed_up(vault, numbers=range(1, 10), at=FIRST)
    dead = written(vault, numbers=range(20, 23), at=SECOND)
    age(root, OLD)
    before = vault.read_recipe(first.key, first.parts[0].file).packs
    vault.replace_part(first.key, first.parts[0], [content(range(1, 10))])
    assert set(vault.read_recipe(first.key, first.parts[0].file).packs).isdisjoint(before)
    if then == "it is let go":
        let_go(vault, first)
    assert swept(vault) == set()
    age(root, ORPHAN_GRACE - HOUR)
    assert swept(vault) == set()
    age(root, 2 * HOUR)
    gone = {f"{name}.pack" for name in before} | {f"{dead.backup_id}-1.pack"}
    assert gone <= swept(vault)
    assert then == "it is let go" or readable(vault, first, range(1, 10))


@pytest.mark.parametrize("manifest", ["rewritten", "gone"])
def test_a_recipe_that_was_replaced_beside_its_manifest_is_seen(
    vault: ChunkedRepository, root: Path, manifest: str
) -> None:
    """A repair within a day of the backup that had to write the manifest, too: no time tells of
    it."""
    dead = written(vault, numbers=range(20, 23), at=SECOND)
    age(root, OLD)
    first = backed_up(vault, numbers=range(1, 10), at=now() - HOUR)
    vault.replace_part(first.key, first.parts[0], [content(range(1, 10))])
    (file,) = (root / "backups").rglob(f"{first.backup_id}/manifest.json")
    file.chmod(0o600)
    data = file.read_bytes()
    file.unlink()
    if manifest == "rewritten":
        vault.repair_manifest(first.key, data)
    assert swept(vault) == set()
    age(root, ORPHAN_GRACE + HOUR)
    if manifest == "rewritten":
        assert f"{dead.backup_id}-1.pack" in swept(vault)
        assert readable(vault, first, range(1, 10))


def test_an_adopted_copy_protects_again_what_the_original_let_go(
    vault: ChunkedRepository, root: Path
) -> None:
    """It was copied after the record, and before the manifest was gone."""
    first, second = two(vault)
    record_expiry(vault, made.expired(first))
    age(root, OLD)
    adopt_repository(vault, now())
    assert names(root, "expired") == set()
    assert swept(vault) == set()
    third = backed_up(vault, numbers=range(1, 4), at=FIRST + HOUR)
    assert vault.read_recipe(third.key, third.parts[0].file).packs == (f"{first.backup_id}-1",)
    assert vault.record.layout == "chunked"
    assert readable(vault, second, range(5, 14))


def test_what_is_held_stays(vault: ChunkedRepository, root: Path) -> None:
    first, _ = two(vault)
    let_go(vault, first)
    age(root, OLD)
    assert planned(vault, held={first.backup_id}) == PackPlan()
    assert planned(vault).recipes[0].folder == first.key.folder


@pytest.mark.parametrize("damage", ["rotten", "gone", "of another"])
def test_a_recipe_that_cannot_be_read_lets_nothing_of_its_collection_go(
    vault: ChunkedRepository, root: Path, damage: str
) -> None:
    first, second = two(vault)
    users = backed_up(vault, numbers=range(40, 44), at=FIRST, collection="users")
    let_go(vault, first)
    let_go(vault, users)
    age(root, OLD)
    recipe = root / "backups" / second.key.folder / "collection.recipe"
    data = recipe.read_bytes()
    if damage == "gone":
        recipe.unlink()
    elif damage == "rotten":
        recipe.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    else:
        recipe.write_bytes((root / "backups" / first.key.folder / "collection.recipe").read_bytes())
    age(root, OLD)
    plan = planned(vault)
    assert {p.path.split("/")[2].split("-")[0] for p in plan.packs} == {"users"}
    assert [r.folder for r in plan.recipes] == [users.key.folder]
    (why,) = plan.unjudged
    assert "collection.recipe cannot be read" in why
    recipe.write_bytes(data)
    age(root, OLD)
    assert {r.folder for r in planned(vault).recipes} == {first.key.folder, users.key.folder}


def test_a_copy_that_is_missed_lets_nothing_go(vault: ChunkedRepository, root: Path) -> None:
    """A list may leave a folder out: a proof tells that there was a copy here."""
    first, second = two(vault)
    vault.add_proof(
        made.proof(second, "vault", repository_id=vault.id, location=vault.location, depth="bytes")
    )
    let_go(vault, first)
    age(root, OLD)
    folder = root / "backups" / second.key.folder
    away = folder.rename(root.parent / "away")
    plan = planned(vault)
    assert (plan.packs, plan.recipes) == ((), ())
    assert "should be there and cannot be found" in plan.unjudged[0]
    away.rename(folder)
    assert [r.folder for r in planned(vault).recipes] == [first.key.folder]


def test_a_partly_readable_catalog_lets_nothing_go(vault: ChunkedRepository, root: Path) -> None:
    first, _ = two(vault)
    let_go(vault, first)
    age(root, OLD)
    lost = RepositoryState("two", None, "d", None, RepositoryUnreachable("no answer"))
    catalog = read_catalog([vault], cluster="prod", unreachable=[lost])
    assert plan_packs(vault, catalog, store_now=now()) == PackPlan()


def test_beside_what_is_not_ours_nothing_goes(vault: ChunkedRepository, root: Path) -> None:
    first, _ = two(vault)
    let_go(vault, first)
    age(root, OLD)
    (root / "packs" / first.key.folder).with_name("notes.txt").write_text("mine")
    plan = planned(vault)
    assert (plan.packs, plan.recipes, plan.unjudged) == ((), (), ())
    assert "notes.txt" in plan.remarks[0]


def test_what_the_store_refuses_stays_for_a_later_sweep(
    vault: ChunkedRepository, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two(vault)
    let_go(vault, first)
    let_go(vault, second)
    age(root, OLD)
    plan = planned(vault)
    locked = plan.packs[0].path
    delete = type(vault.store).delete

    def refuse(store: object, path: str) -> None:
        if path == locked:
            raise RepositoryDenied(f"{path} is locked")
        delete(store, path)

    with monkeypatch.context() as patch:
        patch.setattr(type(vault.store), "delete", refuse)
        done = sweep_packs(vault, plan)
    assert (done.freed_bytes, done.hidden_bytes) == tuple(p.size_bytes for p in plan.packs[::-1])
    assert "is locked" in done.remarks[0]
    assert len(planned(vault).recipes) == 2
    assert swept(vault) == {locked.rpartition("/")[2]}
    assert names(root, "backups") | names(root, "packs") == set()


def test_where_nothing_may_be_deleted_nothing_is_tried(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path / "a", "a", append_only=True)
    of = written(vault, numbers=range(1, 4), at=FIRST)
    age(tmp_path / "a", OLD)
    plan = planned(vault)
    assert len(plan.packs) == 1
    done = sweep_packs(vault, plan)
    assert (done.removed, done.freed_bytes) == ((), 0)
    assert done.hidden_bytes == plan.packs[0].size_bytes
    assert vault.part_size(of.key, of.parts[0]) == of.parts[0].size_bytes


def test_a_pack_that_took_the_name_of_a_swept_one_stays(
    vault: ChunkedRepository, root: Path, tmp_path: Path
) -> None:
    """Two hosts swept by the same plan, and a repair came between."""
    plain = repository_on_disk(tmp_path / "plain", "plain")
    of = written(vault, plain, numbers=range(1, 6), at=FIRST)
    plain.commit(of)
    vault.drop_part(of.key, of.parts[0].file)
    age(root, OLD)
    plan = planned(vault, plain)
    assert len(plan.packs) == 1
    assert sweep_packs(vault, plan).freed_bytes == plan.packs[0].size_bytes
    healer = replace(vault)
    healer.replace_part(of.key, of.parts[0], plain.read_part(of.key, of.parts[0]))
    healer.repair_manifest(of.key, of.to_bytes())
    # a heal takes names of its own; whoever else writes under that one is not to lose it either
    (new,) = healer.list_packs(of.key).values()
    assert new.path != plan.packs[0].path
    (root / plan.packs[0].path).write_bytes((root / new.path).read_bytes())
    done = sweep_packs(vault, plan)
    assert (done.removed, done.freed_bytes) == ((), 0)
    assert "was written anew meanwhile" in done.remarks[0]
    assert readable(healer, of, range(1, 6))
