"""Encrypted repositories, and what lies in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.repository import (
    Repository,
    create_repository,
    open_repository,
    read_repository,
)

PATIENCE = timedelta(seconds=60)


def encrypted_config(cfg: RepositoryConfig, key: str, made_at: datetime) -> RepositoryConfig:
    """The configuration of a new encrypted repository there, opened by `key`."""
    wanted = cfg.model_copy(update={"key": key})
    made = create_repository(wanted, made_at, kind="chunked", encrypt=True)
    return pinned(wanted.model_copy(update={"id": made}))


def pinned(cfg: RepositoryConfig) -> RepositoryConfig:
    """The configuration, with the id of the master key that is there."""
    there = read_repository(cfg, stall_timeout=PATIENCE).record.key_id
    return cfg.model_copy(update={"key_id": there})


def encrypted_on_disk(folder: Path, name: str = "vault") -> RepositoryConfig:
    """A new encrypted repository in a folder, with a key file beside it."""
    cfg = RepositoryConfig(name=name, url=f"file://{folder / name}", domain="d")
    return encrypted_config(cfg, f"file:{folder / name}.key", datetime(2100, 1, 1, tzinfo=UTC))


def opened(cfg: RepositoryConfig) -> Repository:
    return open_repository(cfg, stall_timeout=PATIENCE)


def written_below(folder: Path) -> bytes:
    """All bytes of all files below a folder."""
    return b"\0".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
