"""Reading parts: any range, in few requests, and never a byte that is not the block's."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import BoxDamaged, BytesDiffer, ObjectMissing
from qdrant_dr.records import Manifest
from qdrant_dr.repository import read_catalog
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.stores.base import Stat, fill
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.vault import pack_writer, reader
from qdrant_dr.vault.box import BLOCK, FOOTER, Block, Table, build_box, make_block, read_table
from qdrant_dr.vault.reader import PartReader, joined
from qdrant_dr.vault.tables import Tables
from tests.support import records as made
from tests.support.thorough import examples
from tests.support.vaults import backed_up, block, content, vault_on_disk

NUMBERS = [random.Random(9).randrange(30) for _ in range(60)]
DATA = content(NUMBERS)


@pytest.fixture(scope="module", params=[False, True], ids=["clear", "encrypted"])
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ChunkedRepository, Manifest]:
    """A part whose blocks come again and again, in packs of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack_writer, "PACK_BYTES", 4 * BLOCK + pack_writer._SPARE)
        vault = vault_on_disk(tmp_path_factory.mktemp("v") / "v", encrypted=request.param)
        of = backed_up(vault, numbers=NUMBERS, at=made.NOW)
    return vault, of


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WINDOW", 5 * BLOCK)
    monkeypatch.setattr(reader, "CACHE", 4 * BLOCK)
    monkeypatch.setattr(reader, "GAP", BLOCK)


@given(a=st.integers(0, len(DATA)), length=st.integers(0, 9 * BLOCK))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[*HealthCheck])
@pytest.mark.usefixtures("small_windows")
def test_any_range_is_what_was_written(
    stored: tuple[ChunkedRepository, Manifest], a: int, length: int
) -> None:
    vault, of = stored
    assert b"".join(vault.read_part(of.key, of.parts[0], a, a + length)) == DATA[a : a + length]


@pytest.mark.usefixtures("small_windows")
def test_all_of_it_is_what_was_written(stored: tuple[ChunkedRepository, Manifest]) -> None:
    vault, of = stored
    assert b"".join(vault.read_part(of.key, of.parts[0])) == DATA


@pytest.mark.usefixtures("small_windows")
def test_whoever_stops_in_the_middle_leaves_nothing_running(
    stored: tuple[ChunkedRepository, Manifest],
) -> None:
    vault, of = stored
    blocks = vault.read_part(of.key, of.parts[0])
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]


