"""A bad pack is written anew under its name, from whatever other repository has the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.errors import DRError, ObjectMissing, RepositoryDenied
from qdrant_dr.records import Manifest
from qdrant_dr.repository import Repository, read_catalog, record_expiry
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.holds_and_deletions import withdraw
from qdrant_dr.repository.pack_dependents import read_users
from qdrant_dr.repository.pack_repair import (
    Elsewhere,
    PackRepair,
    bad_packs,
    repair_packs,
    unreadable_packs,
)
from qdrant_dr.repository.pack_verdicts import PackVerdicts
from qdrant_dr.vault.box import BLOCK, build_box, make_block
from qdrant_dr.vault.repair import LostRange
from tests.support import records as made
from tests.support.stores import repository_on_disk
from tests.support.vaults import age, backed_up, content, let_go, now, vault_on_disk, written

FIRST, SECOND = made.NOW - timedelta(hours=30), made.NOW - timedelta(hours=6)
ONE, TWO = range(1, 10), range(5, 14)


class Shop:
    """A vault with two backups that share blocks, a pack of each, and the same backups elsewhere:
    in a plain repository and in another vault."""

    def __init__(self, folder: Path, *, encrypted: bool = False) -> None:
        self.root = folder / "vault"
        self.vault = vault_on_disk(self.root, encrypted=encrypted)
        self.plain = repository_on_disk(folder / "plain", "plain")
        self.other = vault_on_disk(folder / "other", "other")
        everywhere = (self.vault, self.plain, self.other)
        self.first = backed_up(*everywhere, numbers=ONE, at=FIRST)
        self.second = backed_up(*everywhere, numbers=TWO, at=SECOND)
        self.name = f"{self.first.backup_id}-1"
        (self.pack,) = self.root.glob(f"packs/**/{self.name}.pack")
        self.refused: set[tuple[str, str]] = set()

    def repair(
        self, *sources: Repository, of: Sequence[Manifest] | None = None
    ) -> tuple[list[str], PackRepair]:
        manifests = (self.first, self.second)
        recipes = [self.vault.read_recipe(m.key, m.parts[0].file) for m in manifests]
        there = {m.key.folder: m for m in (manifests if of is None else of)}

        def find(folder: str, part: str) -> list[Elsewhere]:
            found = there.get(folder)
            assert found is None or part == found.parts[0].file
            return [Elsewhere(s, found.key, found.parts[0]) for s in sources] if found else []

        bad = bad_packs(self.vault, self.first.key, {p for r in recipes for p in r.packs})

        def refused(at: Elsewhere, error: DRError) -> None:
            self.refused.add((at.repository.name, error.code))

        users = read_users(self.vault, self.first.key, now())
        return bad, repair_packs(self.vault, self.first.key, bad, users, find, refused)

    def is_whole(self, of: Manifest, numbers: range) -> bool:
        try:
            read = b"".join(self.vault.read_verified(of.key, of.parts[0]))
        except ObjectMissing:
            return False
        return read == content(numbers)


def rot(file: Path, *at: int) -> None:
    data = bytearray(file.read_bytes())
    for place in at:
        data[place] ^= 1
    file.write_bytes(data)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def damage(shop: Shop, how: str) -> None:
    size = shop.pack.stat().st_size
    if how == "gone":
        shop.pack.unlink()
    elif how == "a block":
        rot(shop.pack, 3 * BLOCK)
    elif how == "every block":
        rot(shop.pack, *range(100, 9 * BLOCK, BLOCK // 2))
    elif how == "cut":
        shop.pack.write_bytes(shop.pack.read_bytes()[: size // 2])
    elif how == "its table":
        rot(shop.pack, size - 200)
    else:
        rot(shop.pack, 3)


@pytest.mark.parametrize("source", ["plain", "other"])
@pytest.mark.parametrize("how", ["gone", "a block", "every block", "cut", "its table", "its begin"])
def test_a_bad_pack_is_mended_and_all_that_use_it_are_whole(
    shop: Shop, how: str, source: str
) -> None:
    damage(shop, how)
    bad, done = shop.repair(getattr(shop, source))
    assert bad == [shop.name]
    assert (done.repaired, done.lost, done.left) == ((shop.name,), (), ())
    assert shop.is_whole(shop.first, ONE)
    assert shop.is_whole(shop.second, TWO)
    assert shop.repair(shop.plain) == ([], PackRepair())


@pytest.mark.parametrize("how", ["gone", "a block", "its table"])
def test_an_encrypted_pack_is_mended_from_clear_bytes(tmp_path: Path, how: str) -> None:
    shop = Shop(tmp_path, encrypted=True)
    before = shop.pack.read_bytes()
    damage(shop, how)
    assert shop.repair(shop.plain)[1].repaired == (shop.name,)
    assert shop.is_whole(shop.first, ONE)
    assert shop.is_whole(shop.second, TWO)
    assert shop.pack.read_bytes()[8:BLOCK] != before[8:BLOCK]  # another salt, other bytes


def test_a_source_that_is_wrong_there_is_passed_over(shop: Shop, tmp_path: Path) -> None:
    for how in ("a block", "gone"):
        damage(shop, how)
        for part in (tmp_path / "plain").rglob("*.snapshot"):
            rot(part, 3 * BLOCK, 6 * BLOCK)
        _, done = shop.repair(shop.plain, shop.other)
        assert done.repaired == (shop.name,)
        assert shop.is_whole(shop.first, ONE)
        assert shop.is_whole(shop.second, TWO)
        for part in (tmp_path / "plain").rglob("*.snapshot"):
            rot(part, 3 * BLOCK, 6 * BLOCK)


def test_what_nobody_has_is_named_by_its_bytes_and_nothing_is_overwritten(shop: Shop) -> None:
    damage(shop, "every block")
    rotten = shop.pack.read_bytes()
    _, done = shop.repair(shop.plain, of=[shop.second])
    lost = LostRange(shop.first.key.folder, "collection.snapshot", 0, 4 * BLOCK)
    assert (done.repaired, done.lost, done.left) == ((), (lost,), (shop.name,))
    assert shop.pack.read_bytes() == rotten
    assert shop.repair()[1].lost == (
        LostRange(shop.first.key.folder, "collection.snapshot", 0, 9 * BLOCK),
        LostRange(shop.second.key.folder, "collection.snapshot", 0, 5 * BLOCK),
    )


def test_a_pack_that_is_gone_does_not_come_back_with_holes(shop: Shop) -> None:
    """Else the backup that needs what is missing would look whole."""
    damage(shop, "gone")
    _, done = shop.repair(shop.plain, of=[shop.second])
    lost = LostRange(shop.first.key.folder, "collection.snapshot", 0, 9 * BLOCK)
    assert (done.repaired, done.lost, done.left) == ((), (lost,), (shop.name,))
    catalog = read_catalog([shop.vault], cluster=made.CLUSTER)
    for of in (shop.first, shop.second):
        backup = catalog.find(of.key)
        assert backup is not None
        assert backup.copy("vault").state != "present"


@pytest.mark.parametrize("how", ["gone", "a block", "its table"])
def test_what_another_host_mends_meanwhile_is_not_written_over(tmp_path: Path, how: str) -> None:
    shop = Shop(tmp_path, encrypted=True)  # no two boxes are equal
    good = shop.pack.read_bytes()
    damage(shop, how)
    users = read_users(shop.vault, shop.first.key, now())

    def find(folder: str, _: str) -> list[Elsewhere]:
        if shop.pack.exists():
            shop.pack.unlink()
        shop.pack.write_bytes(good)
        of = shop.first if folder == shop.first.key.folder else shop.second
        return [Elsewhere(shop.plain, of.key, of.parts[0])]

    done = repair_packs(shop.vault, shop.first.key, [shop.name], users, find)
    assert (done.repaired, done.left) == ((), (shop.name,))
    assert shop.pack.read_bytes() == good


class Running:
    """A pack of a backup that was let go, of which another uses five of nine blocks, and a run that
    used all of them and has not committed yet."""

    def __init__(self, folder: Path) -> None:
        self.vault = vault_on_disk(folder / "vault")
        self.plain = repository_on_disk(folder / "plain", "plain")
        both = (self.vault, self.plain)
        gone = backed_up(*both, numbers=ONE, at=made.NOW - timedelta(hours=60))
        self.base = backed_up(*both, numbers=range(1, 6), at=FIRST)
        for repository in both:
            let_go(repository, gone)
        age(folder / "vault", timedelta(hours=40))
        self.running = written(*both, numbers=ONE, at=SECOND)
        self.name = f"{gone.backup_id}-1"
        (self.pack,) = folder.glob(f"vault/packs/**/{self.name}.pack")

    def repair(self) -> PackRepair:
        """Only committed backups can be asked for."""

        def find(folder: str, _: str) -> list[Elsewhere]:
            of = self.base
            there = [Elsewhere(self.plain, of.key, of.parts[0])]
            return there if folder == of.key.folder else []

        users = read_users(self.vault, self.base.key, now())
        return repair_packs(self.vault, self.base.key, [self.name], users, find)


@pytest.mark.parametrize("how", ["gone", "its table", "a block"])
def test_what_a_run_under_way_uses_is_not_left_out(tmp_path: Path, how: str) -> None:
    world = Running(tmp_path)
    data = world.pack.read_bytes()
    if how == "gone":
        world.pack.unlink()
    else:
        rot(world.pack, len(data) - 200 if how == "its table" else 7 * BLOCK)
    bad = world.pack.read_bytes() if world.pack.exists() else None
    done = world.repair()
    assert {r.folder for r in done.lost} == {world.running.key.folder}
    assert (done.repaired, done.left) == ((), (world.name,))
    assert (world.pack.read_bytes() if world.pack.exists() else None) == bad
    world.pack.write_bytes(data)
    world.vault.commit(world.running)
    read = b"".join(world.vault.read_verified(world.running.key, world.running.parts[0]))
    assert read == content(ONE)


@pytest.mark.parametrize("other", ["a recipe that cannot be read", "a run without a recipe yet"])
@pytest.mark.parametrize("how", ["gone", "its table", "a block"])
def test_while_not_every_user_is_known_no_pack_gets_a_hole(
    tmp_path: Path, how: str, other: str
) -> None:
    world = Running(tmp_path)
    recipe = tmp_path / "vault" / "backups" / world.running.key.folder / "collection.recipe"
    if other.startswith("a recipe"):
        world.vault.commit(world.running)
        rot(recipe, recipe.stat().st_size // 2)
    else:
        recipe.with_name("intent.json").write_bytes(b"{}")
        recipe.unlink()
    if how == "gone":
        world.pack.unlink()
    else:
        rot(world.pack, world.pack.stat().st_size - 200 if how == "its table" else 7 * BLOCK)
    done = world.repair()
    assert (done.repaired, done.lost, done.left) == ((), (), (world.name,))


def test_what_is_whole_is_mended_beside_a_run_too(tmp_path: Path) -> None:
    world = Running(tmp_path)
    rot(world.pack, 3 * BLOCK)
    assert world.repair().repaired == (world.name,)
    world.vault.commit(world.running)
    read = b"".join(world.vault.read_verified(world.running.key, world.running.parts[0]))
    assert read == content(ONE)


def test_a_recipe_that_comes_while_a_pack_is_mended_is_seen(shop: Shop) -> None:
    damage(shop, "gone")
    users = read_users(shop.vault, shop.first.key, now())
    assert users.are_all(shop.vault, shop.first.key, now())
    backed_up(shop.vault, numbers=range(20, 23), at=made.NOW)
    assert not users.are_all(shop.vault, shop.first.key, now())


@pytest.mark.parametrize("source", ["plain", "other"])
@pytest.mark.parametrize("how", ["gone", "a block", "its table"])
def test_a_source_that_is_as_bad_is_told_of(
    shop: Shop, tmp_path: Path, how: str, source: str
) -> None:
    sources = {"plain": shop.plain, "other": shop.other}
    for file in (*(tmp_path / source).rglob("*.snapshot"), *(tmp_path / source).rglob("*.pack")):
        rot(file, 3 * BLOCK - 100)
    damage(shop, how)
    _, done = shop.repair(sources.pop(source), *sources.values())
    assert done.repaired == (shop.name,)
    assert shop.refused == {(source, "bytes-differ")}
    assert shop.is_whole(shop.first, ONE)
    assert shop.is_whole(shop.second, TWO)


@pytest.mark.parametrize("source", ["plain", "other"])
def test_a_good_source_is_not_blamed_for_a_table_that_lies(shop: Shop, source: str) -> None:
    place = str(shop.pack.relative_to(shop.root))
    lies = [make_block(bytes([n]) * BLOCK) for n in ONE]
    shop.pack.write_bytes(build_box(place, lies, None))
    rot(shop.pack, 100)
    bad, _ = shop.repair(getattr(shop, source))
    assert (bad, shop.refused) == ([shop.name], set())


def test_what_nobody_uses_stays_if_it_is_good(shop: Shop) -> None:
    (shop.root / "backups" / shop.first.key.folder / "collection.recipe").unlink()
    damage(shop, "a block")
    users = read_users(shop.vault, shop.first.key, now())
    done = repair_packs(shop.vault, shop.first.key, [shop.name], users, lambda *_: [])
    assert done.repaired == (shop.name,)  # the rotten block was of the first backup alone
    table = shop.vault.table_of(shop.vault.list_packs(shop.first.key)[shop.name])
    assert [entry.size for entry in table.entries] == [BLOCK] * 2 + [0] + [BLOCK] * 6
    assert shop.is_whole(shop.second, TWO)


def test_a_pack_that_was_cut_is_found_by_its_table(shop: Shop) -> None:
    recipe = shop.vault.read_recipe(shop.first.key, shop.first.parts[0].file)
    assert unreadable_packs(shop.vault, shop.first.key, recipe.packs) == []
    size = shop.pack.stat().st_size
    shop.pack.write_bytes(shop.pack.read_bytes()[: size - 1])  # no list tells of it
    assert shop.vault.has_part(shop.first.key, shop.first.parts[0])
    assert unreadable_packs(shop.vault, shop.first.key, recipe.packs) == [shop.name]


def test_a_pack_that_a_repair_rewrote_meanwhile_is_not_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was listed, read half-way, and is another object now, of another size."""
    shop = Shop(tmp_path, encrypted=True)
    part = shop.first.parts[0]
    listed = shop.vault.list_packs(shop.first.key)
    damage(shop, "cut")
    old = shop.vault.list_packs(shop.first.key)
    assert shop.repair(shop.plain)[1].repaired == (shop.name,)
    assert old[shop.name] != shop.vault.list_packs(shop.first.key)[shop.name]
    verdicts = PackVerdicts()
    assert verdicts.of(shop.vault, old[shop.name])[0].error is None
    for stale in (old, listed):
        monkeypatch.setattr(type(shop.vault), "list_packs", lambda *_, there=stale: there)
        assert b"".join(shop.vault.read_part(shop.first.key, part)) == content(ONE)
        assert bad_packs(shop.vault, shop.first.key, [shop.name]) == []


