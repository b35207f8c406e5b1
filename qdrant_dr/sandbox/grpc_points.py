"""`qdrant.Points/Scroll` over gRPC, as Qdrant 1.18.3 answers it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from qdrant_client import grpc as messages

from qdrant_dr.sandbox.access import Keys
from qdrant_dr.sandbox.http import ApiError, Json
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.routes.points import page

SCROLL = "/qdrant.Points/Scroll"
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_I64 = range(-(1 << 63), 1 << 63)


@contextmanager
def grpc_served(node: Node, keys: Keys, port: int) -> Iterator[None]:
    """Serve gRPC at `port` of this machine inside the block. Raise OSError for a port that is
    taken."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: _scroll(node, keys, request, context),
        request_deserializer=messages.ScrollPoints.FromString,
        response_serializer=messages.ScrollResponse.SerializeToString,
    )
    methods = grpc.method_handlers_generic_handler("qdrant.Points", {"Scroll": handler})
    server.add_generic_rpc_handlers((methods,))
    try:
        server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise OSError(str(error)) from None
    server.start()
    try:
        yield
    finally:
        server.stop(None)


def _scroll(
    node: Node, keys: Keys, request: messages.ScrollPoints, context: grpc.ServicerContext
) -> messages.ScrollResponse:
    metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
    name = request.collection_name
    body: dict[str, Json] = {"limit": request.limit, "with_payload": True, "with_vector": True}
    if request.HasField("offset"):
        which = request.offset.WhichOneof("point_id_options")
        body["offset"] = request.offset.num if which == "num" else request.offset.uuid
    try:
        keys.check("POST", f"/collections/{name}/points/scroll", metadata)
        found = page(node.find(name), body, node, None)
    except ApiError as error:
        status = _CODES.get(error.status, grpc.StatusCode.INTERNAL)
        node.count_grpc(SCROLL, status.value[0])
        context.abort(status, error.text)
    node.count_grpc(SCROLL, 0)
    following = found["next_page_offset"]
    return messages.ScrollResponse(
        result=[_point(point) for point in found["points"]],
        next_page_offset=None if following is None else _id(following),
    )


def _point(point: Json) -> messages.RetrievedPoint:
    return messages.RetrievedPoint(
        id=_id(point["id"]),
        payload={key: _value(value) for key, value in (point["payload"] or {}).items()},
        vectors=_vectors(point["vector"]),
    )


def _id(point_id: int | str) -> messages.PointId:
    if isinstance(point_id, int):
        return messages.PointId(num=point_id)
    return messages.PointId(uuid=point_id)


def _value(value: Json) -> messages.Value:
    if value is None:
        return messages.Value(null_value=messages.NULL_VALUE)
    if isinstance(value, bool):
        return messages.Value(bool_value=value)
    if isinstance(value, int) and value in _I64:
        return messages.Value(integer_value=value)
    if isinstance(value, int | float):
        return messages.Value(double_value=float(value))
    if isinstance(value, str):
        return messages.Value(string_value=value)
    if isinstance(value, list):
        return messages.Value(list_value=messages.ListValue(values=[_value(v) for v in value]))
    fields = {key: _value(v) for key, v in value.items()}
    return messages.Value(struct_value=messages.Struct(fields=fields))


def _vectors(vector: Json) -> messages.VectorsOutput:
    if isinstance(vector, dict):
        named = {name: _vector(value) for name, value in vector.items()}
        return messages.VectorsOutput(vectors=messages.NamedVectorsOutput(vectors=named))
    return messages.VectorsOutput(vector=_vector(vector))


def _vector(vector: Any) -> messages.VectorOutput:
    if isinstance(vector, dict):
        sparse = messages.SparseVector(values=vector["values"], indices=vector["indices"])
        return messages.VectorOutput(sparse=sparse)
    values = np.asarray(vector, np.float32)
    if values.ndim == 1:
        return messages.VectorOutput(dense=messages.DenseVector(data=values))
    rows = [messages.DenseVector(data=row) for row in values]
    return messages.VectorOutput(multi_dense=messages.MultiDenseVector(vectors=rows))
