"""Version, telemetry, metrics and memory of the node, in the shape of Qdrant 1.18.3."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import Json
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.settings import dense_vectors

VERSION = "1.18.3"
"""The Qdrant whose interface is spoken; the engine underneath is named by `commit`."""

ROOT: dict[str, Json] = {
    "title": "qdrant-dr sandbox - not a Qdrant server",
    "version": VERSION,
    "commit": f"qdrant-edge-py {version('qdrant-edge-py')}",
    "sandbox": True,
}


def telemetry(node: Node) -> dict[str, Json]:
    """Return the telemetry. It counts requests over gRPC, but not those over REST: nobody reads
    these here."""
    answers: dict[str, dict[str, Json]] = {}
    for (method, code), count in sorted(node.grpc_answers.items()):
        answers.setdefault(method, {})[str(code)] = {"count": count}
    startup = node.startup.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": node.id,
        "app": {"name": "qdrant-dr sandbox", "version": VERSION, "startup": startup},
        "collections": {"number_of_collections": len(node.names())},
        "cluster": {"enabled": bool(node.peers), "resharding_enabled": False},
        "requests": {"rest": {"responses": {}}, "grpc": {"responses": answers}},
    }


def metrics(node: Node) -> str:
    """Return the lines that a monitoring of collections reads, in Prometheus' text format."""
    collections = [(name, node.find(name)) for name in node.names()]
    points = {
        name: sum(collection.info(shard)["points_count"] for shard in collection.local_shards())
        for name, collection in collections
    }
    none = dict.fromkeys(points, 0)
    lines = [
        *_metric("app_info", "gauge", "information about the server"),
        f'app_info{{name="qdrant-dr sandbox",version="{VERSION}"}} 1',
        *_metric("collections_total", "gauge", "number of collections"),
        f"collections_total {len(points)}",
        *_per_collection("collection_points", "approximate amount of points", points),
        *_per_collection("collection_running_optimizations", "running optimizations", none),
        *_per_collection("snapshot_creation_running", "snapshots being created", none),
        *_per_collection("snapshot_recovery_running", "snapshots being recovered", none),
        *_per_collection("collection_update_queue_length", "pending operations", none),
        *_metric("collection_dead_replicas", "gauge", "shard replicas that are not active"),
        "collection_dead_replicas 0",
        *_metric("cluster_enabled", "gauge", "is cluster support enabled"),
        f"cluster_enabled {int(bool(node.peers))}",
    ]
    return "\n".join(lines) + "\n"


def memory(collection: Collection) -> dict[str, Json]:
    """Return sizes on disk as apparent lengths; residency in memory is not measured and given as
    0."""
    schema = {
        field: None
        for shard in collection.local_shards()
        for field in collection.info(shard)["payload_schema"]
    }
    sparse = collection.config["params"].get("sparse_vectors", {})
    vectors = [_vector_usage(collection, name) for name in dense_vectors(collection.config)]
    return {
        "total": _usage(collection.apparent_size("**/*")),
        "vectors": vectors,
        "sparse_vectors": [_vector_usage(collection, name) for name in sparse],
        "payload": _usage(collection.apparent_size("*/payload_storage/**/*")),
        "payload_index": [
            {
                "name": field,
                "usage": _usage(collection.apparent_size(f"*/payload_index/*-{field}-*/**/*")),
            }
            for field in schema
        ],
        "other": {"id_tracker": _usage(collection.apparent_size("*/*id_tracker.*"))},
    }


def _vector_usage(collection: Collection, name: str) -> dict[str, Json]:
    suffix = f"-{name}" if name else ""
    return {
        "name": name,
        "storage": _usage(collection.apparent_size(f"*/vector_storage{suffix}/**/*")),
        "index": _usage(collection.apparent_size(f"*/vector_index{suffix}/**/*")),
    }


def _usage(disk: int) -> dict[str, int]:
    return {"disk_bytes": disk, "ram_bytes": 0, "cached_bytes": 0, "expected_cache_bytes": 0}


def _metric(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _per_collection(name: str, text: str, values: dict[str, int]) -> Iterator[str]:
    yield from _metric(name, "gauge", text)
    for collection, value in values.items():
        label = collection.replace("\\", "\\\\").replace('"', '\\"')
        yield f'{name}{{id="{label}"}} {value}'
