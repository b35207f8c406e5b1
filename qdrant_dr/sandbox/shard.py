"""One shard on Qdrant's storage engine, with the operation numbers that a server answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from qdrant_dr.sandbox.http import ApiError, Json, wrong_input
from qdrant_dr.sandbox.settings import PASSING
from qdrant_dr.sandbox.translate import PointId


class Shard:
    """Not safe for threads: the collection's lock covers it."""

    def __init__(self, number: int, path: Path, engine: edge.EdgeShard) -> None:
        self.number = number
        self.path = path
        self._engine = engine
        self.operation = self._last_changed()

    @classmethod
    def create(cls, number: int, path: Path, config: edge.EdgeConfig) -> Shard:
        path.mkdir(parents=True)
        shard = cls(number, path, edge.EdgeShard.create(str(path), config))
        # The engine numbers from 0, a server from 1: an operation that touches nothing aligns them.
        shard._engine.update(
            edge.UpdateOperation.delete_vector_name(PASSING)
            if PASSING in config.sparse_vectors
            else edge.UpdateOperation.delete_points([0])
        )
        return shard

    @classmethod
    def load(cls, number: int, path: Path) -> Shard:
        """Open a restored shard; its write-ahead log is replayed. Raise ApiError 500."""
        try:
            return cls(number, path, edge.EdgeShard.load(str(path)))
        except Exception as error:  # the engine raises bare Exception
            raise ApiError(500, f"Service internal error: {error}") from error

    def update(self, operation: edge.UpdateOperation) -> int:
        """Apply it and return its number. Raise ApiError 400 with the engine's words."""
        try:
            self._engine.update(operation)
        except Exception as error:  # the engine raises bare Exception
            raise wrong_input(str(error)) from error
        self.operation = max(self.operation + 1, self._last_changed())
        return self.operation

    def count(self, where: edge.Filter | None) -> int:
        return self._engine.count(edge.CountRequest(exact=True, filter=where))

    def scroll(
        self,
        offset: PointId | None,
        limit: int,
        where: edge.Filter | None,
        payload: Any,
        vector: Any,
    ) -> list[edge.Record]:
        request = edge.ScrollRequest(offset, limit, where, payload, vector)
        return self._engine.scroll(request)[0]

    def retrieve(self, ids: Sequence[PointId], payload: Any, vector: Any) -> list[edge.Record]:
        return self._engine.retrieve(list(ids), payload, vector)

    def query(self, request: edge.QueryRequest) -> list[edge.ScoredPoint]:
        try:
            return self._engine.query(request)
        except Exception as error:  # the engine raises bare Exception
            raise wrong_input(str(error)) from error

    def info(self) -> edge.ShardInfo:
        return self._engine.info()

    def manifest(self) -> dict[str, Json]:
        """Return the partial manifest: per segment its version and the versions of its files."""
        manifest: dict[str, Json] = self._engine.snapshot_manifest()
        return manifest

    def flush(self) -> None:
        self._engine.flush()

    def optimize(self) -> bool:
        return self._engine.optimize()

    def close(self) -> None:
        self._engine.close()

    def _last_changed(self) -> int:
        return max(int(segment["segment_version"]) for segment in self.manifest().values())