def test_a_recipe_of_other_bytes_is_not_the_part(shop: Shop) -> None:
    part = shop.first.parts[0]
    assert shop.vault.has_part(shop.first.key, part)
    other = part.model_copy(update={"sha256": "0" * 64})
    assert shop.vault.part_size(shop.first.key, other) == part.size_bytes
    assert not shop.vault.has_part(shop.first.key, other)


def test_what_was_taken_back_is_needed_though_its_manifest_is_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no record can be deleted, another one takes it back."""
    record_expiry(shop.vault, made.expired(shop.first))
    with monkeypatch.context() as patch:
        patch.setattr(shop.vault.store, "delete", _denied)
        withdraw(shop.vault, shop.first.key.folder)
    (manifest,) = shop.root.glob(f"backups/**/{shop.first.backup_id}/manifest.json")
    manifest.unlink()
    users = read_users(shop.vault, shop.first.key, now())
    assert shop.first.key.folder in {recipe.folder for recipe in users.recipes}


def _denied(path: str) -> None:
    raise RepositoryDenied(f"{path}: access denied")


def test_packs_that_are_good_are_left_alone(shop: Shop) -> None:
    assert isinstance(shop.vault, ChunkedRepository)
    assert shop.repair(shop.plain) == ([], PackRepair())


def test_a_part_that_is_stored_anew_takes_no_name_that_recipes_have(shop: Shop) -> None:
    """Else the pack that is gone would seem to be there again, for whoever else needs it."""
    damage(shop, "gone")
    part = shop.first.parts[0]
    other = replace(shop.vault)  # another process
    other.replace_part(shop.first.key, part, shop.plain.read_part(shop.first.key, part))
    assert shop.is_whole(shop.first, ONE)
    assert shop.name not in other.read_recipe(shop.first.key, part.file).packs
    assert not shop.pack.exists()
    assert other.part_size(shop.second.key, shop.second.parts[0]) == 4 * BLOCK
