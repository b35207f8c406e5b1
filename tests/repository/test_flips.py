"""Every flipped bit of a chunked repository is caught: by whoever reads the part, or, without a
key, by whoever reads the object."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import BoxDamaged, BytesDiffer, DRError, ObjectMissing
from qdrant_dr.records import Manifest
from qdrant_dr.repository import Copy, Repository, read_catalog
from qdrant_dr.vault.box import FOOTER, check_box
from tests.support import records as made
from tests.support.encrypted import encrypted_on_disk, opened
from tests.support.stores import repository_in

THOROUGH = bool(os.environ.get("QDR_THOROUGH"))
DATA = random.Random(1).randbytes(90_000) + bytes(70_000)
FAULTS = (BytesDiffer, ObjectMissing, BoxDamaged)


def vault_of(folder: Path, kind: str) -> Repository:
    if kind == "encrypted":
        return opened(encrypted_on_disk(folder))
    cfg = RepositoryConfig(name="vault", url=f"file://{folder / 'vault'}", domain="d")
    return repository_in(cfg, kind="chunked")


def backup_in(repository: Repository) -> Manifest:
    plain = made.manifest("movies")
    sha256 = hashlib.sha256(DATA).hexdigest()
    part = plain.parts[0].model_copy(update={"size_bytes": len(DATA), "sha256": sha256})
    manifest = plain.model_copy(update={"parts": (part,)})
    sink = repository.part_sink(manifest.key, part.file, len(DATA))
    sink.write(DATA)
    sink.commit()
    repository.commit(manifest)
    repository.put_seal(made.seal(manifest))
    return manifest


def bits(size: int, box: bool) -> Iterator[int]:
    """All of the end and the beginning, and some between."""
    chosen = random.Random(2).sample(range(size * 8), min(size * 8, 4000 if THOROUGH else 120))
    yield from chosen
    if box:
        end = range((size - FOOTER) * 8, size * 8, 1 if THOROUGH else 11)
        yield from (*range(0, 64, 1 if THOROUGH else 5), *end)


def fault_of(repository: Repository, manifest: Manifest) -> type[DRError] | None:
    """What a reader of the part is told; None if the flip was in padding, or in the digest that
    only readers of the whole object compare."""
    try:
        read = b"".join(repository.read_verified(manifest.key, manifest.parts[0]))
    except DRError as e:
        return type(e)
    assert read == DATA
    return None


def flips(file: Path, *, box: bool) -> Iterator[int]:
    """Flip bits of a file, one at a time; it is as it was in the end."""
    good, times = file.read_bytes(), file.stat()
    for bit in bits(len(good), box):
        touched = bytearray(good)
        touched[bit // 8] ^= 1 << bit % 8
        file.write_bytes(touched)
        yield bit
    file.write_bytes(good)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def the(folder: Path, pattern: str) -> Path:
    (found,) = (folder / "vault").rglob(pattern)
    return found


@pytest.mark.parametrize("kind", ["clear", "encrypted"])
def test_a_flipped_bit_is_never_read_as_good(tmp_path: Path, kind: str) -> None:
    repository = vault_of(tmp_path, kind)
    manifest = backup_in(repository)
    (part,) = manifest.parts
    root = tmp_path / "vault"
    said: Counter[str] = Counter()
    for file in sorted([*root.rglob("*.pack"), *root.rglob("*.recipe")]):
        for bit in flips(file, box=True):
            with pytest.raises(BoxDamaged):
                check_box(str(file), [file.read_bytes()])
            fault = fault_of(repository, manifest)
            assert fault is None or fault in FAULTS, (file.suffix, bit)
            said[fault.__name__ if fault else "unread"] += 1
    assert b"".join(repository.read_verified(manifest.key, part)) == DATA
    assert sum(said.values()) - said["unread"] > 100


def looked_at(repository: Repository) -> tuple[Copy, set[str]]:
    """What a look without reading parts finds: the copy, and the codes of what cannot be read."""
    known = read_catalog([repository], cluster=made.manifest("movies").cluster)
    (backup,) = known.backups
    return backup.copy(repository.name), {u.error.code for u in known.unreadable}


@pytest.mark.parametrize("kind", ["clear", "encrypted"])
def test_a_flip_in_a_recipe_is_seen_without_reading_a_part(tmp_path: Path, kind: str) -> None:
    repository = vault_of(tmp_path, kind)
    (part,) = backup_in(repository).parts
    assert looked_at(repository)[0].state == "present"
    for bit in flips(the(tmp_path, "*.recipe"), box=True):
        copy, codes = looked_at(repository)
        assert copy.lacks == (part.file,) or codes, bit
        assert codes <= {"record-unknown", "key-missing"}, bit
    assert looked_at(repository)[0].state == "present"


@pytest.mark.parametrize("kind", ["clear", "encrypted"])
@pytest.mark.parametrize("record", ["seal.json", "manifest.json"])
def test_a_flip_in_a_record_of_a_backup_is_seen(tmp_path: Path, kind: str, record: str) -> None:
    repository = vault_of(tmp_path, kind)
    backup_in(repository)
    for bit in flips(the(tmp_path, record), box=False):
        known = read_catalog([repository], cluster=made.manifest("movies").cluster)
        assert known.unreadable, bit
        assert not [c for b in known.backups for c in b.copies if c.state == "present"], bit
    assert looked_at(repository)[1] == set()


@pytest.mark.parametrize("name", ["repository.json", "key slot"])
def test_a_flip_in_what_opens_a_repository_never_gives_other_bytes(
    tmp_path: Path, name: str
) -> None:
    """Where it opens nevertheless, it is the same repository with the same key."""
    cfg = encrypted_on_disk(tmp_path)
    repository = opened(cfg)
    manifest = backup_in(repository)
    (file,) = [the(tmp_path, name)] if "." in name else (tmp_path / "vault/keys").rglob("*.json")
    refused = 0
    for _ in flips(file, box=False):
        try:
            again = opened(cfg)
        except DRError:
            refused += 1
            continue
        assert (again.id, again.record.layout) == (repository.id, "chunked")
        assert again.keys is not None
        assert again.keys.newest == repository.keys.newest  # type: ignore[union-attr]
        assert fault_of(again, manifest) is None
    assert refused > 20
