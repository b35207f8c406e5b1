"""Settings of a later server go from one server over a repository into another, in real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.driving import do
from tests.support.later_server import later_server
from tests.support.loopback import loopback
from tests.support.servers import sandbox_server
from tests.support.world import make_world

SETTINGS: dict[str, Any] = {
    "vectors": {"size": 4, "distance": "Dot"},
    "hnsw_config": {"m": 8, "later_placement": {"graph": "cold", "links": [1, 2.5, None]}},
    "optimizers_config": {"indexing_threshold": 100, "later_budget": 3},
    "later_prefix_index": {},
    "later_params_memory": {"vectors": "pinned"},
    "metadata": {"owner": "search", "later_owner": "data"},
}
INDEXES: list[dict[str, Any]] = [
    {"field_name": "city", "field_schema": {"type": "keyword", "later_prefix": True}},
    {"field_name": "year", "field_schema": "integer", "later_beside": {"x": 1}},
]


def put(url: str, path: str, body: Any) -> None:
    answer = loopback.put(f"{url}{path}", json=body, timeout=30)
    assert answer.is_success, answer.text


def test_they_are_asked_for_again_and_their_loss_is_said(tmp_path: Path) -> None:
    with sandbox_server(tmp_path / "sandbox") as plain, later_server(plain.url) as (later, made):
        put(later.url, "/collections/films", SETTINGS)
        for index in INDEXES:
            put(later.url, "/collections/films/index?wait=true", index)
        points = [
            {"id": n, "vector": [n, 1, 0, 2], "payload": {"city": f"c{n % 3}", "year": n}}
            for n in range(1, 60)
        ]
        put(later.url, "/collections/films/points?wait=true", {"points": points})
        world = make_world(tmp_path / "world", later.url)
        assert do(world, "backup").verdict == "ok"

        def restore(to: str, name: str, **more: Any) -> Any:
            return do(
                world, "restore", backups=["films@latest-proven"], to=to, name=name,
                dry_run=False, **more,
            )  # fmt: skip

        restore(later.url, "salvaged", salvage=True)
        created, *indexes = made["salvaged"]
        assert {k: created[k] for k in SETTINGS if k.startswith("later_")} == {
            k: v for k, v in SETTINGS.items() if k.startswith("later_")
        }
        assert created["hnsw_config"].items() >= SETTINGS["hnsw_config"].items()
        assert created["optimizers_config"]["later_budget"] == 3
        assert created["metadata"] == SETTINGS["metadata"]
        assert sorted(indexes, key=lambda i: i["field_name"]) == [
            INDEXES[0], {**INDEXES[1], "field_schema": "integer"},
        ]  # fmt: skip

        end = restore(plain.url, "older")
        assert end.verdict == "failed"
        (outcome,) = [o for o in end.outcomes if o.unit == "restore"]
        assert "later_prefix" in outcome.error.message
        assert "later_beside" not in outcome.error.message
