"""What a new backup takes again from those before it: never what a failed proof speaks against."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr import layout
from qdrant_dr.errors import ObjectArchived
from qdrant_dr.records import Finding, Manifest, Proof
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.pack_dependents import read_users
from qdrant_dr.repository.reuse_bases import nearest, packs_named
from qdrant_dr.vault import pack_writer
from qdrant_dr.vault.box import BLOCK
from tests.support import records as made
from tests.support.vaults import age, backed_up, content, vault_on_disk

DAY = timedelta(days=1)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChunkedRepository:
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 3 * BLOCK + pack_writer._SPARE)
    return vault_on_disk(tmp_path)


def reused(vault: ChunkedRepository, root: Path, base: Manifest) -> int:
    """How many packs of a backup of two days ago the next one of the same blocks takes."""
    age(root, 2 * DAY, "packs")  # so that nothing is taken for its youth
    of = backed_up(vault, numbers=range(9), at=made.NOW + DAY)
    packs = vault.read_recipe(of.key, of.parts[0].file).packs
    return sum(name.startswith(base.backup_id) for name in packs)


def failure(of: Manifest, vault: ChunkedRepository, words: str) -> Proof:
    return made.proof(
        of, repository_id=vault.id, location=vault.location, depth="bytes", reached="presence",
        passed=False, findings=(Finding(code="bytes-differ", message=words),), seal_sha256=None,
    )  # fmt: skip


def test_a_good_backup_is_taken_whole(vault: ChunkedRepository, tmp_path: Path) -> None:
    assert reused(vault, tmp_path, backed_up(vault, numbers=range(9), at=made.NOW)) == 3


def rot(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[BLOCK] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("young", [True, False])
def test_a_backup_is_not_born_bad_where_its_base_is(
    vault: ChunkedRepository, tmp_path: Path, *, named: bool, young: bool
) -> None:
    """Two packs of it are, and its failed proof names at most one."""
    base = backed_up(vault, numbers=range(9), at=made.NOW)
    packs = [there.path for there in vault.find("packs")]
    for path in packs[1:]:
        rot(tmp_path / path)
    where = f"{packs[1]}: block 1 is rotten" if named else "its SHA-256 is another one"
    vault.add_proof(failure(base, vault, f"collection.snapshot: {where}"))
    if not young:
        age(tmp_path, 2 * DAY, "packs")
    of = backed_up(vault, numbers=range(9), at=made.NOW + DAY)
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(range(9))


def test_a_backup_that_is_no_base_tells_of_bad_packs_as_well(
    vault: ChunkedRepository, tmp_path: Path
) -> None:
    """Of the same packs: those of the two nearest backups were not looked at."""
    base, *_ = (backed_up(vault, numbers=range(9), at=made.NOW + n * DAY) for n in range(4))
    age(tmp_path, 2 * DAY, "packs")
    rot(tmp_path / vault.find("packs")[2].path)
    vault.add_proof(failure(base, vault, "its SHA-256 is another one"))
    of = backed_up(vault, numbers=range(9), at=made.NOW + 4 * DAY)
    assert b"".join(vault.read_verified(of.key, of.parts[0])) == content(range(9))


def test_of_a_backup_that_is_bad_somewhere_nothing_is_taken(
    vault: ChunkedRepository, tmp_path: Path
) -> None:
    base = backed_up(vault, numbers=range(9), at=made.NOW)
    vault.add_proof(failure(base, vault, "its SHA-256 is another one"))
    assert reused(vault, tmp_path, base) == 0


def test_of_a_backup_with_a_proof_that_nobody_can_read_nothing_is_taken(
    vault: ChunkedRepository, tmp_path: Path
) -> None:
    base = backed_up(vault, numbers=range(9), at=made.NOW)
    vault.add_proof(failure(base, vault, "hidden"))
    (proof,) = (tmp_path / "proofs").rglob("*.json")
    proof.chmod(0o600)
    proof.write_bytes(proof.read_bytes()[:-3])
    assert reused(vault, tmp_path, base) == 0


def test_what_lies_in_an_archive_stops_no_capture_and_no_healing(
    vault: ChunkedRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of the bucket moves old proofs and recipes away; nothing is wrong with them."""
    old, *_ = (backed_up(vault, numbers=range(9), at=made.NOW + n * DAY) for n in range(4))
    vault.add_proof(failure(old, vault, "its SHA-256 is another one"))
    read = type(vault.store).read

    def archived(store: object, path: str) -> bytes:
        if old.backup_id in path and path.endswith((".recipe", ".json")):
            raise ObjectArchived(f"{path} is archived")
        return read(store, path)  # type: ignore[arg-type]

    monkeypatch.setattr(type(vault.store), "read", archived)
    users = read_users(vault, old.key, made.NOW)
    assert (len(users.recipes), users.known) == (3, False)
    age(tmp_path, 2 * DAY, "packs")
    of = backed_up(vault, numbers=range(9), at=made.NOW + 4 * DAY)
    packs = vault.read_recipe(of.key, of.parts[0].file).packs
    assert [layout.is_pack_of(name, old.backup_id) for name in packs] == [True] * 3


