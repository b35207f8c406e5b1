"""Collections of every layout that changes how a server searches them, for archives of them all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

DIMS = 32
POINTS = 640
HNSW = {"full_scan_threshold": 10, "ef_construct": 64}
"""The lowest threshold that a server takes: 80 vectors of 32 dimensions."""
OPTIMIZERS = {"indexing_threshold": 20, "default_segment_number": 1}
TENANT_ONLY = {"m": 0, "payload_m": 16}


def dense(size: int = DIMS, distance: str = "Cosine", **more: Any) -> dict[str, Any]:
    return {"size": size, "distance": distance, **more}


def gauss(rng: random.Random, size: int = DIMS) -> list[float]:
    return [rng.gauss(0, 1) for _ in range(size)]


@dataclass(frozen=True)
class Layout:
    """One collection. `within` are the vectors that are asked within tenants, `poor` those that
    the source itself searches badly, `unsearchable` those that nothing is found by; `links` is the
    vector whose graph is asked, and missed when it is ruined."""

    vectors: Mapping[str, Any] = field(default_factory=dense)
    hnsw: Mapping[str, Any] = field(default_factory=dict)
    indexes: Mapping[str, Any] = field(default_factory=dict)
    payload: Callable[[int], Mapping[str, Any]] = lambda n: {}
    vector: Callable[[int, random.Random], Any] = lambda n, rng: gauss(rng)
    more: Mapping[str, Any] = field(default_factory=dict)
    points: int = POINTS
    within: frozenset[str] = frozenset()
    poor: frozenset[str] = frozenset()
    unsearchable: tuple[str, ...] = ()
    links: str | None = None


def _few_big(n: int) -> dict[str, Any]:
    """Three large tenants, many of one point, points of two, of none, and of something else."""
    if n % 20 == 0:
        return {"tenant": f"only-{n}"}
    if n % 20 == 1:
        return {"tenant": [f"t{n % 3}", "shared"]}
    if n % 20 == 2:
        return [{}, {"tenant": None}, {"tenant": 7}][n % 3]
    return {"tenant": f"t{n % 3}"}


TENANT = {"tenant": {"type": "keyword", "is_tenant": True}}
SPARSE = {"sparse_vectors": {"words": {"modifier": "idf"}}}

LAYOUTS = {
    "tenants": Layout(
        hnsw=TENANT_ONLY, indexes=TENANT, payload=_few_big, within=frozenset({""}), links=""
    ),
    "tenants-scanned": Layout(
        hnsw={**TENANT_ONLY, "full_scan_threshold": 10_000}, indexes=TENANT, payload=_few_big,
        within=frozenset({""}),
    ),
    "tenants-of-two-kinds": Layout(
        hnsw=TENANT_ONLY, within=frozenset({""}), links="",
        indexes={"shop": {"type": "uuid", "is_tenant": True},
                 "region": {"type": "keyword", "is_tenant": True},
                 "rank": {"type": "integer", "is_principal": True}},
        payload=lambda n: {"shop": str(UUID(int=n % 2)), "region": f"r{n % 4}", "rank": n},
    ),
    "tenants-nested": Layout(
        hnsw=TENANT_ONLY, indexes={"of[].name": {"type": "keyword", "is_tenant": True}},
        payload=lambda n: {"of": [{"name": f"t{n % 3}"}, {"name": f"u{n % 2}"}]},
        within=frozenset({""}), links="",
    ),
    "tenants-unmarked": Layout(
        hnsw=TENANT_ONLY, indexes={"owner": "integer", "age": "float"},
        payload=lambda n: {"owner": n % 4, "age": n / 7}, within=frozenset({""}), links="",
    ),
    "tenants-on-disk": Layout(
        vectors=dense(on_disk=True), hnsw={**TENANT_ONLY, "on_disk": True},
        indexes={"tenant": {"type": "keyword", "is_tenant": True, "on_disk": True}},
        payload=_few_big, within=frozenset({""}), links="",
    ),
    "tenants-unindexed": Layout(hnsw=TENANT_ONLY, poor=frozenset({""}), payload=_few_big),
    "tenants-of-nobody": Layout(hnsw=TENANT_ONLY, indexes=TENANT, poor=frozenset({""})),
    "tenants-of-many-rows": Layout(
        vectors={"rows": dense(multivector_config={"comparator": "max_sim"})},
        vector=lambda n, rng: {"rows": [gauss(rng), gauss(rng)]},
        hnsw=TENANT_ONLY, indexes=TENANT, payload=_few_big, within=frozenset({"rows"}),
        links="rows",
    ),
    "tenants-quantized": Layout(
        hnsw=TENANT_ONLY, indexes=TENANT, payload=_few_big, within=frozenset({""}), links="",
        more={"quantization_config": {"scalar": {"type": "int8"}}},
    ),
    "no-graph": Layout(hnsw={"m": 0}, indexes=TENANT, payload=_few_big),
    "one-vector-for-tenants": Layout(
        vectors={"all": dense(distance="Euclid"), "own": dense(hnsw_config=TENANT_ONLY)},
        vector=lambda n, rng: {"all": gauss(rng), "own": gauss(rng)},
        indexes=TENANT, payload=_few_big, within=frozenset({"own"}), links="all",
    ),
    "tenants-and-all": Layout(
        hnsw={"m": 8, "payload_m": 24}, indexes=TENANT, payload=_few_big, links=""
    ),
    "not-indexed": Layout(more={"optimizers_config": {"indexing_threshold": 1_000_000}}),
    "alike": Layout(vector=lambda n, rng: [1.0] * DIMS if n % 2 else gauss(rng)),
    "zeros": Layout(vector=lambda n, rng: [0.0] * DIMS if n % 5 == 0 else gauss(rng), links=""),
    "two-bits": Layout(
        vectors=dense(size=2, distance="Euclid"), vector=lambda n, rng: gauss(rng, 2),
        more={"quantization_config": {"binary": {"always_ram": True}}}, poor=frozenset({""}),
        points=2000,
    ),
    "sparse": Layout(
        vectors={}, more={**SPARSE, "shard_number": 2}, indexes=TENANT, payload=_few_big,
        vector=lambda n, rng: {"words": {"indices": sorted(rng.sample(range(50), 6)),
                                         "values": [rng.random() + 0.1 for _ in range(6)]}},
    ),
    "silent": Layout(
        vectors={"image": dense()}, more=SPARSE, unsearchable=("words",), links="image",
        vector=lambda n, rng: {"image": gauss(rng), "words": {"indices": [], "values": []}},
    ),
    "on-one-point": Layout(
        vectors={"image": dense(), "rare": dense(size=4)}, more={"shard_number": 3},
        vector=lambda n, rng: {"image": gauss(rng)} | ({"rare": gauss(rng, 4)} if n == 5 else {}),
    ),
}  # fmt: skip
"""By the name of the collection."""
EVERYDAY = (
    "tenants",
    "tenants-of-nobody",
    "no-graph",
    "one-vector-for-tenants",
    "two-bits",
    "silent",
    "on-one-point",
)
"""One of each kind, where not all are asked for."""


def make_layout(client: httpx.Client, name: str, *, background: bool) -> None:
    """Create the collection of that name, and wait until its indexes are built: by the optimizer
    in the `background` of a server, or on request by the sandbox."""
    layout = LAYOUTS[name]
    rng = random.Random(name)
    body = {"vectors": layout.vectors, "hnsw_config": HNSW | layout.hnsw,
            "optimizers_config": OPTIMIZERS, **layout.more}  # fmt: skip
    ask(client, "PUT", f"/collections/{name}", body)
    for path, schema in layout.indexes.items():
        asked = {"field_name": path, "field_schema": schema}
        ask(client, "PUT", f"/collections/{name}/index?wait=true", asked)
    points = [
        {"id": n, "vector": layout.vector(n, rng), "payload": layout.payload(n)}
        for n in range(layout.points)
    ]
    ask(client, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
    if background:
        _wait_built(client, name)
    else:
        ask(client, "PATCH", f"/collections/{name}", {"optimizers_config": {}})


def ask(client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
    answer = client.request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def _wait_built(client: httpx.Client, name: str) -> None:
    deadline, quiet = time.monotonic() + 60, 0
    while quiet < 3:
        assert time.monotonic() < deadline, f"{name} is not optimized"
        time.sleep(0.3)
        quiet = quiet + 1 if ask(client, "GET", f"/collections/{name}")["status"] == "green" else 0
