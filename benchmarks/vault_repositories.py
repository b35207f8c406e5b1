"""What benchmarks do with repositories: create one, back up into it, restore a part."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.digests import StreamDigest
from qdrant_dr.records import Manifest
from qdrant_dr.records.repository import Layout
from qdrant_dr.repository import (
    Repository,
    create_repository,
    fan_out,
    open_repository,
    read_repository,
)
from qdrant_dr.repository.repository import Spool
from qdrant_dr.vault.cut_once import CutOnce
from tests.support import records
from tests.support.stores import AFTER_ALL

BUFFER = 2**20  # bytes: what a download hands on
PATIENCE = timedelta(seconds=300)
KINDS = ("clear", "encrypted")


def create_vault(folder: Path, kind: str) -> Repository:
    """A new repository in a folder: plain, or chunked and clear or encrypted."""
    encrypted = kind == "encrypted"
    cfg = RepositoryConfig(
        name=folder.name, url=folder.as_uri(), domain=folder.name,
        key=f"file:{folder}.key" if encrypted else None,
    )  # fmt: skip
    layout: Layout = "plain" if kind == "plain" else "chunked"
    made = create_repository(cfg, AFTER_ALL, kind=layout, encrypt=encrypted)
    key_id = read_repository(cfg, stall_timeout=PATIENCE).record.key_id
    made_one = cfg.model_copy(update={"id": made, "key_id": key_id})
    return open_repository(made_one, stall_timeout=PATIENCE)


def backed_up(
    repositories: Sequence[Repository], archive: Path, name: str
) -> Mapping[str, Manifest]:
    with archive.open("rb") as file:
        blocks = iter(partial(file.read, BUFFER), b"")
        return {name: write_backup(repositories, blocks, archive.stat().st_size)}


def write_backup(
    repositories: Sequence[Repository], blocks: Iterable[bytes], size: int
) -> Manifest:
    """What a backup does with a stream, up to its manifest."""
    digest = StreamDigest()
    stream = CutOnce(sum(r.record.layout == "chunked" for r in repositories), digest)
    plain = records.manifest("bench", at=datetime.now(UTC))
    key, file = plain.key, plain.parts[0].file
    sinks = {r.name: partial(r.part_sink, key, file, size, stream, digest) for r in repositories}
    written = fan_out(blocks, sinks, stall_timeout=PATIENCE, digest=digest)
    if written.left_behind:
        raise next(iter(written.left_behind.values()))
    receipt = written.receipts[repositories[0].name]
    about = {"size_bytes": size, "sha256": receipt.sha256, "blocks": receipt.blocks}
    part = plain.parts[0].model_copy(update=about)
    manifest = plain.model_copy(update={"parts": (part,)})
    for repository in repositories:
        repository.commit(manifest)
    return manifest


def restore_part(
    repository: Repository, manifest: Manifest, out: Path, spool: Spool | None = None
) -> None:
    with out.open("wb") as file:
        for block in repository.read_whole(manifest.key, manifest.parts[0], spool):
            file.write(block)


def check_file(out: Path, archive: Path) -> None:
    assert sha256_of(out) == sha256_of(archive)
    out.unlink()


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def stored_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def seconds_of(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin
