"""What backups take from packs of chunked repositories, and what they added."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qdrant_dr.layout import SEAL, in_backup
from qdrant_dr.records import Manifest
from qdrant_dr.report.evidence.recount import believed
from qdrant_dr.report.evidence.vaults import vaults_of
from qdrant_dr.repository import (
    Catalog,
    Repository,
    last_backups,
    measure_packs,
    read_catalog,
    written_by_last,
)
from qdrant_dr.vault import pack_writer
from qdrant_dr.vault.box import BLOCK
from tests.support import records as made
from tests.support.stores import repository_on_disk
from tests.support.vaults import age, backed_up, let_go, now, vault_on_disk

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NIGHTS = (NOW - timedelta(days=2), NOW - timedelta(days=1))


def two_nights(*repositories: Repository) -> tuple[Manifest, Manifest]:
    """Ten blocks, of which the second night keeps six and adds two."""
    first = backed_up(*repositories, numbers=range(10), at=NIGHTS[0])
    return first, backed_up(*repositories, numbers=range(4, 12), at=NIGHTS[1])


def read(*repositories: Repository) -> Catalog:
    return read_catalog(repositories, cluster=made.CLUSTER)


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_the_newest_backup_adds_shares_and_needs(tmp_path: Path, encrypted: bool) -> None:
    vault = vault_on_disk(tmp_path / "vault", encrypted=encrypted)
    first, second = two_nights(vault)
    catalog = read(vault)
    (newest,) = last_backups(catalog, "vault", NOW)
    assert newest.key == second.key
    (used,) = measure_packs({"vault": vault}, [("vault", newest)]).values()
    tag = 16 if encrypted else 0
    assert used.packs == 2
    assert used.stored_bytes == 12 * (BLOCK + tag)
    assert used.used_bytes == 8 * (BLOCK + tag)
    assert used.shared_bytes == 6 * (BLOCK + tag)
    assert used.use == 8 / 12
    copies = [catalog.find(m.key).copy("vault") for m in (first, second)]  # type: ignore[union-attr]
    blocks = [(c.pack_bytes or 0) // BLOCK for c in copies]
    assert blocks == ([11, 3] if encrypted else [10, 2])  # an encrypted pack is padded
    assert written_by_last(catalog, NOW) == {"vault": {"movies": copies[1].written_bytes}}
    assert vault.written_bytes(second.key) == copies[1].pack_bytes
    assert vault.written_bytes(made.manifest(at=NOW).key) is None
    (told,) = vaults_of(catalog, {("vault", second.key.folder): used}, NOW)
    assert (told.backups, told.packs, told.use) == (2, 2, 8 / 12)
    assert told.logical_bytes == 18 * BLOCK
    assert told.stored_bytes == sum(c.written_bytes or 0 for c in copies)
    assert "66 % of those it uses" in told.words


def test_packs_that_outlived_their_backup_are_still_stored_bytes(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path / "vault")
    first, _ = two_nights(vault)
    before = vaults_of(read(vault), {}, NOW)[0]
    let_go(vault, first)
    (after,) = vaults_of(read(vault), {}, NOW)
    assert (before.backups, after.backups) == (2, 1)
    assert after.packs == before.packs == 2
    assert before.stored_bytes > after.stored_bytes > 12 * BLOCK
    assert after.use is None  # nothing was measured
    assert "use" not in after.words


def test_a_pack_that_is_gone_is_not_measured(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path / "vault")
    first, second = two_nights(vault)
    (pack,) = (p for p in vault.list_packs(first.key).items() if first.backup_id in p[0])
    vault.store.delete(pack[1].path)
    catalog = read(vault)
    every = [("vault", b) for b in catalog.backups]
    assert measure_packs({"vault": vault}, every) == {}
    assert catalog.find(first.key).copy("vault").pack_bytes == 0  # type: ignore[union-attr]
    assert second.key == catalog.backups[-1].key


def test_a_plain_repository_has_no_packs(tmp_path: Path) -> None:
    plain = repository_on_disk(tmp_path / "plain", "plain")
    two_nights(plain)
    catalog = read(plain)
    assert catalog.packs == {}
    assert vaults_of(catalog, {}, NOW) == ()
    assert written_by_last(catalog, NOW) == {}
    assert measure_packs({"plain": plain}, [("plain", b) for b in catalog.backups]) == {}
    for backup in catalog.backups:
        copy = backup.copy("plain")
        assert (copy.pack_bytes, copy.written_bytes) == (None, copy.stored_bytes)


def test_an_auditor_reads_the_seals_of_an_encrypted_repository(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path / "vault", encrypted=True)
    of = backed_up(vault, numbers=range(2), at=NIGHTS[0])
    seal = made.seal(of)
    vault.put_seal(seal)
    path = in_backup(of.key, SEAL)
    assert believed(vault.store.read(path))[0] is None
    assert vault.read_clear(path) == seal.to_bytes()
    assert believed(vault.read_clear(path))[0] is not None
    (tmp_path / "vault" / path).write_bytes(b"rotten")
    assert vault.read_clear(path) == b"rotten"


def test_what_is_declined_and_what_it_costs_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 4 * BLOCK + pack_writer._SPARE)
    packs = {}
    for share in (0.0, 1.0):
        vault = vault_on_disk(
            tmp_path / f"{share}", f"vault-{share:.0f}", decline=share, price_per_gib_month=1024.0
        )
        backed_up(vault, numbers=range(12), at=made.NOW - timedelta(hours=3))
        for hour in (2, 1):
            backed_up(vault, numbers=(0, 4, 8), at=made.NOW - timedelta(hours=hour))
        age(tmp_path / f"{share}", timedelta(days=2), "packs")
        last = backed_up(vault, numbers=(0, 4, 8), at=made.NOW)
        packs[share] = len(vault.read_recipe(last.key, last.parts[0].file).packs)
        (told,) = vaults_of(read_catalog([vault], cluster=made.CLUSTER), {}, now())
        assert told.monthly_cost == told.stored_bytes / 2**20
        assert f"{told.monthly_cost:.2f} a month" in told.words
    assert packs == {0.0: 3, 1.0: 1}
