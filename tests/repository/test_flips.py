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
from qdrant_dr.repository import Repository
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


@pytest.mark.parametrize("kind", ["clear", "encrypted"])
def test_a_flipped_bit_is_never_read_as_good(tmp_path: Path, kind: str) -> None:
    repository = vault_of(tmp_path, kind)
    manifest = backup_in(repository)
    (part,) = manifest.parts
    root = tmp_path / "vault"
    said: Counter[str] = Counter()
    for file in sorted([*root.rglob("*.pack"), *root.rglob("*.recipe")]):
        good, times = file.read_bytes(), file.stat()
        for bit in bits(len(good), box=True):
            touched = bytearray(good)
            touched[bit // 8] ^= 1 << bit % 8
            file.write_bytes(touched)
            with pytest.raises(BoxDamaged):
                check_box(str(file), [bytes(touched)])
            fault = fault_of(repository, manifest)
            assert fault is None or fault in FAULTS, (file.suffix, bit)
            said[fault.__name__ if fault else "unread"] += 1
        file.write_bytes(good)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert b"".join(repository.read_verified(manifest.key, part)) == DATA
    assert sum(said.values()) - said["unread"] > 100