def test_a_part_in_the_order_of_its_packs_is_read_in_few_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = vault_on_disk(tmp_path)
    of = backed_up(vault, numbers=range(300), at=made.NOW)
    asked: list[tuple[int, int | None]] = []
    real = LocalStore.read_range

    def read_range(
        store: LocalStore, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        asked.append((start, end))
        return real(store, path, start, end)

    monkeypatch.setattr(LocalStore, "read_range", read_range)
    size = sum(len(b) for b in vault.read_part(of.key, of.parts[0]))
    assert size == 300 * BLOCK
    assert len(asked) <= 2 + -(-size // reader.WINDOW)


@given(st.sets(st.integers(0, 199), min_size=1), st.integers(1, BLOCK))
@settings(max_examples=examples(60), deadline=None)
def test_ranges_cover_each_block_once_in_order(numbers: set[int], size: int) -> None:
    box = build_box("p", [Block(bytes(31) + b"1", size, 0, bytes(size))] * 200, None)
    table = read_table("p", box, len(box), None)
    ranges = list(joined(sorted(numbers), table))
    assert [n for together in ranges for n in together] == sorted(numbers)
    for together in ranges:
        span = int(table.offsets[together[-1] + 1] - table.offsets[together[0]])
        assert span <= reader.LARGEST_RANGE
    for one, other in pairwise(ranges):
        apart = int(table.offsets[other[0]] - table.offsets[one[-1] + 1])
        span = int(table.offsets[other[0] + 1] - table.offsets[one[0]])
        assert apart > reader.GAP or span > reader.LARGEST_RANGE


def test_a_pack_that_is_mended_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path)
    of = backed_up(vault, numbers=range(4), at=made.NOW)
    path = vault.find("packs")[0].path
    tables, listed = Tables(vault.store, vault.keys), vault.list_packs(of.key)
    for there in listed.values():
        tables.of(there)  # as a reader that has begun
    recipe = vault.read_recipe(of.key, of.parts[0].file)
    begun = PartReader(vault.store, vault.keys, tables, recipe, listed, lambda _: path)
    # the same blocks under the same numbers, at other places: one nobody needs is in front
    made_anew = build_box(path, [make_block(block(n)) for n in range(4)], vault.keys)
    grown = build_box(path, [*(make_block(block(n)) for n in range(4)), make_block(b"x")], None)
    assert made_anew != grown
    fill(vault.store.sink(path, replace=True), [grown])
    assert b"".join(begun.read()) == content(range(4))


def test_a_table_that_is_remembered_hides_no_rot(tmp_path: Path) -> None:
    """Size and time are what they were, as with real rot."""
    vault = vault_on_disk(tmp_path)
    folder = tmp_path.with_suffix(".tables")
    folder.mkdir(mode=0o700)
    vault._tables = Tables(vault.store, vault.keys, folder / "t")  # as for an object store
    of = backed_up(vault, numbers=range(4), at=made.NOW)
    (listed,) = vault.find("packs")
    vault.known_table_of(listed)
    file = tmp_path / listed.path
    data, was = bytearray(file.read_bytes()), file.stat()
    data[-FOOTER - 1] ^= 1  # of the SHA-256 in its last row
    file.write_bytes(data)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert vault.find("packs") == [listed]
    with pytest.raises(BytesDiffer):
        for _ in vault.read_verified(of.key, of.parts[0]):
            pass
    assert vault.table_of(listed)[3] != vault.known_table_of(listed)[3]


@pytest.mark.parametrize("what", ["flipped", "cut", "gone", "swapped"])
def test_no_damage_gives_other_bytes(tmp_path: Path, what: str) -> None:
    vault = vault_on_disk(tmp_path)
    one = backed_up(vault, numbers=range(5), at=made.NOW)
    other = backed_up(vault, numbers=range(50, 55), at=made.NOW + timedelta(days=1))
    first, second = (tmp_path / s.path for s in vault.find("packs"))
    data = bytearray(first.read_bytes())
    if what == "flipped":
        data[2 * BLOCK] ^= 1
        first.write_bytes(data)
    elif what == "cut":
        first.write_bytes(data[:-1])
    elif what == "gone":
        first.unlink()
    else:
        first.write_bytes(second.read_bytes())
    got = bytearray()
    with pytest.raises(ObjectMissing if what == "gone" else BytesDiffer):
        got.extend(b for piece in vault.read_verified(one.key, one.parts[0]) for b in piece)
    # a pack in clear that is whole and another one is found out by the digest of the part alone
    assert what == "swapped" or content(range(5)).startswith(bytes(got))
    assert b"".join(vault.read_part(other.key, other.parts[0])) == content(range(50, 55))


@pytest.mark.parametrize("what", ["whole", "empty", "cut", "other recipe"])
def test_a_catalog_sees_a_pack_that_is_shorter_than_its_table(tmp_path: Path, what: str) -> None:
    vault = vault_on_disk(tmp_path)
    of = backed_up(vault, numbers=range(5), at=made.NOW)
    if what == "other recipe":
        fewer = content(range(4))
        anew = of.parts[0].model_copy(
            update={"size_bytes": len(fewer), "sha256": hashlib.sha256(fewer).hexdigest()}
        )
        vault.replace_part(of.key, anew, [fewer])
    elif what != "whole":
        (pack,) = (tmp_path / s.path for s in vault.find("packs"))
        pack.write_bytes(pack.read_bytes()[: 300 if what == "cut" else 0])
    found = read_catalog([vault], cluster=of.cluster).find(of.key).copy(vault.name)
    good = what == "whole"
    assert (found.state, found.lacks) == (
        ("present", ()) if good else ("damaged", (of.parts[0].file,))
    )
    assert (vault.part_size(of.key, of.parts[0]) == of.parts[0].size_bytes) == good


def test_a_salvage_gets_everything_but_the_bad_block(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path)
    of = backed_up(vault, numbers=range(5), at=made.NOW)
    (pack,) = (tmp_path / s.path for s in vault.find("packs"))
    data = bytearray(pack.read_bytes())
    data[2 * BLOCK + 99] ^= 1
    pack.write_bytes(data)
    told: list[BoxDamaged] = []

    def zeros(error: BoxDamaged, size: int) -> bytes:
        told.append(error)
        return bytes(size)

    read = b"".join(vault.read_part(of.key, of.parts[0], instead=zeros))
    assert read == content((0, 1)) + bytes(BLOCK) + content((3, 4))
    assert len(told) == 1
    pack.unlink()
    read = b"".join(vault.read_part(of.key, of.parts[0], instead=zeros))
    assert read == bytes(5 * BLOCK)


def test_a_salvage_goes_on_when_a_table_rots_under_it(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path)
    of = backed_up(vault, numbers=range(5), at=made.NOW)

    class Rotting(Tables):
        asked = 0

        def of(self, pack: Stat) -> Table:
            self.asked += 1
            if self.asked > 1:
                raise BoxDamaged(f"{pack.path} is rotten")
            return super().of(pack)

    recipe, listed = vault.read_recipe(of.key, of.parts[0].file), vault.list_packs(of.key)
    path, tables = vault.find("packs")[0].path, Rotting(vault.store, vault.keys)
    told: list[int] = []

    def zeros(error: BoxDamaged, size: int) -> bytes:
        told.append(size)
        return bytes(size)

    reader = PartReader(vault.store, vault.keys, tables, recipe, listed, lambda _: path, zeros)
    assert b"".join(reader.read()) == bytes(5 * BLOCK)
    assert told == [BLOCK] * 5
