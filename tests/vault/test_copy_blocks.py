"""A part goes from one chunked repository to another: only what the other lacks is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.errors import BytesDiffer, DRError, ObjectMissing
from qdrant_dr.records import Manifest
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.part_blocks import part_blocks
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.vault import copy_blocks, pack_writer
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.composition import composition
from qdrant_dr.vault.copy_blocks import PartBlocks
from tests.support import records as made
from tests.support.vaults import backed_up, content, names, vault_on_disk

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 8 * BLOCK + pack_writer._SPARE)


@pytest.fixture(params=["clear", "encrypted"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ChunkedRepository:
    return vault_on_disk(tmp_path / "source", "source", encrypted=request.param == "encrypted")


@pytest.fixture(params=["clear", "encrypted"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> ChunkedRepository:
    return vault_on_disk(tmp_path / "target", "target", encrypted=request.param == "encrypted")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes of packs that are read, by repository."""
    counts = {"source": 0, "target": 0}
    real = LocalStore.read_range

    def counting(store: LocalStore, path: str, *where: Any) -> Iterator[bytes]:
        for data in real(store, path, *where):
            counts[store.name] += len(data) * path.endswith(".pack")
            yield data

    monkeypatch.setattr(LocalStore, "read_range", counting)
    return counts


def carry(source: ChunkedRepository, target: ChunkedRepository, of: Manifest) -> PartBlocks:
    """Copy the part of a backup, and commit it there."""
    blocks = part_blocks(source, of.key, of.parts[0])
    for _ in target.replace_part_by_blocks(of.key, of.parts[0], blocks):
        pass
    target.repair_manifest(of.key, of.to_bytes())
    return blocks


def made_of(vault: ChunkedRepository, of: Manifest) -> str:
    listed = vault.list_packs(of.key)
    recipe = vault.read_recipe(of.key, of.parts[0].file)
    return composition(recipe, lambda name: vault.table_of(listed[name]))


def is_whole(vault: ChunkedRepository, of: Manifest, numbers: Sequence[int]) -> bool:
    return b"".join(vault.read_verified(of.key, of.parts[0])) == content(numbers)


def test_only_the_blocks_that_the_target_lacks_are_read(
    source: ChunkedRepository, target: ChunkedRepository, read: dict[str, int]
) -> None:
    first, second = list(range(40)), [*range(20), 90, 91, *range(22, 40), 90]
    backed_up(source, target, numbers=first, at=made.NOW - DAY)
    of = backed_up(source, numbers=second, at=made.NOW)
    read.update(source=0, target=0)
    blocks = carry(source, target, of)
    assert blocks.bytes_read == 3 * BLOCK  # two are new, one bears the mark of a repair
    # with the last 64 KiB of those packs, which has their tables
    assert 3 * BLOCK <= read["source"] < 7 * BLOCK
    assert made_of(target, of) == made_of(source, of)
    assert is_whole(target, of, second)


def test_nothing_is_there_and_everything_is_read_once(
    source: ChunkedRepository, target: ChunkedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_blocks, "_AT_ONCE", 7)  # what comes again in a later window is known
    numbers = [*range(20), *range(5, 20), 3, 3, 3]
    of = backed_up(source, numbers=numbers, at=made.NOW)
    blocks = carry(source, target, of)
    assert blocks.bytes_read == 20 * BLOCK
    assert made_of(target, of) == made_of(source, of)
    assert is_whole(target, of, numbers)


def test_a_bad_block_of_the_source_is_the_fault_of_the_source(
    source: ChunkedRepository, target: ChunkedRepository, tmp_path: Path
) -> None:
    of = backed_up(source, numbers=range(6), at=made.NOW)
    (pack,) = (tmp_path / "source").glob("packs/**/*.pack")
    data = bytearray(pack.read_bytes())
    data[3 * BLOCK] ^= 1
    pack.write_bytes(data)
    blocks = part_blocks(source, of.key, of.parts[0])
    with pytest.raises(BytesDiffer, match="in source") as caught:
        list(target.replace_part_by_blocks(of.key, of.parts[0], blocks))
    assert blocks.fault is caught.value
    assert not names(tmp_path / "target", "backups")


def test_rot_in_what_the_target_has_is_not_carried_over(
    source: ChunkedRepository, target: ChunkedRepository, tmp_path: Path
) -> None:
    numbers = list(range(6))
    backed_up(source, target, numbers=numbers, at=made.NOW - DAY)
    of = backed_up(source, numbers=numbers, at=made.NOW)
    (pack,) = (tmp_path / "source").glob("packs/**/*.pack")
    data = bytearray(pack.read_bytes())
    data[3 * BLOCK] ^= 1
    pack.write_bytes(data)
    carry(source, target, of)
    assert is_whole(target, of, numbers)


def test_a_pack_of_the_source_that_goes_meanwhile_is_its_fault(
    source: ChunkedRepository, target: ChunkedRepository, tmp_path: Path
) -> None:
    of = backed_up(source, numbers=range(6), at=made.NOW)
    blocks = part_blocks(source, of.key, of.parts[0])
    for pack in (tmp_path / "source").glob("packs/**/*.pack"):
        pack.unlink()
    with pytest.raises(ObjectMissing) as caught:
        list(target.replace_part_by_blocks(of.key, of.parts[0], blocks))
    assert blocks.fault is caught.value


def test_what_the_target_cannot_store_is_not_the_fault_of_the_source(
    source: ChunkedRepository, target: ChunkedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = backed_up(source, numbers=range(6), at=made.NOW)
    real = LocalStore.create

    def full(store: LocalStore, path: str, data: bytes) -> None:
        if store.name == "target":
            raise DRError("no space left")
        real(store, path, data)

    monkeypatch.setattr(LocalStore, "create", full)
    blocks = part_blocks(source, of.key, of.parts[0])
    with pytest.raises(DRError, match="no space"):
        list(target.replace_part_by_blocks(of.key, of.parts[0], blocks))
    assert blocks.fault is None


def test_a_part_is_cut_no_shorter_than_its_recipe_says(
    source: ChunkedRepository, target: ChunkedRepository
) -> None:
    """The recipe of another part of fewer bytes cannot stand for this one."""
    less = backed_up(source, numbers=range(3), at=made.NOW - DAY)
    of = backed_up(source, numbers=range(6), at=made.NOW)
    blocks = part_blocks(source, less.key, less.parts[0])
    with pytest.raises(DRError, match="its recipe makes"):
        list(target.replace_part_by_blocks(of.key, of.parts[0], blocks))
    assert target.part_size(of.key, of.parts[0]) is None
