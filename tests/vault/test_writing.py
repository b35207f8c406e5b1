"""Writing into a chunked repository: what fails leaves nothing that looks like a part, and what is
written twice is stored once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import layout
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import (
    BlockMissing,
    ManifestConflict,
    ObjectMissing,
    PlanRefused,
    RepositoryUnreachable,
    Stalled,
    StorageFull,
)
from qdrant_dr.repository import record_expiry
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.fanout import fan_out
from qdrant_dr.stores.base import Stat
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.vault import cut_once, pack_writer
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.cut_once import CutOnce
from tests.support import records as made
from tests.support.vaults import age, backed_up, block, content, names, now, vault_on_disk, written

DAY = timedelta(days=1)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChunkedRepository:
    """Packs of three blocks."""
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 3 * BLOCK + pack_writer._SPARE)
    return vault_on_disk(tmp_path / "vault")


def on_create(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Callable[[], None], str], None]
) -> None:
    """Call `act` with every creation of a pack instead of doing it."""
    real = LocalStore.create

    def create(store: LocalStore, path: str, data: bytes) -> None:
        if path.startswith("packs/"):
            act(lambda: real(store, path, data), path)
        else:
            real(store, path, data)

    monkeypatch.setattr(LocalStore, "create", create)


def test_many_packs_are_filled_in_the_order_of_the_stream(vault: ChunkedRepository) -> None:
    of = backed_up(vault, numbers=range(20), at=made.NOW)
    recipe = vault.read_recipe(of.key, of.parts[0].file)
    assert len(recipe.packs) == 7
    assert [s.blocks for s in recipe.steps() if not isinstance(s, bytes)] == [3] * 6 + [2]
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(range(20))


def test_a_block_that_comes_again_is_stored_once(vault: ChunkedRepository, tmp_path: Path) -> None:
    numbers = [1, 1, 2, 1, 3, 4, 5, 2, 1]
    of = backed_up(vault, numbers=numbers, at=made.NOW)
    stored = sum(len(vault.table_of(p)) for p in vault.list_packs(of.key).values())
    assert stored == 5
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(numbers)


def test_an_answer_that_is_lost_costs_no_second_pack(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost: list[str] = []

    def act(create: Callable[[], None], path: str) -> None:
        create()
        if path not in lost:
            lost.append(path)
            raise RepositoryUnreachable("no answer in time")

    on_create(monkeypatch, act)
    of = backed_up(vault, numbers=range(5), at=made.NOW)
    assert len(lost) == 2
    assert names(tmp_path, "vault/packs") == {Path(p).name for p in lost}
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(range(5))


def test_a_name_that_another_writer_took_is_left_to_it(vault: ChunkedRepository) -> None:
    first = made.manifest(at=made.NOW).key
    # another process writes packs of the same backup at the same time
    other = vault_again(vault)
    vault._places(first, {})
    sinks = [v.part_sink(first, f"shard-{n}.snapshot") for n, v in enumerate((vault, other))]
    for number, sink in enumerate(sinks):
        sink.write(content(range(10 * number, 10 * number + 4)))
    for sink in sinks:
        sink.commit()
    for number, repository in enumerate((vault, other)):
        recipe = repository.read_recipe(first, f"shard-{number}.snapshot")
        assert len(recipe.packs) == 2
    assert len(vault.list_packs(first)) == 4


def vault_again(vault: ChunkedRepository) -> ChunkedRepository:
    return replace(vault)


@pytest.mark.parametrize("error", [StorageFull("the disk is full"), RepositoryUnreachable("away")])
def test_a_pack_that_cannot_be_stored_ends_it_without_a_recipe(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stored: list[str] = []

    def act(create: Callable[[], None], path: str) -> None:
        if len(stored) >= 2:  # two are on their way at once
            raise error
        create()
        stored.append(path)

    on_create(monkeypatch, act)
    with pytest.raises(type(error)):
        written(vault, numbers=range(20), at=made.NOW)
    assert not [s for s in vault.find("backups") if s.path.endswith(".recipe")]
    # the next try finds what the first has stored
    monkeypatch.undo()
    of = backed_up(vault, numbers=range(20), at=made.NOW + DAY)
    assert set(stored) <= {p.path for p in vault.list_packs(of.key).values()}
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(range(20))


def test_packs_of_a_run_that_died_yesterday_are_not_relied_on(
    vault: ChunkedRepository, tmp_path: Path
) -> None:
    written(vault, numbers=range(6), at=made.NOW)
    age(tmp_path, timedelta(hours=23, minutes=30), "vault/packs")
    of = backed_up(vault, numbers=range(6), at=made.NOW + DAY)
    assert {name[:23] for name in vault.read_recipe(of.key, of.parts[0].file).packs} == {
        of.backup_id
    }


@pytest.mark.parametrize("what", ["gone", "other bytes"])
def test_a_pack_that_changes_while_it_is_reused_stops_the_recipe(
    vault: ChunkedRepository, what: str
) -> None:
    backed_up(vault, numbers=range(6), at=made.NOW)
    of = made.manifest(at=made.NOW + DAY)
    sink = vault.part_sink(of.key, "collection.snapshot")
    sink.write(content(range(7)))
    path = vault.find("packs")[0].path
    if what == "gone":
        vault.store.delete(path)
    else:
        there = vault.store.sink(path, replace=True)
        there.write(b"a repair that left blocks empty")
        there.commit()
    with pytest.raises(BlockMissing, match="gone" if what == "gone" else "changed"):
        sink.commit()
    sink.abort()
    assert vault.store.stat(layout.in_backup(of.key, "collection.recipe")) is None


@pytest.mark.parametrize("marks", [True, False])
def test_a_store_that_lists_finer_times_than_it_tells_is_no_change(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch, *, marks: bool
) -> None:
    """As MinIO does."""
    real, listed = LocalStore.stat, LocalStore.find

    def stat(store: LocalStore, path: str) -> Stat | None:
        there = real(store, path)
        whole = there and there.modified_at.replace(microsecond=0)
        return there and replace(there, modified_at=whole or now(), mark="m" * marks)

    def find(store: LocalStore, folder: str) -> list[Stat]:
        return [replace(there, mark="m" * marks) for there in listed(store, folder)]

    monkeypatch.setattr(LocalStore, "stat", stat)
    monkeypatch.setattr(LocalStore, "find", find)
    of = written(vault, numbers=range(6), at=made.NOW)
    assert b"".join(vault.read_part(of.key, of.parts[0])) == content(range(6))


def test_a_part_that_took_longer_than_its_blocks_are_safe_is_not_finished(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink: Any = vault.part_sink(made.manifest().key, "collection.snapshot")
    sink.write(content(range(2)))
    late = type("Late", (), {"now": staticmethod(lambda _: now() + timedelta(hours=25))})
    monkeypatch.setattr("qdrant_dr.vault.sink.datetime", late)
    with pytest.raises(PlanRefused, match="took so long"):
        sink.commit()


def test_no_manifest_without_its_recipe_or_its_packs(vault: ChunkedRepository) -> None:
    of = written(vault, numbers=range(6), at=made.NOW)
    pack = vault.find("packs")[0].path
    data = b"".join(vault.store.read_range(pack))
    vault.store.delete(pack)
    with pytest.raises(Exception, match=f"{of.parts[0].size_bytes} were written"):
        vault.commit(of)
    vault.store.create(pack, data)
    recipe = layout.in_backup(of.key, "collection.recipe")
    text = vault.store.read(recipe)
    vault.store.delete(recipe)
    with pytest.raises(ObjectMissing):
        vault.commit(of)
    vault.store.create(recipe, text)
    vault.commit(of)
    with pytest.raises(ManifestConflict):
        vault.commit(of.model_copy(update={"note": "another"}))


def test_the_blocks_of_a_backup_that_is_about_to_go_are_not_reused(
    vault: ChunkedRepository, tmp_path: Path
) -> None:
    first = backed_up(vault, numbers=range(6), at=made.NOW)
    age(tmp_path, DAY, "vault/packs")
    record_expiry(vault, made.expired(first))
    second = backed_up(vault, numbers=range(6), at=made.NOW + DAY)
    packs = vault.read_recipe(second.key, second.parts[0].file).packs
    assert {name[:23] for name in packs} == {second.backup_id}


def test_several_vaults_cut_and_compress_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed: list[bytes] = []
    real = cut_once.make_block

    def counting(data: bytes, sha256: bytes | None = None) -> Any:
        compressed.append(data)
        return real(data, sha256)

    monkeypatch.setattr(cut_once, "make_block", counting)
    vaults = {n: vault_on_disk(tmp_path / n, n) for n in ("a", "b", "c")}
    backed_up(vaults["c"], numbers=range(10), at=made.NOW - DAY)
    compressed.clear()
    data = content(range(16))
    digest = StreamDigest()
    stream = CutOnce(3, digest)
    key = made.manifest().key
    done = fan_out(
        [data[at : at + 100_000] for at in range(0, len(data), 100_000)],
        {n: lambda v=v: v.part_sink(key, "collection.snapshot", None, stream)  # type: ignore[misc]
         for n, v in vaults.items()},
        stall_timeout=timedelta(seconds=60), digest=digest,
    )  # fmt: skip
    assert not done.left_behind
    assert sorted(compressed) == sorted(block(n) for n in range(16))
    assert {v.read_recipe(key, "collection.snapshot").sha256 for v in vaults.values()} == {
        digest.sha256
    }
    assert not stream._kept
    stored = {n: sum(s.size_bytes for s in v.find("packs")) for n, v in vaults.items()}
    assert stored["a"] == stored["b"]


def test_one_vault_that_falls_out_does_not_hold_the_others_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 3 * BLOCK + pack_writer._SPARE)
    vaults = {n: vault_on_disk(tmp_path / n, n) for n in ("good", "bad")}
    stuck = threading.Event()
    real = LocalStore.create

    def create(store: LocalStore, path: str, data: bytes) -> None:
        if store.name == "bad" and path.startswith("packs/"):
            stuck.wait(20)
        real(store, path, data)

    monkeypatch.setattr(LocalStore, "create", create)
    key = made.manifest().key
    data = content(range(60))
    digest = StreamDigest()
    stream = CutOnce(2, digest)
    done = fan_out(
        [data[at : at + 50_000] for at in range(0, len(data), 50_000)],
        {n: lambda v=v: v.part_sink(key, "collection.snapshot", None, stream)  # type: ignore[misc]
         for n, v in vaults.items()},
        stall_timeout=timedelta(seconds=1), digest=digest,
    )  # fmt: skip
    stuck.set()
    assert set(done.left_behind) == {"bad"}
    assert set(done.receipts) == {"good"}
    good = vaults["good"]
    recipe = good.read_recipe(key, "collection.snapshot")
    assert (recipe.size_bytes, recipe.sha256) == (len(data), digest.sha256)
    assert len(stream._kept) <= 24


def test_bandwidth_is_of_what_is_sent(tmp_path: Path) -> None:
    slow = vault_on_disk(tmp_path / "slow", "slow", bandwidth="2MiB")
    began = now()
    backed_up(slow, numbers=range(16), at=made.NOW)  # one MiB
    assert now() - began > timedelta(seconds=0.2)
    again = now()
    backed_up(slow, numbers=range(16), at=made.NOW + DAY)
    assert now() - again < now() - began


def test_a_buffer_that_could_not_be_cut_is_cut_for_nobody(
    vault: ChunkedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it may be in the cutter already."""
    stream = CutOnce(2)
    monkeypatch.setattr(stream._cutter, "feed", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stream.pieces(0, block(1))
    monkeypatch.undo()
    with pytest.raises(Stalled):
        stream.pieces(0, block(1))


def test_no_recipe_makes_less_than_the_stream(vault: ChunkedRepository) -> None:
    of, digest = made.manifest(), StreamDigest()
    stream = CutOnce(1, digest)
    sink = vault.part_sink(of.key, "collection.snapshot", stream=stream)
    for data in (block(1), block(2)):
        digest.update(data)
    sink.write(block(1))
    with pytest.raises(Stalled, match=r"its recipe makes 65536"):
        sink.commit()
    assert vault.store.stat(layout.in_backup(of.key, "collection.recipe")) is None
