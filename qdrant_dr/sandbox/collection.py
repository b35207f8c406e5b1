"""One collection: shards behind a name, its configuration and its payload schema."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from qdrant_dr.sandbox.archive import Unpacked, write_archive
from qdrant_dr.sandbox.http import Json, not_found
from qdrant_dr.sandbox.settings import edge_config, updated_config
from qdrant_dr.sandbox.shard import Shard
from qdrant_dr.sandbox.translate import PointId, id_order, index_in, index_out

_LOWER_IS_BETTER = ("Euclid", "Manhattan")


class Collection:
    """Every method takes the lock: requests are answered by a pool of threads.

    A snapshot lets writers in between and therefore has a mutex of its own, taken before the lock,
    against everything that flushes, replaces or drops the shards meanwhile.
    """

    def __init__(
        self, name: str, folder: Path, config: dict[str, Json], schema: Json, shards: list[Shard]
    ) -> None:
        self.name = name
        self.config = config
        self._folder = folder
        self._schema = schema
        self._open = shards
        self._dropped = False
        self._steady = threading.Lock()
        self._lock = threading.RLock()

    @classmethod
    def create(cls, name: str, folder: Path, config: dict[str, Json]) -> Collection:
        numbers = range(config["params"]["shard_number"])
        shards = [Shard.create(n, folder / str(n), edge_config(config)) for n in numbers]
        return cls(name, folder, config, {}, shards)

    @classmethod
    def restore(cls, name: str, folder: Path, archive: Unpacked) -> Collection:
        """A new collection from an archive laid out in `folder`."""
        return cls(name, folder, archive.config, archive.schema, _load(archive))

    def replace(self, folder: Path, archive: Unpacked) -> None:
        """The archive's points; configuration and payload schema stay this collection's own."""
        with self._steady, self._lock:
            shards = _load(archive)
            self._close()
            self._folder, self._open = folder, shards
            for field, schema in self._schema.items():
                self._everywhere(edge.UpdateOperation.create_field_index(field, index_in(schema)))

    def drop(self) -> None:
        with self._steady, self._lock:
            self._close()
            self._dropped = True

    def _close(self) -> None:
        for shard in self._open:
            shard.close()
        shutil.rmtree(self._folder)

    @property
    def _shards(self) -> list[Shard]:
        """Raise ApiError 404 for a request that found the collection just before it was dropped."""
        if self._dropped:
            raise not_found(f"Collection `{self.name}` doesn't exist!")
        return self._open

    # Writes: each returns an operation number, as a server does.

    def upsert(self, points: Sequence[edge.Point]) -> int:
        with self._lock:
            by_shard = self._placed(points)
            return max(
                (s.update(edge.UpdateOperation.upsert_points(p)) for s, p in by_shard),
                default=self._shards[0].operation,
            )

    def update(self, operation: edge.UpdateOperation) -> int:
        """To every shard: a point that another hash placed is found too."""
        with self._lock:
            return self._everywhere(operation)

    def create_index(self, field: str, schema: Json) -> int:
        """A server logs it twice: once as its consensus would, once as an update."""
        with self._lock:
            operation = edge.UpdateOperation.create_field_index(field, index_in(schema))
            self._everywhere(operation)
            self._schema[field] = schema
            return self._everywhere(operation)

    def delete_index(self, field: str) -> int:
        with self._lock:
            operation = edge.UpdateOperation.delete_field_index(field)
            self._everywhere(operation)
            self._schema.pop(field, None)
            return self._everywhere(operation)

    def configure(self, request: Json) -> None:
        """Take the new configuration and optimize once, now: there is no optimizer behind."""
        with self._steady, self._lock:
            self.config = updated_config(self.config, request)
            for shard in self._shards:
                shard.optimize()

    # Reads.

    def count(self, where: edge.Filter | None, shard: int | None = None) -> int:
        with self._lock:
            return sum(s.count(where) for s in self._chosen(shard))

    def scroll(
        self,
        offset: PointId | None,
        limit: int,
        where: edge.Filter | None,
        payload: Any,
        vector: Any,
        shard: int | None = None,
    ) -> tuple[list[edge.Record], PointId | None]:
        """A page in the order of ids, and the id that the next one starts with."""
        with self._lock:
            found = [
                record
                for s in self._chosen(shard)
                for record in s.scroll(offset, limit + 1, where, payload, vector)
            ]
        found.sort(key=lambda record: id_order(record.id))  # type: ignore[arg-type]
        beyond = found[limit].id if len(found) > limit else None
        return found[:limit], beyond  # type: ignore[return-value]

    def retrieve(self, ids: Sequence[PointId], payload: Any, vector: Any) -> list[edge.Record]:
        with self._lock:
            found = {r.id: r for s in self._shards for r in s.retrieve(ids, payload, vector)}
        return [found[i] for i in dict.fromkeys(ids) if i in found]

    def query(self, request: edge.QueryRequest, distance: str | None) -> list[edge.ScoredPoint]:
        """Best first over all shards, `request.limit` points."""
        with self._lock:
            found = [point for shard in self._shards for point in shard.query(request)]
        found.sort(key=lambda point: point.score, reverse=distance not in _LOWER_IS_BETTER)
        return found[: request.limit]

    def info(self) -> dict[str, Json]:
        """`GET /collections/{c}`; the payload schema is what the segments say, as in Qdrant."""
        with self._lock:
            infos = [shard.info() for shard in self._shards]
        schema: dict[str, Json] = {}
        for field, index in ((f, i) for info in infos for f, i in info.payload_schema.items()):
            told = index_out(index, self._schema.get(field))
            told["points"] += schema.get(field, {"points": 0})["points"]
            schema[field] = told
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": sum(info.indexed_vectors_count for info in infos),
            "points_count": sum(info.points_count for info in infos),
            "segments_count": sum(info.segments_count for info in infos),
            "config": self.config,
            "payload_schema": schema,
            "update_queue": {"length": 0},
        }

    def local_shards(self) -> list[dict[str, Json]]:
        with self._lock:
            return [
                {"shard_id": s.number, "points_count": s.info().points_count, "state": "Active"}
                for s in self._shards
            ]

    def manifest(self, shard: int) -> dict[str, Json]:
        with self._lock:
            return self._chosen(shard)[0].manifest()

    def apparent_size(self, pattern: str) -> int:
        """Lengths of the files of all segments that match, holes included, as `/memory` says."""
        with self._lock:
            roots = [shard.path / "segments" for shard in self._shards]
            files = (path for root in roots for path in root.glob(pattern))
            return sum(path.stat().st_size for path in files if path.is_file())

    def write_snapshot(self, path: Path, peer_id: int) -> None:
        with self._steady:
            write_archive(path, self._shards, self.config, self._schema, peer_id, self._lock)

    def _everywhere(self, operation: edge.UpdateOperation) -> int:
        return max(shard.update(operation) for shard in self._shards)

    def _chosen(self, number: int | None) -> list[Shard]:
        """Raise ApiError 404 for a shard that is not there."""
        if number is None:
            return self._shards
        if number >= len(self._shards):
            raise not_found(f"shard {number} not found")
        return [self._shards[number]]

    def _placed(self, points: Sequence[edge.Point]) -> Iterable[tuple[Shard, list[edge.Point]]]:
        """Points stay in the shard where they are; new ones are placed by a hash of their id.

        Restored shards were filled by Qdrant's own hash ring, which this does not know.
        """
        if len(self._shards) == 1:
            return [(self._shards[0], list(points))] if points else []
        ids = [point.id for point in points]
        owners = {
            record.id: shard.number
            for shard in self._shards
            for record in shard.retrieve(ids, False, False)  # type: ignore[arg-type]
        }

        def place(point: edge.Point) -> int:
            digest = hashlib.sha256(str(point.id).encode()).digest()
            return owners.get(point.id, digest[0] % len(self._shards))

        ordered = sorted(points, key=place)
        return [(self._shards[n], list(part)) for n, part in groupby(ordered, key=place)]


def _load(archive: Unpacked) -> list[Shard]:
    """Raise ApiError 500 when the engine refuses one; those already open are closed."""
    shards: list[Shard] = []
    try:
        for number, path in enumerate(archive.shards):
            shards.append(Shard.load(number, path))
    except Exception:
        for shard in shards:
            shard.close()
        raise
    return shards
