"""Between Qdrant's REST JSON and the engine's objects: points, vectors, filters, indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from qdrant_dr.sandbox.http import ApiError, Json, need, wrong_input
from qdrant_dr.sandbox.placement import ShardKey
from qdrant_dr.sandbox.settings import dense_vectors

PointId = int | UUID

_INDEX_TYPES: dict[str, tuple[edge.PayloadSchemaType, Any]] = {
    "keyword": (edge.PayloadSchemaType.Keyword, edge.KeywordIndexParams),
    "integer": (edge.PayloadSchemaType.Integer, edge.IntegerIndexParams),
    "float": (edge.PayloadSchemaType.Float, edge.FloatIndexParams),
    "geo": (edge.PayloadSchemaType.Geo, edge.GeoIndexParams),
    "text": (edge.PayloadSchemaType.Text, edge.TextIndexParams),
    "bool": (edge.PayloadSchemaType.Bool, edge.BoolIndexParams),
    "datetime": (edge.PayloadSchemaType.Datetime, edge.DatetimeIndexParams),
    "uuid": (edge.PayloadSchemaType.Uuid, edge.UuidIndexParams),
}
_TOKENIZERS = {
    "prefix": edge.TokenizerType.Prefix,
    "whitespace": edge.TokenizerType.Whitespace,
    "word": edge.TokenizerType.Word,
    "multilingual": edge.TokenizerType.Multilingual,
}


def point_id(value: Json) -> PointId:
    """Parse an unsigned 64-bit integer or a UUID in any of its spellings."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError) as error:
        text = f"value {value} is not a valid point ID, valid values are unsigned integer or UUID"
        raise ApiError(400, f"Format error in JSON body: {text}") from error


def id_order(value: PointId) -> tuple[bool, int]:
    """Return the key of Qdrant's order of ids: integers, then UUIDs by their bytes."""
    return isinstance(value, UUID), int(value)


def id_json(value: PointId) -> Json:
    return str(value) if isinstance(value, UUID) else value


def points_in(request: Json, config: dict[str, Json]) -> list[edge.Point]:
    """Parse the points of an upsert, as a list or as a batch of columns. Vectors are checked here:
    the engine would write an operation that it then refuses into its log."""
    if batch := request.get("batch"):
        rows = _rows(batch)
    elif "points" in request:
        rows = request["points"]
    else:
        text = "data did not match any variant of untagged enum PointInsertOperations"
        raise ApiError(400, f"Format error in JSON body: {text}")
    return [
        edge.Point(
            point_id(need(row, "id")),
            vector_in(need(row, "vector"), config),
            row.get("payload") or {},
        )
        for row in rows
    ]


def point_vectors_in(request: Json, config: dict[str, Json]) -> list[edge.PointVectors]:
    """Parse points whose vectors alone are to be replaced."""
    return [
        edge.PointVectors(point_id(need(row, "id")), vector_in(need(row, "vector"), config))
        for row in need(request, "points")
    ]


def update_mode_in(value: Json) -> edge.UpdateMode | None:
    """Parse `insert_only`, `update_only` or `upsert`."""
    modes = {
        None: None,
        "upsert": edge.UpdateMode.Upsert,
        "insert_only": edge.UpdateMode.InsertOnly,
        "update_only": edge.UpdateMode.UpdateOnly,
    }
    if value not in modes:
        raise ApiError(400, f"Format error in JSON body: unknown variant `{value}`")
    return modes[value]


def _rows(batch: Json) -> list[Json]:
    """Columns to points."""
    vectors = batch["vectors"]
    if isinstance(vectors, dict):
        columns = zip(*vectors.values(), strict=True)
        vectors = [dict(zip(vectors, row, strict=True)) for row in columns]
    payloads = batch.get("payloads") or [None] * len(batch["ids"])
    return [
        {"id": identity, "vector": vector, "payload": payload}
        for identity, vector, payload in zip(batch["ids"], vectors, payloads, strict=True)
    ]


def vector_in(vector: Json, config: dict[str, Json]) -> Any:
    """Raise ApiError 400 for a name or a size that the collection does not have."""
    dense = dense_vectors(config)
    sparse = config["params"].get("sparse_vectors") or {}
    named = vector if isinstance(vector, dict) else {"": vector}
    result = {}
    for name, value in named.items():
        if name in sparse:
            result[name] = _sparse(value)
            continue
        if name not in dense:
            raise wrong_input(f"Not existing vector name error: {name}")
        size = dense[name]["size"]
        rows = value if dense[name].get("multivector_config") else [value]
        for row in rows:
            if len(row) != size:
                text = f"Vector dimension error: expected dim: {size}, got {len(row)}"
                raise wrong_input(text)
        result[name] = value
    return result[""] if list(result) == [""] else result


def vector_out(vector: Any) -> Json:
    """Convert a vector; float32 values keep their type, so that they print with their own shortest
    digits."""
    if isinstance(vector, dict):
        return {name: vector_out(value) for name, value in vector.items()}
    if isinstance(vector, edge.SparseVector):
        values = np.asarray(vector.values, dtype=np.float32)
        return {"indices": vector.indices, "values": values}
    return np.asarray(vector, dtype=np.float32)


