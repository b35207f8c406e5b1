"""Collection configuration: what a client asked for, in Qdrant's shape, and for the engine.

The defaults are those of `GET /collections/{c}` on Qdrant 1.18.3.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from qdrant_dr.sandbox.http import ApiError, Json, bad_body

_HNSW = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
_OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
PASSING = "passing"
"""A vector's name: a server makes collections without any, the engine only loses its last one."""
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
_OPTIONAL_PARAMS = ("sparse_vectors", "read_fan_out_factor")
_OPTIONAL = ("strict_mode_config", "metadata")
_DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Dot": edge.Distance.Dot,
    "Euclid": edge.Distance.Euclid,
    "Manhattan": edge.Distance.Manhattan,
}
_WIDEST = 65536
_DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
_COMPRESSION = {
    "x4": edge.CompressionRatio.X4,
    "x8": edge.CompressionRatio.X8,
    "x16": edge.CompressionRatio.X16,
    "x32": edge.CompressionRatio.X32,
    "x64": edge.CompressionRatio.X64,
}
_DEBUG_FIELDS = (
    "hnsw_config",
    "quantization_config",
    "on_disk",
    "datatype",
    "multivector_config",
)


def new_config(request: Json, body_length: int, peers: int = 0) -> dict[str, Json]:
    """Build the whole configuration from a create request, on a cluster of this many peers.

    Raise ApiError 400 as Qdrant does.
    """
    vectors = request.get("vectors", {})
    if not _are_vectors(vectors):
        text = "data did not match any variant of untagged enum VectorsConfig"
        raise bad_body(text, body_length)
    _must_be_in_range(request, vectors)
    custom = request.get("sharding_method") == "custom"
    if custom and not peers:
        raise ApiError(400, "Bad request: Distributed mode disabled")
    params = {
        "vectors": vectors,
        "shard_number": request.get("shard_number") or (1 if custom else max(1, peers)),
        "replication_factor": request.get("replication_factor") or 1,
        "write_consistency_factor": request.get("write_consistency_factor") or 1,
        "on_disk_payload": _or(request.get("on_disk_payload"), True),
    }
    params |= {"sharding_method": "custom"} if custom else {}
    params |= {name: request[name] for name in _OPTIONAL_PARAMS if request.get(name)}
    config = {
        "params": params,
        "hnsw_config": _HNSW | _given(request.get("hnsw_config")),
        "optimizer_config": _OPTIMIZER | _given(request.get("optimizers_config")),
        "wal_config": _WAL | _given(request.get("wal_config")),
        "quantization_config": request.get("quantization_config"),
    }
    return config | {name: request[name] for name in _OPTIONAL if request.get(name) is not None}


def updated_config(config: dict[str, Json], request: Json) -> dict[str, Json]:
    """Apply `PATCH /collections/{c}`: absent and null fields stay as they are."""
    new = dict(config)
    for asked, kept in (
        ("params", "params"),
        ("hnsw_config", "hnsw_config"),
        ("optimizers_config", "optimizer_config"),
        ("strict_mode_config", "strict_mode_config"),
        ("metadata", "metadata"),
    ):
        if given := _given(request.get(asked)):
            new[kept] = (config.get(kept) or {}) | given
    if request.get("quantization_config") is not None:
        new["quantization_config"] = request["quantization_config"]
    return new


def edge_config(config: dict[str, Json]) -> edge.EdgeConfig:
    """Build the engine's configuration of one shard; without any vector, with `PASSING`."""
    params = config["params"]
    dense = {n: _edge_vector(v, config) for n, v in dense_vectors(config).items()}
    sparse = {n: _edge_sparse(v) for n, v in params.get("sparse_vectors", {}).items()}
    if not dense and not sparse:
        sparse = {PASSING: edge.EdgeSparseVectorParams()}
    optimizer = config["optimizer_config"]
    return edge.EdgeConfig(
        vectors=dense,
        sparse_vectors=sparse,
        on_disk_payload=params["on_disk_payload"],
        hnsw_config=_edge_hnsw(config["hnsw_config"]),
        quantization_config=_edge_quantization(config["quantization_config"]),
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=optimizer["deleted_threshold"],
            vacuum_min_vector_number=optimizer["vacuum_min_vector_number"],
            default_segment_number=optimizer["default_segment_number"],
            max_segment_size=optimizer["max_segment_size"],
            indexing_threshold=optimizer["indexing_threshold"],
        ),
    )


