"""Snapshot files on disk: stored whole or not at all, listed, described, deleted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from qdrant_dr.sandbox.http import SLASH, Json, not_found

_BLOCK = 1 << 20


def stamp() -> str:
    """Return the time in the name of a snapshot. Its resolution is one second: of two made in the
    same second, which share a name, the later one stays, as in Qdrant."""
    return datetime.now(UTC).strftime("%Y-%m-%d-%H-%M-%S")


def store(built: Path, final: Path) -> dict[str, Json]:
    """Move a finished file to its place, its checksum beside it, and describe it."""
    digest = sha256(built)
    final.parent.mkdir(parents=True, exist_ok=True)
    built.rename(final)
    checksum_file(final).write_text(digest)
    return describe(final)


def listed(folder: Path) -> list[dict[str, Json]]:
    return [describe(path) for path in sorted(folder.glob("*.snapshot"))]


def find(folder: Path, name: str) -> Path:
    """Raise ApiError 404, also for a name that is a path."""
    name = name.replace(SLASH, "/")
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise not_found(f"Snapshot {name} not found")
    return path


def find_of_shard(folder: Path, name: str) -> Path:
    """Find the file of a shard's snapshot, where Qdrant names the whole path. Raise ApiError
    404."""
    name = name.replace(SLASH, "/")
    path = folder / name
    if Path(name).name == name and not path.is_file():
        raise not_found(f'Snapshot "{path}" not found')
    return find(folder, name)


def delete(path: Path) -> None:
    path.unlink()
    checksum_file(path).unlink(missing_ok=True)


def describe(path: Path) -> dict[str, Json]:
    stat = path.stat()
    created = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    described: dict[str, Json] = {"name": path.name, "creation_time": created, "size": stat.st_size}
    checksum = checksum_file(path)
    if checksum.exists():
        described["checksum"] = checksum.read_text()
    return described


def checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.checksum")


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def etag(path: Path) -> str:
    """Build a strong ETag from inode, size and time, as actix does."""
    stat = path.stat()
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 10**9)
    return f'"{stat.st_ino:x}:{stat.st_size:x}:{seconds:x}:{nanoseconds:x}"'


def disposition(name: str) -> str:
    """Build the header with the name of a download; what is not ASCII is percent-encoded (RFC
    6266)."""
    if name.isascii():
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=UTF-8''{quote(name)}"