def record_out(
    record: edge.Record | edge.ScoredPoint, shard_key: ShardKey | None = None
) -> dict[str, Json]:
    """Convert one point; what was not asked for is absent, not null."""
    point: dict[str, Json] = {"id": id_json(record.id)}  # type: ignore[arg-type]
    if isinstance(record, edge.ScoredPoint):
        point |= {"version": record.version, "score": np.float32(record.score)}
    if record.payload is not None:
        point["payload"] = record.payload
    if record.vector is not None:
        point["vector"] = vector_out(record.vector)
    if shard_key is not None:
        point["shard_key"] = shard_key
    return point


def payload_selector(value: Json) -> Any:
    """Parse `true`, a list of keys, or `{"include": [..]}` and `{"exclude": [..]}`."""
    if isinstance(value, dict):
        if "include" in value:
            return edge.PayloadSelector.Include(value["include"])
        return edge.PayloadSelector.Exclude(value["exclude"])
    return value


def filter_in(value: Json) -> edge.Filter | None:
    if not value:
        return None
    clauses: dict[str, Any] = {
        name: [_condition(c) for c in (given if isinstance(given, list) else [given])]
        for name in ("must", "should", "must_not")
        if (given := value.get(name))
    }
    least = value.get("min_should")
    if least:
        conditions = [_condition(c) for c in least["conditions"]]
        return edge.Filter(**clauses, min_should=edge.MinShould(conditions, least["min_count"]))
    return edge.Filter(**clauses)


def query_in(request: Json, config: dict[str, Json]) -> edge.Query:
    """Parse a query for the points nearest to a vector. Raise ApiError 501 for every other kind of
    query."""
    query = request["query"]
    name = request.get("using")
    if isinstance(query, dict) and "nearest" in query:
        query = query["nearest"]
    if isinstance(query, dict) and "indices" in query:
        query = _sparse(query)
    if not isinstance(query, list | edge.SparseVector):
        raise ApiError(501, "Not implemented: the sandbox only finds the nearest to a vector")
    if isinstance(query, list):
        vector_in({name or "": query}, config)
    return edge.Query.Nearest(query, using=name)


def index_in(schema: Json) -> Any:
    """Parse `"keyword"`, or `{"type": "keyword", ...parameters}`."""
    kind = schema if isinstance(schema, str) else (schema or {}).get("type")
    if kind not in _INDEX_TYPES:
        text = "data did not match any variant of untagged enum PayloadFieldSchema"
        raise ApiError(400, f"Format error in JSON body: {text}")
    name, parameters = _INDEX_TYPES[kind]
    if isinstance(schema, str):
        return name
    options = {n: v for n, v in schema.items() if n != "type" and v is not None}
    if "tokenizer" in options:
        options["tokenizer"] = _TOKENIZERS[options["tokenizer"]]
    try:
        return parameters(**options)
    except TypeError as error:
        raise ApiError(501, f"Not implemented: the sandbox knows fewer options: {error}") from error


def index_out(info: edge.PayloadIndexInfo, declared: Json) -> dict[str, Json]:
    """Build one field of `payload_schema`; `params` only where the index was declared with some."""
    kinds: Mapping[str, Any] = {name: kind for name, (kind, _) in _INDEX_TYPES.items()}
    data_type = next(name for name, kind in kinds.items() if kind == info.data_type)
    params = {"params": declared} if isinstance(declared, dict) else {}
    return {"data_type": data_type, **params, "points": info.points}


def _sparse(value: Json) -> edge.SparseVector:
    if len(value["indices"]) != len(value["values"]):
        raise ApiError(422, "Validation error in JSON body: must be the same length as indices")
    return edge.SparseVector(value["indices"], value["values"])


def _condition(value: Json) -> Any:
    if "key" in value:
        return _field(value)
    if "has_id" in value:
        return edge.HasIdCondition({point_id(i) for i in value["has_id"]})
    if "has_vector" in value:
        return edge.HasVectorCondition(value["has_vector"])
    if "is_empty" in value:
        return edge.IsEmptyCondition(value["is_empty"]["key"])
    if "is_null" in value:
        return edge.IsNullCondition(value["is_null"]["key"])
    if "nested" in value:
        inner = filter_in(value["nested"]["filter"])
        return edge.NestedCondition(value["nested"]["key"], inner or edge.Filter())
    return filter_in(value)


def _field(value: Json) -> edge.FieldCondition:
    key = value["key"]
    if match := value.get("match"):
        (kind, wanted), *_ = match.items()
        if isinstance(wanted, bool):  # the engine's binding takes it for an integer: no match ever
            raise ApiError(501, "Not implemented: the sandbox cannot filter by a boolean")
        make: Any = {
            "value": edge.MatchValue,
            "any": edge.MatchAny,
            "except": edge.MatchExcept,
            "text": edge.MatchText,
            "phrase": edge.MatchPhrase,
        }[kind]
        return edge.FieldCondition(key, match=make(wanted))
    if given := value.get("range"):
        bounds = {name: bound for name, bound in given.items() if bound is not None}
        dates = any(isinstance(bound, str) for bound in bounds.values())
        spans: Any = edge.RangeDateTime if dates else edge.RangeFloat
        return edge.FieldCondition(key, range=spans(**bounds))
    if count := value.get("values_count"):
        return edge.FieldCondition(key, values_count=edge.ValuesCount(**count))
    raise ApiError(501, f"Not implemented: the sandbox cannot filter by {sorted(value)}")
