"""Chunked repositories beside a store that lists late or twice, and with keys that change while a
backup is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.errors import BlockMissing
from qdrant_dr.records import Manifest
from qdrant_dr.repository import open_repository, plan_packs, read_catalog
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.keyrings import add_slots, read_slots, remove_slot, rotate
from qdrant_dr.repository.repository import Spool
from qdrant_dr.stores.base import Stat
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.vault import pack_writer, whole_packs
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.key_secret import parse_secret
from tests.support import records as made
from tests.support.encrypted import encrypted_on_disk, opened
from tests.support.vaults import backed_up, content, now, vault_on_disk

DAY = timedelta(days=1)
LISTINGS: dict[str, Callable[[list[Stat]], list[Stat]]] = {
    "late": lambda listed: listed[:-1],
    "twice": lambda listed: listed * 2,
}


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChunkedRepository:
    """Packs of three blocks."""
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 3 * BLOCK + pack_writer._SPARE)
    return vault_on_disk(tmp_path / "vault")


def list_packs_as(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    real = LocalStore.find

    def find(store: LocalStore, folder: str) -> Iterator[Stat]:
        listed = sorted(real(store, folder), key=lambda s: s.path)
        return iter(LISTINGS[how](listed) if folder.startswith("packs") else listed)

    monkeypatch.setattr(LocalStore, "find", find)


def state(vault: ChunkedRepository, of: Manifest) -> str:
    known = read_catalog([vault], cluster=of.cluster)
    return {b.key: b.copy(vault.name).state for b in known.backups}[of.key]


@pytest.mark.parametrize("how", LISTINGS)
def test_a_good_copy_is_not_called_bad_for_a_list(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    of = backed_up(vault, numbers=range(8), at=made.NOW)
    list_packs_as(monkeypatch, how)
    assert state(vault, of) == "present"
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(range(8))
    monkeypatch.setattr(whole_packs, "OFTEN", 0)  # read packs whole, as where they are scattered
    spool = Spool(tmp_path, told=lambda _: None)
    assert b"".join(vault.read_whole(of.key, of.parts[0], spool)) == content(range(8))
    later = now() + 9 * DAY
    known = read_catalog([vault], cluster=of.cluster)
    assert plan_packs(vault, known, store_now=later).packs == ()


@pytest.mark.parametrize("how", LISTINGS)
def test_a_pack_that_is_gone_is_missed_whatever_a_list_says(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    of = backed_up(vault, numbers=range(8), at=made.NOW)
    for pack in (tmp_path / "vault/packs").rglob("*.pack"):
        pack.unlink()
    list_packs_as(monkeypatch, how)
    assert state(vault, of) == "damaged"


def test_no_recipe_is_written_while_a_list_lacks_a_pack_of_it(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_packs_as(monkeypatch, "late")
    with pytest.raises(BlockMissing, match="is gone while"):
        backed_up(vault, numbers=range(8), at=made.NOW)
    monkeypatch.undo()
    assert not [s for s in vault.find("backups") if s.path.endswith((".recipe", "manifest.json"))]


def test_a_list_that_tells_twice_stores_nothing_twice(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(vault, numbers=range(8), at=made.NOW)
    packs = len(list(vault.find("packs")))
    list_packs_as(monkeypatch, "twice")
    second = backed_up(vault, numbers=range(8), at=made.NOW + DAY)
    monkeypatch.undo()
    assert len(list(vault.find("packs"))) == packs
    assert state(vault, second) == "present"


@pytest.mark.parametrize("how", ["a slot is removed", "the key is rotated"])
def test_a_key_that_goes_while_a_part_is_written_loses_nothing(tmp_path: Path, how: str) -> None:
    cfg = encrypted_on_disk(tmp_path)
    running = opened(cfg)
    (first,) = read_slots(running).records
    data, plain = content(range(6)), made.manifest()
    sink = running.part_sink(plain.key, plain.parts[0].file, len(data))
    sink.write(data[: 3 * BLOCK])
    if how == "the key is rotated":
        rotate(opened(cfg), cfg, now())
    else:
        (tmp_path / "other.key").write_text(text := "ab" * 32 + "\n")
        add_slots(opened(cfg), parse_secret(text, "x"), now(), label="other")
        cfg = cfg.model_copy(update={"key": f"file:{tmp_path / 'other.key'}"})
        remove_slot(opened(cfg), cfg, first.slot_id, execute=True)
    sink.write(data[3 * BLOCK :])
    sink.commit()
    again = open_repository(cfg, stall_timeout=timedelta(seconds=60))
    part = plain.parts[0]
    assert b"".join(again.read_part(plain.key, part)) == data
