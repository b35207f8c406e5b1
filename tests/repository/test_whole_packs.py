"""A part that lies scattered is put together in the spool, from packs that are read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from qdrant_dr.errors import BytesDiffer, Interrupted, ObjectMissing
from qdrant_dr.records import Manifest
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.repository import Spool
from qdrant_dr.vault import pack_writer, whole_packs
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.whole_packs import Scatter, scatter_of
from tests.support import records as made
from tests.support.vaults import backed_up, content, vault_on_disk


class Night:
    """A backup whose blocks lie here and there in the packs of those before it."""

    def __init__(self, folder: Path, *, encrypted: bool) -> None:
        self.root = folder / "vault"
        self.vault = vault_on_disk(self.root, encrypted=encrypted)
        order = list(range(96))
        for night in range(2):
            at = made.NOW + timedelta(hours=night)
            of = backed_up(self.vault, numbers=order, at=at)
            Random(night).shuffle(order)
        self.of: Manifest = of
        self.data = b"".join(self.vault.read_part(of.key, of.parts[0]))
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.told: list[str] = []

    def read(self, **fields: object) -> bytes:
        spool = Spool(self.spool, self.told.append, **fields)  # type: ignore[arg-type]
        return b"".join(self.vault.read_verified(self.of.key, self.of.parts[0], spool=spool))


@pytest.fixture(params=[False, True], ids=["clear", "encrypted"])
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Night:
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 8 * BLOCK + pack_writer._SPARE)
    monkeypatch.setattr(whole_packs, "WINDOW", 8 * BLOCK)
    return Night(tmp_path, encrypted=request.param)


def test_each_pack_is_read_once_and_the_bytes_are_those_of_the_stream(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    plain = type(night.vault.store).read_range

    def counted(store: object, path: str, *at: int) -> Iterator[bytes]:
        reads[path] += 1
        return plain(store, path, *at)  # type: ignore[arg-type]

    monkeypatch.setattr(type(night.vault.store), "read_range", counted)
    assert night.read() == night.data
    packs = night.vault.read_recipe(night.of.key, night.of.parts[0].file).packs
    assert sorted(reads.values()) == [1] * len(packs)
    assert "put together from whole packs" in night.told[0]
    assert list(night.spool.iterdir()) == []


@pytest.mark.parametrize("how", ["rotten", "gone"])
def test_a_bad_pack_is_told_before_a_byte_is_given(night: Night, how: str) -> None:
    packs = night.vault.read_recipe(night.of.key, night.of.parts[0].file).packs
    (file,) = night.root.rglob(f"{packs[0]}.pack")
    file.chmod(0o600)
    data = bytearray(file.read_bytes())
    data[2 * BLOCK] ^= 1
    file.write_bytes(data)
    if how == "gone":
        file.unlink()
    with pytest.raises(BytesDiffer if how == "rotten" else ObjectMissing):
        night.read()
    assert list(night.spool.iterdir()) == []


def test_without_room_it_is_read_in_the_order_of_the_stream(night: Night) -> None:
    assert night.read(most_bytes=BLOCK) == night.data
    assert "no room" in night.told[0]


def test_a_full_disk_does_not_end_it(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        assert night.read() == night.data
    assert "No space left" in night.told[-1]


def test_it_ends_when_it_is_asked_to(night: Night) -> None:
    def asked(packs: Iterator[bytes]) -> Iterator[bytes]:
        yield next(packs)
        raise Interrupted("asked to stop")

    with pytest.raises(Interrupted):
        night.read(waiting=asked)
    assert list(night.spool.iterdir()) == []


def test_what_lies_in_order_is_read_in_order(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path / "vault")
    assert isinstance(vault, ChunkedRepository)
    of = backed_up(vault, numbers=range(300), at=made.NOW)
    recipe = vault.read_recipe(of.key, of.parts[0].file)
    assert not scatter_of(recipe).is_wide
    assert scatter_of(recipe) == Scatter(packs=1, requests=3, in_order=4)
    told: list[str] = []
    read = vault.read_verified(of.key, of.parts[0], spool=Spool(tmp_path, told.append))
    assert b"".join(read) == content(range(300))
    assert told == []