def dense_vectors(config: dict[str, Json]) -> dict[str, Json]:
    """Return the parameters by vector name; the default vector's name is empty."""
    vectors = config["params"].get("vectors") or {}
    return {"": vectors} if _is_single(vectors) else dict(vectors)


def describe_vectors(config: dict[str, Json]) -> str:
    """Format vector parameters as Qdrant prints them when two collections do not fit (Rust's
    `{:?}`)."""
    vectors = config["params"].get("vectors") or {}
    if _is_single(vectors):
        return f"Single({_debug(vectors)})"
    return "Multi({" + ", ".join(f'"{n}": {_debug(v)}' for n, v in sorted(vectors.items())) + "})"


def _is_single(vectors: Json) -> bool:
    """Say whether these are the parameters of the only vector, not of several by name."""
    return not isinstance(vectors.get("size", {}), dict)


def _debug(vector: Json) -> str:
    fields = [f"size: {vector['size']}", f"distance: {vector['distance']}"]
    for name in _DEBUG_FIELDS:
        value = vector.get(name)
        fields.append(f"{name}: {'None' if value is None else f'Some({value})'}")
    return "VectorParams { " + ", ".join(fields) + " }"


def _are_vectors(vectors: Json) -> bool:
    if not isinstance(vectors, dict):
        return False
    each = [vectors] if _is_single(vectors) else list(vectors.values())
    return all(
        isinstance(v, dict)
        and isinstance(v.get("size"), int)
        and v["size"] > 0
        and v.get("distance") in _DISTANCES
        and v.get("datatype") in (None, *_DATATYPES)
        for v in each
    )


def _must_be_in_range(request: Json, vectors: Json) -> None:
    """What Qdrant's validation refuses: ApiError 422."""
    each = (
        {"vectors": vectors}
        if _is_single(vectors)
        else {f"vectors.{n}": v for n, v in vectors.items()}
    )
    wrong = [
        f"{name}.size: value {v['size']} invalid, must be from 1 to {_WIDEST}"
        for name, v in each.items()
        if v["size"] > _WIDEST
    ] + [
        f"{name}: value {request[name]} invalid, must be 1 or larger"
        for name in ("shard_number", "replication_factor", "write_consistency_factor")
        if request.get(name) == 0
    ]
    if wrong:
        raise ApiError(422, f"Validation error in JSON body: [{wrong[0]}]")


def _edge_vector(vector: Json, config: dict[str, Json]) -> edge.EdgeVectorParams:
    own_hnsw = _given(vector.get("hnsw_config"))
    return edge.EdgeVectorParams(
        size=vector["size"],
        distance=_DISTANCES[vector["distance"]],
        on_disk=vector.get("on_disk"),
        multivector_config=(
            edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
            if vector.get("multivector_config")
            else None
        ),
        datatype=_DATATYPES[vector["datatype"]] if vector.get("datatype") else None,
        quantization_config=_edge_quantization(vector.get("quantization_config")),
        hnsw_config=_edge_hnsw(config["hnsw_config"] | own_hnsw) if own_hnsw else None,
    )


def _edge_sparse(vector: Json) -> edge.EdgeSparseVectorParams:
    index = vector.get("index") or {}
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"),
        on_disk=index.get("on_disk"),
        modifier=edge.Modifier.Idf if vector.get("modifier") == "idf" else None,
        datatype=_DATATYPES[index["datatype"]] if index.get("datatype") else None,
    )


def _edge_hnsw(hnsw: Json) -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(
        m=hnsw["m"],
        ef_construct=hnsw["ef_construct"],
        full_scan_threshold=hnsw["full_scan_threshold"],
        max_indexing_threads=hnsw["max_indexing_threads"],
        on_disk=hnsw.get("on_disk"),
        payload_m=hnsw.get("payload_m"),
        inline_storage=hnsw.get("inline_storage"),
    )


def _edge_quantization(quantization: Json) -> Any:
    if not quantization:
        return None
    (kind, options), *_ = quantization.items()
    always_ram = options.get("always_ram")
    if kind == "scalar":
        quantile = options.get("quantile")
        return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile, always_ram)
    if kind == "product":
        ratio = _COMPRESSION[options["compression"]]
        return edge.ProductQuantizationConfig(ratio, always_ram)
    if kind == "binary":
        return edge.BinaryQuantizationConfig(always_ram)
    raise ApiError(501, f"Not implemented: the sandbox has no {kind} quantization")


def _given(options: Json) -> dict[str, Json]:
    return {name: value for name, value in (options or {}).items() if value is not None}


def _or(value: Json, default: Json) -> Json:
    return default if value is None else value
