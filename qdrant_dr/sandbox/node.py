"""The node: collections, aliases and the files of their snapshots."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from qdrant_dr.sandbox.archive import unpack_archive
from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import ApiError, Json, not_found, wrong_input
from qdrant_dr.sandbox.settings import dense_vectors, describe_vectors
from qdrant_dr.sandbox.upload import Received

_BLOCK = 1 << 20


class Node:
    """`data` holds `collections/`, `snapshots/` and `tmp/`; the names above them live in memory."""

    def __init__(self, data: Path) -> None:
        self.peer_id = secrets.randbelow(2**53)
        self.id = str(uuid.uuid4())
        self.startup = datetime.now(UTC)
        self.temp = data / "tmp"
        self.temp.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._collections: dict[str, Collection] = {}
        self._aliases: dict[str, str] = {}
        self._lock = threading.RLock()

    # Collections and aliases.

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._collections)

    def find(self, name: str) -> Collection:
        """By name or alias. Raise ApiError 404."""
        with self._lock:
            try:
                return self._collections[self._aliases.get(name, name)]
            except KeyError:
                raise not_found(f"Collection `{name}` doesn't exist!") from None

    def exists(self, name: str) -> bool:
        with self._lock:
            return self._aliases.get(name, name) in self._collections

    def create(self, name: str, config: dict[str, Json]) -> None:
        """Raise ApiError 409 when the name is taken, 400 when it is an alias."""
        with self._lock:
            if name in self._collections:
                raise _taken(name)
            if name in self._aliases:
                text = f"Can't create collection with name {name}. "
                raise wrong_input(text + "Alias with the same name already exists")
            self._collections[name] = Collection.create(name, self._new_folder(), config)

    def delete(self, name: str) -> bool:
        """The snapshots stay, out of reach until the name exists again, as in Qdrant."""
        with self._lock:
            collection = self._collections.pop(name, None)
            self._aliases = {a: c for a, c in self._aliases.items() if c != name}
        if collection:
            collection.drop()
        return collection is not None

    def aliases(self, name: str | None = None) -> list[dict[str, str]]:
        with self._lock:
            pairs = sorted(self._aliases.items())
        return [
            {"alias_name": alias, "collection_name": collection}
            for alias, collection in pairs
            if name in (None, collection)
        ]

    def change_aliases(self, actions: Json) -> None:
        """All of them, or, when one is refused, those before it, as in Qdrant."""
        with self._lock:
            for action in actions:
                ((kind, told),) = action.items()
                if kind == "create_alias":
                    self._create_alias(told["alias_name"], told["collection_name"])
                elif kind == "delete_alias":
                    self._aliases.pop(told["alias_name"], None)
                elif kind == "rename_alias":
                    old = told["old_alias_name"]
                    if old not in self._aliases:
                        raise not_found(f"Alias {old} does not exists!")
                    self._aliases[told["new_alias_name"]] = self._aliases.pop(old)
                else:
                    raise ApiError(400, f"Format error in JSON body: unknown action `{kind}`")

    def _create_alias(self, alias: str, name: str) -> None:
        if name not in self._collections:
            raise not_found(f"Collection `{name}` doesn't exist!")
        if alias in self._collections:
            raise _taken(alias)
        self._aliases[alias] = name

    # Snapshots.

    def create_snapshot(self, name: str) -> dict[str, Json]:
        """Built aside, then renamed: it is listed whole or not at all.

        Names have a resolution of one second, so that two made in the same one share a name and
        the later stays: as in Qdrant.
        """
        collection = self.find(name)
        stamp = datetime.now(UTC).strftime("%Y-%m-%d-%H-%M-%S")
        file_name = f"{collection.name}-{self.peer_id}-{stamp}.snapshot"
        building = self.temp_file()
        try:
            collection.write_snapshot(building, self.peer_id)
            digest = _sha256(building)
            final = self._snapshot_folder(collection.name) / file_name
            final.parent.mkdir(parents=True, exist_ok=True)
            building.rename(final)
            _checksum_file(final).write_text(digest)
        finally:
            building.unlink(missing_ok=True)
        return _described(final)

    def snapshots(self, name: str) -> list[dict[str, Json]]:
        folder = self._snapshot_folder(self.find(name).name)
        return [_described(path) for path in sorted(folder.glob("*.snapshot"))]

    def snapshot(self, name: str, file_name: str) -> Path:
        """Raise ApiError 404."""
        path = self._snapshot_folder(self.find(name).name) / file_name
        if Path(file_name).name != file_name or not path.is_file():
            raise not_found(f"Snapshot {file_name} not found")
        return path

    def delete_snapshot(self, name: str, file_name: str) -> None:
        path = self.snapshot(name, file_name)
        path.unlink()
        _checksum_file(path).unlink(missing_ok=True)

    def recover(self, name: str, upload: Received) -> None:
        """Restore an uploaded archive into `name`, which is created if need be.

        The file stays among the snapshots of that name until somebody deletes it, whatever becomes
        of the restore: as in Qdrant. Raise ApiError.
        """
        target = self._aliases.get(name, name)
        kept = self._snapshot_folder(target) / (upload.file_name or f"{uuid.uuid4()}.snapshot")
        kept.parent.mkdir(parents=True, exist_ok=True)
        upload.path.rename(kept)
        folder = self._new_folder()
        try:
            archive = unpack_archive(kept, folder)
            with self._lock:
                existing = self._collections.get(target)
            if existing:
                _check_fit(existing.config, archive.config)
                existing.replace(folder, archive)
            else:
                restored = Collection.restore(target, folder, archive)
                with self._lock:
                    self._collections[target] = restored
        except BaseException:
            shutil.rmtree(folder)
            raise

    def temp_file(self) -> Path:
        return self.temp / uuid.uuid4().hex

    def close(self) -> None:
        for name in self.names():
            self.delete(name)

    def _new_folder(self) -> Path:
        return self._data / "collections" / uuid.uuid4().hex

    def _snapshot_folder(self, name: str) -> Path:
        return self._data / "snapshots" / hashlib.sha256(name.encode()).hexdigest()


def etag(path: Path) -> str:
    """Strong: inode, size and time, as actix makes it."""
    stat = path.stat()
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 10**9)
    return f'"{stat.st_ino:x}:{stat.st_size:x}:{seconds:x}:{nanoseconds:x}"'


def disposition(name: str) -> str:
    """The name of a download; what is not ASCII travels percent-encoded (RFC 6266)."""
    if name.isascii():
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=UTF-8''{quote(name)}"


def _described(path: Path) -> dict[str, Json]:
    stat = path.stat()
    created = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    described: dict[str, Json] = {"name": path.name, "creation_time": created, "size": stat.st_size}
    checksum = _checksum_file(path)
    if checksum.exists():
        described["checksum"] = checksum.read_text()
    return described


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.checksum")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _check_fit(existing: dict[str, Json], archived: dict[str, Json]) -> None:
    """Only vectors and the number of shards must agree; raise ApiError 400."""
    if dense_vectors(existing) != dense_vectors(archived):
        raise wrong_input(
            "Snapshot is not compatible with existing collection: "
            f"Collection vectors: {describe_vectors(existing)} "
            f"Snapshot Vectors: {describe_vectors(archived)}"
        )
    mine, theirs = existing["params"]["shard_number"], archived["params"]["shard_number"]
    if mine != theirs:
        raise wrong_input(
            "Snapshot is not compatible with existing collection: "
            f"Collection shard number: {mine} Snapshot shard number: {theirs}"
        )


def _taken(name: str) -> ApiError:
    return ApiError(409, f"Wrong input: Collection `{name}` already exists!")
