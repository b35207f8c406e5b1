"""Every kind of setting of a current server comes back as it was, whole and point by point."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from qdrant_dr.cluster import differences
from tests.support.contents import ask, get
from tests.support.driving import do
from tests.support.servers import Server, qdrant_server
from tests.support.world import World, make_world

pytestmark = [
    pytest.mark.qdrant,
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
]
DENSE = {"size": 64, "distance": "Cosine"}
INDEXES: dict[str, Any] = {
    "tenant": {"type": "keyword", "is_tenant": True},
    "rank": {"type": "integer", "is_principal": True, "lookup": False, "range": True},
    "text": {"type": "text", "tokenizer": "word", "stopwords": "english", "on_disk": True},
}
COLLECTIONS: dict[str, dict[str, Any]] = {
    "binary-with-defaults": {"vectors": DENSE, "quantization_config": {"binary": {}}},
    "binary-two-bits": {
        "vectors": DENSE,
        "quantization_config": {
            "binary": {"encoding": "two_bits", "query_encoding": "scalar8bits"},
        },
    },
    "turbo-with-defaults": {"vectors": DENSE, "quantization_config": {"turbo": {}}},
    "turbo": {
        "vectors": {
            **DENSE, "quantization_config": {"turbo": {"bits": "bits2", "always_ram": True}},
        },
        "on_disk_payload": True,
    },
    "product": {
        "vectors": {**DENSE, "on_disk": True},
        "quantization_config": {"product": {"compression": "x16"}},
        "hnsw_config": {"inline_storage": False, "payload_m": 8},
    },
    "named": {
        "vectors": {
            "size": {**DENSE, "datatype": "float16", "hnsw_config": {"on_disk": True}},
            "rows": {**DENSE, "multivector_config": {"comparator": "max_sim"}},
        },
        "sparse_vectors": {
            "words": {"modifier": "idf", "index": {"on_disk": True, "datatype": "float16"}},
            "plain": {},
        },
        "metadata": {"a.b": {"index": {}}, "list": [1, 2.5, None]},
    },
    "strict": {
        "vectors": DENSE, "shard_number": 2,
        "strict_mode_config": {"enabled": True, "max_query_limit": 100, "search_max_hnsw_ef": 200},
        "wal_config": {"wal_capacity_mb": 8},
        "optimizers_config": {"default_segment_number": 1, "prevent_unoptimized": False},
    },
}  # fmt: skip


def points(name: str) -> list[dict[str, Any]]:
    def vector(n: int) -> Any:
        one = [((n * 7 + k * 3) % 11) - 5.0 for k in range(64)]
        if name != "named":
            return one
        words = {"indices": [n, n + 9], "values": [0.5, 1.5]}
        return {"size": one, "rows": [one, one[::-1]], "words": words, "plain": words}

    return [
        {
            "id": n, "vector": vector(n),
            "payload": {"tenant": f"t{n % 3}", "rank": n, "text": f"the film {n}"},
        }
        for n in range(1, 80)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, World]]:
    folder = tmp_path_factory.mktemp("current")
    with qdrant_server(folder / "server") as server:
        for name, body in COLLECTIONS.items():
            ask(server.url, "PUT", f"/collections/{name}", body)
            for field, schema in INDEXES.items():
                index = {"field_name": field, "field_schema": schema}
                ask(server.url, "PUT", f"/collections/{name}/index?wait=true", index)
            path = f"/collections/{name}/points?wait=true"
            ask(server.url, "PUT", path, {"points": points(name)})
        world = make_world(folder / "world", server.url)
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
        yield server, world


@pytest.mark.parametrize("salvage", [False, True], ids=["whole", "salvage"])
@pytest.mark.parametrize("name", COLLECTIONS)
def test_it_comes_back_as_it_was(source: tuple[Server, World], name: str, salvage: bool) -> None:
    server, world = source
    again = f"{name}-{salvage}"
    end = do(
        world, "restore", backups=[f"{name}@latest-proven"], to=server.url, name=again,
        dry_run=False, salvage=salvage,
    )  # fmt: skip
    (outcome,) = [o for o in end.outcomes if o.unit == "restore"]
    assert outcome.verdict == "ok", (outcome.error, outcome.notes)
    was, now = (get(server.url, f"/collections/{c}") for c in (name, again))
    assert now["config"] == was["config"]
    for field, entry in was["payload_schema"].items():
        assert now["payload_schema"][field] == entry
    assert differences(was, now) == ()
    assert now["points_count"] == 79
