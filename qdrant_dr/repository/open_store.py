"""From a configured repository to its location and its store.

Nothing is reached here; how a client is made stands in `providers`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import ConfigInvalid, DRError, StoreOverwrites
from qdrant_dr.location_key import KINDS, Place, client_options, place_of, split_url
from qdrant_dr.records import Location
from qdrant_dr.secrets import resolve_options
from qdrant_dr.stores.base import Store
from qdrant_dr.stores.errors import translate
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.stores.loops import loop_of
from qdrant_dr.stores.memory import MemoryStore
from qdrant_dr.stores.object_store import Deadlines, ObjectStore
from qdrant_dr.stores.providers import make_filesystem

_USABLE = "s3://, gs://, abfss:// or a folder (a disk or a mount)"
_MOUNTED = (
    f"mount it, and give the folder as `url`; `check` tells whether it serves. Or use {_USABLE}."
)
INSTEAD = {
    **dict.fromkeys(
        ("smb", "nfs", "cifs", "sftp", "ssh", "webhdfs", "hdfs", "dav", "webdav"), _MOUNTED
    ),
    **dict.fromkeys(
        ("http", "https"),
        "for a bucket behind that address write s3://BUCKET/PREFIX and `options: {endpoint_url: "
        "https://HOST}`, or gs://BUCKET/PREFIX for Google's.",
    ),
    "r2": "write s3://BUCKET/PREFIX and the `endpoint_url` of the account (see docs/stores.md).",
    "b2": "write s3://BUCKET/PREFIX and the `endpoint_url` of the region (see docs/stores.md).",
    "minio": "write s3://BUCKET/PREFIX and the server's `endpoint_url` (see docs/stores.md).",
    "oci": "write s3://BUCKET/PREFIX and the compatibility `endpoint_url` (see docs/stores.md).",
}
"""What to write for a protocol that is no store of ours; `_USABLE` for all others."""
_EXTRAS = {"s3": "", "gs": "[gcs]", "az": "[azure]"}


def location_of(cfg: RepositoryConfig) -> Location:
    """Return protocol, endpoint or account, bucket and prefix. Raise ConfigInvalid,
    SecretMissing."""
    kind = _kind(cfg)
    if kind == "file":
        folder = Path(split_url(cfg.url)[1]).expanduser().resolve().as_posix()[1:]
        return Location(protocol=kind, endpoint="", bucket="", prefix=folder)
    return _location(cfg, place_of(cfg.url, cfg.options, credentials=cfg.credentials, look_up=True))


def open_store(cfg: RepositoryConfig, *, stall_timeout: timedelta, make: bool = False) -> Store:
    """Open the store of a repository without reading; `make` allows a local folder to be made."""
    return open_place(cfg, stall_timeout=stall_timeout, make=make)[1]


def open_place(
    cfg: RepositoryConfig, *, stall_timeout: timedelta, make: bool = False
) -> tuple[Location, Store]:
    """Return location and store; each of their secrets is resolved only once."""
    kind = _kind(cfg)
    if kind not in KINDS.values():
        where = location_of(cfg)
        if kind == "memory":
            return where, MemoryStore(cfg.name, str(where))
        return where, LocalStore(cfg.name, Path("/") / where.prefix, make=make)
    options = resolve_options(cfg.options, cfg.credentials)
    where = _location(cfg, place_of(cfg.url, options))
    deadlines = Deadlines(patient=stall_timeout.total_seconds())
    fs = _filesystem(cfg, kind, options, where)
    return where, ObjectStore(cfg.name, fs, kind, where.bucket, where.prefix, deadlines)


def _kind(cfg: RepositoryConfig) -> str:
    kind, _ = split_url(cfg.url)
    if kind not in {"file", "memory", *KINDS.values()}:
        raise StoreOverwrites(
            f"repository {cfg.name}: {kind}:// cannot create an object without overwriting one, "
            "so no backup there would be safe",
            INSTEAD.get(kind, f"use {_USABLE}."),
        )
    return kind


def _location(cfg: RepositoryConfig, place: Place) -> Location:
    if not place.bucket:
        raise ConfigInvalid(f"repository {cfg.name}: {cfg.url!r} names no bucket")
    return Location(
        protocol=place.kind, endpoint=place.endpoint, bucket=place.bucket, prefix=place.prefix
    )


def _filesystem(cfg: RepositoryConfig, kind: str, resolved: dict[str, Any], where: Location) -> Any:
    try:
        options = client_options(cfg.url, resolved)
    except ValueError as e:
        raise ConfigInvalid(
            f"repository {cfg.name}: {e}",
            "name one account, in the URL, as `account_name` or in a connection string; unset the "
            "variable if it is for something else.",
        ) from None
    try:
        return make_filesystem(kind, options, cfg.tls, loop_of(str(where)))
    except ImportError:
        raise ConfigInvalid(
            f"repository {cfg.name}: {kind}:// needs a package that is not installed",
            f"run `pip install 'qdrant-dr{_EXTRAS[kind]}'`.",
        ) from None
    except (TypeError, ValueError) as e:
        raise ConfigInvalid(
            f"repository {cfg.name}: its options make no {kind} client ({type(e).__name__})",
            "compare `options:` with the documentation of fsspec's file system.",
        ) from None
    except DRError:
        raise
    except Exception as e:  # noqa: BLE001 -- whatever a provider's library raises, the table knows or names
        raise translate(e, repository=cfg.name, doing="opening") from None
