"""Make a place a repository, and open it again: never another one, never one that is gone."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    Conflict,
    ObjectMissing,
    RepositoryMismatch,
    RepositoryMissing,
    UsageError,
)
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.records.repository import Layout, RepositoryRecord
from qdrant_dr.repository.open_store import open_place
from qdrant_dr.repository.repository import Repository, is_chunked
from qdrant_dr.version import __version__


def create_repository(
    cfg: RepositoryConfig,
    now: datetime,
    *,
    kind: Layout = "plain",
    encrypt: bool = False,
    stall_timeout: timedelta = timedelta(seconds=90),
) -> str:
    """Make an empty place a repository and return its id. Raise Conflict if it is one already.

    To `encrypt` needs a `key`; a key file that is not there yet is made.
    """
    if encrypt and kind == "plain":
        raise UsageError("only the layout `chunked` is encrypted", "add `--layout chunked`.")
    if cfg.key is not None and not encrypt:
        raise UsageError(
            f"repository {cfg.name} has a `key`, and nothing would be encrypted with it",
            "add `--layout chunked --encrypt`, or take `key` out of the configuration.",
        )
    location, store = open_place(cfg, stall_timeout=stall_timeout, make=True)
    if store.stat(layout.REPOSITORY) is not None:
        raise Conflict(
            f"repository {cfg.name}: {location} is a repository already",
            "`qdrant-dr repository show NAME` prints its id; nothing was changed.",
        )
    slot = _first_slot(cfg, now) if encrypt else None
    record = RepositoryRecord(
        id=secrets.token_hex(4),
        layout=kind,
        created_at=now,
        tool_version=__version__,
        key_id=slot.key_id if slot else None,
    )
    if slot:  # first: no repository is encrypted with a key that nobody can open
        store.create(layout.key_slot(slot.key_id, slot.slot_id), slot.to_bytes())
    store.create(layout.REPOSITORY, record.to_bytes())
    return record.id


def open_repository(cfg: RepositoryConfig, *, stall_timeout: timedelta) -> Repository:
    """Open what `repository create` made.

    Raise RepositoryMissing without a repository.json (an unmounted disk must not look like an
    empty repository), RepositoryMismatch if it has another id than configured,
    KeyMissing or KeyWrong if it is encrypted and the configured `key` does not open it,
    RepositoryUnreachable or RepositoryDenied if it cannot be read.
    """
    found = read_repository(cfg, stall_timeout=stall_timeout)
    if found.id != cfg.id:
        raise RepositoryMismatch(
            f"repository {cfg.name}: {found.location} has id {found.id}, "
            f"the configuration says {cfg.id or 'nothing'}"
        )
    encrypted = is_chunked(found) and found.record.key_id is not None
    if cfg.key is not None and not encrypted:
        raise RepositoryMismatch(
            f"repository {cfg.name}: a `key` is configured, and {found.location} is not encrypted",
            f"remove `key` if it was never meant to be; else find out who changed "
            f"{layout.REPOSITORY}, for nothing is written there in clear.",
        )
    if not encrypted:
        return found
    from qdrant_dr.repository.keyrings import with_keys

    return with_keys(found, cfg)


def read_repository(cfg: RepositoryConfig, *, stall_timeout: timedelta) -> Repository:
    """Open a repository whatever its id, without its keys; for `repository show` and `adopt`."""
    location, store = open_place(cfg, stall_timeout=stall_timeout)
    try:
        data = store.read(layout.REPOSITORY)
    except ObjectMissing:
        raise RepositoryMissing(
            f"repository {cfg.name}: there is no {layout.REPOSITORY} at {location}"
        ) from None
    record = RepositoryRecord.from_bytes(data, where=f"{cfg.name}/{layout.REPOSITORY}")
    return _kind(record)(
        name=cfg.name,
        record=record,
        domain=cfg.domain,
        location=location,
        bandwidth=cfg.bandwidth,
        store=store,
        append_only=cfg.append_only,
        restore_time=cfg.archive_restore_time,
        decline=cfg.decline,
        price=cfg.price_per_gib_month,
    )


# numpy and ciphers take long to load: only who has a chunked repository waits for them


def _kind(record: RepositoryRecord) -> type[Repository]:
    if record.layout == "plain":
        return Repository
    from qdrant_dr.repository.chunked import ChunkedRepository

    return ChunkedRepository


def _first_slot(cfg: RepositoryConfig, now: datetime) -> KeySlot:
    from qdrant_dr.repository.keyrings import first_slot

    return first_slot(cfg, now)
