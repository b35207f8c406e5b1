"""One collection: shards behind a name, its configuration and its payload schema."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

import qdrant_edge as edge

from qdrant_dr.sandbox.archive import Contents, write_collection, write_shard
from qdrant_dr.sandbox.http import Json, not_found, wrong_input
from qdrant_dr.sandbox.placement import Placement, Replicas, ShardKey
from qdrant_dr.sandbox.rate import ReadRate
from qdrant_dr.sandbox.ring import shard_of
from qdrant_dr.sandbox.settings import edge_config, updated_config
from qdrant_dr.sandbox.shard import Shard
from qdrant_dr.sandbox.translate import PointId, index_in, index_out


class Collection:
    """Every method takes the lock: requests are answered by a pool of threads.

    A snapshot lets writers in between and therefore has a mutex of its own, taken before the lock,
    against everything that flushes, replaces or drops the shards meanwhile.

    `placement` has every shard and who holds it; only those of this node are open here.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        config: dict[str, Json],
        peer_id: int,
        uuid: str | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.placement: Placement = {}
        self.uuid = uuid
        self._folder = folder
        self._peer_id = peer_id
        self._schema: dict[str, Json] = {}
        self._open: dict[int, Shard] = {}
        self._dropped = False
        self._read_rate = ReadRate()
        self._steady = threading.Lock()
        self._lock = threading.RLock()

    def add_shards(self, placement: Placement) -> None:
        """Add shards that are new to the collection; those that this node is to hold are empty."""
        with self._lock:
            for number, replicas in placement.items():
                if self._peer_id in replicas.states:
                    shard = Shard.create(number, self._path(number), edge_config(self.config))
                    self._index(shard)
                    self._open[number] = shard
            self.placement = self.placement | placement

    def drop_shards(self, numbers: Iterable[int]) -> None:
        with self._steady, self._lock:
            gone = set(numbers)
            self.placement = {n: r for n, r in self.placement.items() if n not in gone}
            for number in gone & set(self._open):
                _remove(self._open.pop(number))

    def adopt(self, shards: Mapping[int, Path], placement: Placement | None = None) -> None:
        """Take shards from the laid-out folders of an archive, for those that are here or new.

        Configuration and payload schema stay this collection's own; indexes that the shards lack
        are built. Raise ApiError 500 when the engine refuses a shard; then nothing has changed.
        """
        with self._steady, self._lock:
            loaded: dict[int, Shard] = {}
            try:
                for number, source in shards.items():
                    path = self._path(number)
                    source.rename(path)
                    loaded[number] = Shard.load(number, path)
            except Exception:
                for shard in loaded.values():
                    shard.close()
                raise
            for number, shard in loaded.items():
                if old := self._open.get(number):
                    _remove(old)
                self._index(shard)
                self._open[number] = shard
            self.placement = self.placement | (placement or {})

    def register(self, schema: dict[str, Json]) -> None:
        """Remember the payload schema of an archive for shards that are adopted later."""
        self._schema = dict(schema)

    def _index(self, shard: Shard) -> None:
        for field, schema in self._schema.items():
            shard.update(edge.UpdateOperation.create_field_index(field, index_in(schema)))

    def _path(self, number: int) -> Path:
        """A new one each time: what replaces a shard lies beside it until it is opened."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{number}-{uuid4().hex}"

    def drop(self) -> None:
        with self._steady, self._lock:
            for shard in self._open.values():
                _remove(shard)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._dropped = True

    @property
    def _shards(self) -> list[Shard]:
        """Those of this node.

        Raise ApiError 404 for a request that found the collection just before it was dropped.
        """
        if self._dropped:
            raise not_found(f"Collection `{self.name}` doesn't exist!")
        return [self._open[number] for number in sorted(self._open)]

    # Writes: each returns an operation number, as a server does.

    def upsert(
        self,
        points: Sequence[edge.Point],
        key: ShardKey | None = None,
        mode: edge.UpdateMode | None = None,
    ) -> int:
        always = None if mode is None else edge.Filter()
        with self._lock:
            last = max((shard.operation for shard in self._shards), default=0)
            by_shard = list(self._placed(points, key))
            return max(
                (
                    s.update(edge.UpdateOperation.upsert_points(p, always, mode))
                    for s, p in by_shard
                ),
                default=last,
            )

    def update(self, operation: edge.UpdateOperation, keys: Json = None) -> int:
        """Apply an operation to every shard, of one key or some if they are named: a point that
        another hash placed is found too."""
        with self._lock:
            named = {*self.of_keys(keys)}
            last = max((shard.operation for shard in self._shards), default=0)
            some = [shard for shard in self._shards if shard.number in named]
            return max((shard.update(operation) for shard in some), default=last)

    def of_keys(self, wanted: Json) -> list[int]:
        """Return the shards of the key or keys that a request names; all if it names none. Raise
        ApiError 404 for a key that is not there."""
        if wanted is None:
            return list(self.placement)
        keys = wanted if isinstance(wanted, list) else [wanted]
        for key in keys:
            if key not in {one.key for one in self.placement.values()}:
                raise not_found(f"Shard key {key} not found")
        return [number for number, one in self.placement.items() if one.key in keys]

    def create_index(self, field: str, schema: Json) -> int:
        """Create an index. A server logs it twice: once as its consensus would, once as an
        update."""
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

    # Reads, one shard each. Raise ApiError 404 or 400 for one that is not here.

    def spend(self, number: int, cost: int) -> None:
        """Spend what a read of a shard costs in strict mode. Raise ApiError 429."""
        self._read_rate.spend(self.config.get("strict_mode_config"), number, cost)

    def count(self, number: int, where: edge.Filter | None) -> int:
        with self._lock:
            return self._here(number).count(where)

    def scroll(
        self,
        number: int,
        offset: PointId | None,
        limit: int,
        where: edge.Filter | None,
        payload: Any,
        vector: Any,
    ) -> tuple[list[edge.Record], PointId | None]:
        """Return a page in the order of ids, and the id that the next one starts with."""
        with self._lock:
            found = self._here(number).scroll(offset, limit + 1, where, payload, vector)
        beyond = found[limit].id if len(found) > limit else None
        return found[:limit], beyond  # type: ignore[return-value]

    def retrieve(
        self, number: int, ids: Sequence[PointId], payload: Any, vector: Any
    ) -> list[edge.Record]:
        with self._lock:
            return self._here(number).retrieve(ids, payload, vector)

    def query(self, number: int, request: edge.QueryRequest) -> list[edge.ScoredPoint]:
        with self._lock:
            return self._here(number).query(request)

    def info(self, number: int) -> dict[str, Json]:
        """Return what one shard tells of itself; its payload schema is that of its segments, as in
        Qdrant."""
        with self._lock:
            info = self._here(number).info()
        schema = {f: index_out(i, self._schema.get(f)) for f, i in info.payload_schema.items()}
        return {
            "indexed_vectors_count": info.indexed_vectors_count,
            "points_count": info.points_count,
            "segments_count": info.segments_count,
            "payload_schema": schema,
        }

    def local_shards(self) -> list[int]:
        with self._lock:
            return sorted(self._open)

    def cluster(self, placement: Placement) -> dict[str, Json]:
        """`GET /collections/{c}/cluster` for `placement`, which may be scripted; points are counted
        for the shards of this node only."""
        local, remote = [], []
        with self._lock:
            for number, replicas in placement.items():
                shard: dict[str, Json] = {"shard_id": number}
                if replicas.key is not None:
                    shard["shard_key"] = replicas.key
                for peer, state in replicas.states.items():
                    if peer != self._peer_id:
                        remote.append({**shard, "peer_id": peer, "state": state})
                    elif number in self._open:
                        points = self._open[number].info().points_count
                        local.append({**shard, "points_count": points, "state": state})
        return {
            "peer_id": self._peer_id,
            "shard_count": len(placement),
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": [],
        }

    def set_state(self, number: int, peer: int, state: str) -> None:
        """Set the state of one replica, which may be new. Raise ApiError 404 for a shard that is
        nowhere."""
        with self._lock:
            replicas = self.require_shard(number)
            states = {**replicas.states, peer: state}
            self.placement = self.placement | {number: Replicas(states, replicas.key)}

    def require_shard(self, number: int) -> Replicas:
        """Raise ApiError 404 for a shard that is on no node."""
        if number not in self.placement:
            raise not_found(f"shard {number} not found")
        return self.placement[number]

    def manifest(self, shard: int) -> dict[str, Json]:
        with self._lock:
            return self._here(shard).manifest()

    def apparent_size(self, pattern: str) -> int:
        """Add up the lengths of the matching files of all segments, holes included, as `/memory`
        does."""
        with self._lock:
            roots = [shard.path / "segments" for shard in self._shards]
            files = (path for root in roots for path in root.glob(pattern))
            return sum(path.stat().st_size for path in files if path.is_file())

    def write_snapshot(self, path: Path) -> None:
        with self._steady:
            shards = {shard.number: shard for shard in self._shards}
            contents = Contents(
                shards, self.placement, self.config, self._schema, self.uuid, self._peer_id
            )
            write_collection(path, contents, self._lock)

    def write_shard(self, number: int, path: Path, *, streamable: bool = False) -> None:
        """Raise ApiError 404 for a shard that is nowhere, 400 for one that is elsewhere."""
        with self._steady, self._lock:
            shard = self._here(number)
            replicas = self.placement[number]
            write_shard(path, shard, replicas, self._peer_id, streamable=streamable)

    def _everywhere(self, operation: edge.UpdateOperation) -> int:
        return max((shard.update(operation) for shard in self._shards), default=0)

    def _here(self, number: int) -> Shard:
        """Raise ApiError 404 for a shard that is nowhere, 400 for one that is elsewhere."""
        self.require_shard(number)
        if self._dropped:
            raise not_found(f"Collection `{self.name}` doesn't exist!")
        if number not in self._open:
            raise wrong_input(f"Shard {number} is not a local or queue proxy shard")
        return self._open[number]

    def _placed(
        self, points: Sequence[edge.Point], key: ShardKey | None
    ) -> Iterator[tuple[Shard, list[edge.Point]]]:
        """The points of each shard that is here, where Qdrant's hash ring puts them."""
        shards = tuple(n for n, replicas in self.placement.items() if replicas.key == key)
        if points and not shards:
            told = "Shard key not specified" if key is None else f"Shard key {key} not found"
            raise wrong_input(told)

        def place(point: edge.Point) -> int:
            return shards[0] if len(shards) == 1 else shard_of(point.id, shards)

        for number, part in groupby(sorted(points, key=place), key=place):
            if number in self._open:
                yield self._open[number], list(part)


def _remove(shard: Shard) -> None:
    shard.close()
    shutil.rmtree(shard.path)
