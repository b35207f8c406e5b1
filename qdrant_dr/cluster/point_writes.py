"""Writes to the points of one collection, each applied before the next is sent.

All of them may be repeated: the same write again changes nothing. So a lost answer is asked for
again, and a server that asks for fewer calls (429) is heard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Self

import httpx

from qdrant_dr.cancel import rest
from qdrant_dr.cluster.node import READ_AGAIN_SECONDS, Node, path_of
from qdrant_dr.cluster.rate_limit import BusyRetry
from qdrant_dr.cluster.scroll import ShardKey, of_key
from qdrant_dr.errors import NodeUnreachable
from qdrant_dr.stores.bandwidth import BandwidthLimit


class PointWrites:
    """Counts its operations, as the server's log does, and bytes; `limit` slows it down.

    As a context it keeps its connection from one call to the next.
    """

    def __init__(self, node: Node, collection: str, limit: BandwidthLimit | None = None) -> None:
        self.node, self.collection, self.limit = node, collection, limit
        self.operations = 0
        self.sent_bytes = 0
        self._lasting: httpx.Client | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._lasting = self._stack.enter_context(self._client())
        return self

    def __exit__(self, *_: object) -> None:
        self._lasting = None
        self._stack.close()

    def _client(self) -> AbstractContextManager[httpx.Client]:
        if self._lasting is not None:
            return nullcontext(self._lasting)
        return self.node.patient_client(self.node.timeouts.snapshot.total_seconds())

    def make(
        self,
        method: str,
        steps: tuple[str, ...],
        doing: str,
        body: str | bytes,
        *,
        operations: int = 1,
    ) -> None:
        """Make one call on `.../points/<steps>`. Raise NodeUnreachable, AccessDenied,
        ServerFailed."""
        data = body.encode() if isinstance(body, str) else body
        if self.limit is not None:
            rest(self.limit.reserve(len(data)))
        self.operations += operations
        self.sent_bytes += len(data)
        node = self.node
        patience = BusyRetry(node.timeouts.busy.total_seconds())
        pauses = iter(READ_AGAIN_SECONDS)
        while True:
            try:
                with self._client() as http:
                    response = http.request(
                        method,
                        node.url + path_of(self.collection, "points", *steps),
                        params={"wait": "true"},
                        headers={**node.headers(write=True), "content-type": "application/json"},
                        content=data,
                    )
                if node.asks_for_less(response, patience):
                    continue
                node.must_be_good(response, doing, write=True, collection=self.collection)
            except httpx.RequestError as e:
                failure: NodeUnreachable = node.unreachable(e, doing)
            except NodeUnreachable as e:
                failure = e
            else:
                return
            pause = next(pauses, None)
            if pause is None or not failure.transient:
                raise failure from None
            rest(pause)

    def delete(self, ids: Sequence[int | str], shard_key: ShardKey | None) -> None:
        """Delete points, in whatever shard they lie: of one key, or of all."""
        body = json.dumps({"points": list(ids), **of_key(shard_key)})
        self.make("POST", ("delete",), f"delete {len(ids)} points of {self.collection!r}", body)

    def overwrite_payloads(
        self, texts: Mapping[int | str, str], shard_key: ShardKey | None
    ) -> None:
        """Replace the payload of points, given as text, and leave their vectors alone."""
        of = f',"shard_key":{json.dumps(shard_key)}' if shard_key is not None else ""
        each = [
            f'{{"overwrite_payload":{{"payload":{text},"points":[{json.dumps(point)}]{of}}}}}'
            for point, text in texts.items()
        ]
        doing = f"write {len(texts)} payloads of {self.collection!r}"
        body = f'{{"operations":[{",".join(each)}]}}'
        self.make("POST", ("batch",), doing, body, operations=len(texts))

    def update_vectors(
        self, name: str, vectors: Mapping[int | str, Any], shard_key: ShardKey | None
    ) -> None:
        """Replace one vector of points, and leave everything else of them alone."""
        points = [
            {"id": point, "vector": {name: vector} if name else vector}
            for point, vector in vectors.items()
        ]
        body = json.dumps({"points": points, **of_key(shard_key)}, allow_nan=False)
        self.make("PUT", ("vectors",), f"write {len(points)} vectors of {self.collection!r}", body)

    def delete_vectors(
        self, name: str, ids: Sequence[int | str], shard_key: ShardKey | None
    ) -> None:
        """Remove one vector of points, and leave everything else of them alone."""
        body = json.dumps({"points": list(ids), "vector": [name], **of_key(shard_key)})
        doing = f"remove {len(ids)} vectors of {self.collection!r}"
        self.make("POST", ("vectors", "delete"), doing, body)