def test_what_heals_an_old_backup_takes_no_name_that_another_recipe_may_mean(
    vault: ChunkedRepository,
) -> None:
    old = backed_up(vault, numbers=range(9), at=made.NOW)
    before = set(vault.list_packs(old.key))
    replace(vault).replace_part(old.key, old.parts[0], [content(range(9))])
    new = set(vault.list_packs(old.key)) - before
    assert len(new) == 3
    assert all(layout.is_pack_of(name, old.backup_id) for name in new)
    assert all(int(name.rpartition("-")[2]) >= 10**6 for name in new)
    assert b"".join(vault.read_verified(old.key, old.parts[0])) == content(range(9))


def test_what_a_heal_wrote_is_reused_by_the_next_part_of_it(vault: ChunkedRepository) -> None:
    """A failed proof speaks of what was there before."""
    of = backed_up(vault, numbers=range(9), at=made.NOW)
    vault.add_proof(failure(of, vault, "its SHA-256 is another one"))
    before = set(vault.list_packs(of.key))
    vault.replace_part(of.key, of.parts[0], [content(range(9))])
    healed = set(vault.list_packs(of.key)) - before
    second = of.parts[0].model_copy(update={"name": "shard-1"})
    vault.replace_part(of.key, second, [content(range(9))])
    more = set(vault.list_packs(of.key)) - before - healed
    assert len(more) == 1  # every recipe of a repair has the mark of one
    used = vault.read_recipe(of.key, second.file).packs
    assert set(used) <= healed | more
    for part in (of.parts[0], second):
        assert b"".join(vault.read_verified(of.key, part)) == content(range(9))


def test_what_is_wrong_with_the_content_is_in_the_source(vault: ChunkedRepository) -> None:
    of = backed_up(vault, numbers=range(2), at=made.NOW)
    wrong = failure(of, vault, "12 points differ").model_copy(
        update={"depth": "content", "reached": "load"}
    )
    assert packs_named([wrong]) == frozenset()


@given(st.sets(st.integers(0, 99)), st.integers(0, 99))
def test_the_nearest_in_time_are_taken(numbers: set[int], mine: int) -> None:
    names = {f"{n:02}" for n in numbers}
    found = nearest(names, f"{mine:02}")
    assert len(found) == min(2, len(names))
    before = sorted((n for n in numbers if n <= mine), reverse=True)
    after = sorted(n for n in numbers if n > mine)
    assert all(int(n) in {*before[:2], *after[:2]} for n in found)
    if before:
        assert f"{before[0]:02}" in found
    if after:
        assert f"{after[0]:02}" in found or len(found) < 2
