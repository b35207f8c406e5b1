"""A whole backup's life in a repository, on every store and in every layout."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from qdrant_dr.errors import BytesDiffer, CannotSign, ManifestConflict, RepositoryMissing
from qdrant_dr.repository import (
    Repository,
    is_proven,
    plan_sweep,
    read_catalog,
    read_repository,
    sweep,
)
from qdrant_dr.stores.base import fill
from tests.support import records as made
from tests.support.backed_up import DATA, MIB, backed_up, blocks
from tests.support.stores import Place, repository_in


@pytest.fixture(params=["plain", "chunked"])
def repository(place: Place, request: pytest.FixtureRequest) -> Repository:
    return repository_in(place.config("here"), kind=request.param)


def _overwrite(repository: Repository, path: str, data: bytes) -> None:
    fill(repository.store.sink(path, replace=True), blocks(data))


def _cut_off(repository: Repository, path: str) -> None:
    (there,) = [s for s in repository.store.find(path.rpartition("/")[0]) if s.path == path]
    left = b"".join(repository.store.read_range(path, 0, there.size_bytes - 1))
    _overwrite(repository, path, left)


def test_a_backup_is_made_proven_damaged_and_healed(repository: Repository) -> None:
    manifest = backed_up(repository)
    seal = made.seal(manifest)
    repository.put_seal(seal)
    proof = made.proof(
        manifest, repository_id=repository.id, location=repository.location, ended_at=made.NOW
    )
    repository.add_proof(proof)
    (backup,) = read_catalog([repository], cluster="prod").backups
    copy = backup.copy("here")
    assert (backup.manifest, backup.seal, copy.state) == (manifest, seal, "present")
    assert copy.proofs == (proof,)
    assert is_proven(backup, copy, depth="content", max_age=timedelta(days=8), now=made.NOW)
    rotten = DATA[:-1]
    if repository.record.layout == "plain":
        _overwrite(repository, f"backups/{manifest.key.folder}/collection.snapshot", rotten)
    else:
        _cut_off(repository, repository.find("packs")[0].path)
        with pytest.raises(BytesDiffer):
            b"".join(repository.read_part(manifest.key, manifest.parts[0]))
        repository.store.delete(f"backups/{manifest.key.folder}/collection.recipe")
    (backup,) = read_catalog([repository], cluster="prod").backups
    copy = backup.copy("here")
    assert (copy.state, copy.lacks) == ("damaged", ("collection.snapshot",))
    assert not is_proven(backup, copy, depth="content", max_age=timedelta(days=8), now=made.NOW)
    with pytest.raises(BytesDiffer):
        repository.replace_part(manifest.key, manifest.parts[0], blocks(rotten))
    repository.replace_part(manifest.key, manifest.parts[0], blocks())
    assert b"".join(repository.read_part(manifest.key, manifest.parts[0])) == DATA
    assert repository.part_size(manifest.key, manifest.parts[0]) == len(DATA)
    assert read_catalog([repository], cluster="prod").backups[0].copy("here").state == "present"
    with pytest.raises(ManifestConflict):
        repository.commit(manifest.model_copy(update={"note": "another"}))


def test_what_a_dead_run_left_is_swept_and_a_backup_is_not(repository: Repository) -> None:
    manifest = backed_up(repository)
    orphan = made.manifest(at=made.NOW - timedelta(days=9))
    repository.store.create(f"backups/{orphan.key.folder}/intent.json", b"{}")
    for kind in ("snapshot", "recipe"):
        repository.store.create(f"backups/{orphan.key.folder}/collection.{kind}", b"half")
    catalog = read_catalog([repository], cluster="prod")
    clock = max(f.modified_at for f in repository.find("backups"))
    young = plan_sweep(catalog, "here", store_now=clock)
    assert (young.folders, len(young.kept)) == ((), 1)
    old = plan_sweep(catalog, "here", store_now=clock + timedelta(hours=49))
    assert sweep(repository, old).removed == (orphan.key.folder,)
    after = read_catalog([repository], cluster="prod")
    (calls,) = after.unfinished  # what a call may have left on a node is still known
    assert [f.path.rpartition("/")[2] for f in calls.files] == ["intent.json"]
    assert [b.manifest for b in after.backups] == [manifest]


def test_a_second_backup_stores_what_changed(place: Place) -> None:
    repository = repository_in(place.config("here"), kind="chunked")
    first = backed_up(repository, at=made.NOW - timedelta(days=1))
    before = {s.path: s.size_bytes for s in repository.find("packs")}
    changed = DATA[:MIB] + secrets.token_bytes(65536) + DATA[MIB + 65536 :]
    second = backed_up(repository, data=changed)
    new = {s.path: s.size_bytes for s in repository.find("packs") if s.path not in before}
    assert 65536 < sum(new.values()) < 70000
    for manifest, data in ((first, DATA), (second, changed)):
        (part,) = manifest.parts
        assert b"".join(repository.read_verified(manifest.key, part)) == data
        assert (
            b"".join(repository.read_part(manifest.key, part, 70000, 3 * MIB))
            == (data[70000 : 3 * MIB])
        )
    catalog = read_catalog([repository], cluster="prod")
    assert [b.copy("here").state for b in catalog.backups] == ["present", "present"]
    assert not catalog.strangers
    with pytest.raises(CannotSign, match="no URL of it is an archive"):
        repository.presigned(first.key, first.parts[0], 60)


def test_a_place_without_a_repository_is_an_error(place: Place) -> None:
    if place.kind == "file":
        pytest.skip("a folder that is missing is tested in tests/repository")
    with pytest.raises(RepositoryMissing, match=r"no repository\.json"):
        read_repository(place.config(), stall_timeout=timedelta(seconds=30))
