"""Chunked repositories on disk, with backups of blocks that are known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.digests import StreamDigest
from qdrant_dr.records import Manifest
from qdrant_dr.repository import (
    Repository,
    create_repository,
    delete_copy,
    open_repository,
    record_expiry,
)
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.vault.box import BLOCK
from tests.support import records as made
from tests.support.encrypted import pinned
from tests.support.stores import AFTER_ALL


def vault_on_disk(
    folder: Path, name: str = "vault", *, encrypted: bool = False, **fields: object
) -> ChunkedRepository:
    """A new chunked repository in a folder; if encrypted, with a key file beside it."""
    if encrypted:
        fields["key"] = f"file:{folder}.key"
    cfg = RepositoryConfig(name=name, url=f"file://{folder}", domain=f"domain-{name}", **fields)
    made_id = create_repository(cfg, AFTER_ALL, kind="chunked", encrypt=encrypted)
    cfg = cfg.model_copy(update={"id": made_id})
    cfg = pinned(cfg) if encrypted else cfg
    found = open_repository(cfg, stall_timeout=timedelta(seconds=60))
    assert isinstance(found, ChunkedRepository)
    return found


def block(number: int) -> bytes:
    """A block that is like no other and does not shrink."""
    return Random(number).randbytes(BLOCK)


def content(numbers: Iterable[int]) -> bytes:
    """These blocks, one after the other: no tar, so they are cut where they join."""
    return b"".join(map(block, numbers))


def written(
    *repositories: Repository, numbers: Iterable[int], at: datetime, collection: str = "movies"
) -> Manifest:
    """The part of a backup in all of them, without its manifest."""
    data = content(numbers)
    plain = made.manifest(collection, at=at)
    digest = StreamDigest()
    digest.update(data)
    part = plain.parts[0].model_copy(
        update={"size_bytes": len(data), "sha256": digest.sha256, "blocks": digest.blocks}
    )
    of = plain.model_copy(update={"parts": (part,)})
    for repository in repositories:
        sink = repository.part_sink(of.key, part.file, len(data))
        sink.write(data)
        sink.commit()
    return of


def backed_up(
    *repositories: Repository, numbers: Iterable[int], at: datetime, collection: str = "movies"
) -> Manifest:
    """A backup of these blocks in all of them."""
    of = written(*repositories, numbers=numbers, at=at, collection=collection)
    for repository in repositories:
        repository.commit(of)
    return of


def let_go(repository: Repository, of: Manifest) -> None:
    """What `expire` does with a copy."""
    record_expiry(repository, made.expired(of))
    delete_copy(repository, of.key.folder)


def age(root: Path, by: timedelta, below: str = "") -> None:
    """Make every file below a folder so much older."""
    for file in sorted((root / below).rglob("*")):
        if file.is_file():
            then = file.stat().st_mtime - by.total_seconds()
            os.utime(file, (then, then))


def names(root: Path, below: str) -> set[str]:
    """The names of the files below a folder."""
    return {p.name for p in (root / below).rglob("*") if p.is_file()}


def now() -> datetime:
    return datetime.now(UTC)
