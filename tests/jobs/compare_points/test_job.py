"""`diff` of two states on servers, against dicts of what a client reads of them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pyarrow.parquet as pq
import pytest

from qdrant_dr import configfile
from qdrant_dr.cli import main
from qdrant_dr.errors import CollectionVanished, PlanRefused, UsageError
from qdrant_dr.jobs.compare_points.job import Differences, compare
from qdrant_dr.jobs.run.run import utc_now
from tests.support.driving import do
from tests.support.servers import Server, emptied, qdrant_server, sandbox_server
from tests.support.world import World, make_world

NAME = "movies"
Points = dict[int | str, dict[str, Any]]


@pytest.fixture(
    scope="module", params=["sandbox", pytest.param("server", marks=pytest.mark.qdrant)]
)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    if request.param == "server" and "QDRANT_BIN" not in os.environ:
        pytest.skip("needs QDRANT_BIN")
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(tmp_path_factory.mktemp("source")) as server:
        yield server


@pytest.fixture
def client(running: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emptied(running).url, timeout=60, trust_env=False) as client:
        made = {
            "vectors": {
                "image": {"size": 4, "distance": "Cosine"},
                "text": {"size": 4, "distance": "Dot"},
            },
            "sparse_vectors": {"words": {}},
        }
        client.put(f"/collections/{NAME}", json=made).raise_for_status()
        put(client, [*map(point, range(1, 401)), *(point(str(UUID(int=n))) for n in range(1, 9))])
        yield client


@pytest.fixture
def world(client: httpx.Client, tmp_path: Path) -> World:
    return make_world(tmp_path, str(client.base_url).rstrip("/"))


def point(i: int | str) -> dict[str, Any]:
    n = i if isinstance(i, int) else UUID(i).int
    return {
        "id": i,
        "payload": {
            "city": ("Oslo", "Bern", "Rome", "Lima")[n % 4], "n": n, "live": n % 5 == 0,
            "deep": {"list": [n % 3, {"a": None}]},
        },
        "vector": {
            "image": [1.0, n / 7, -1.0, 0.25], "text": [n / 3, 1.0, 2.0, 3.0],
            "words": {"indices": [0, n], "values": [0.5, n / 9]},
        },
    }  # fmt: skip


def put(client: httpx.Client, points: list[dict[str, Any]]) -> None:
    url = f"/collections/{NAME}/points?wait=true"
    client.put(url, json={"points": points}).raise_for_status()


def post(client: httpx.Client, what: str, **body: Any) -> Any:
    answer = client.post(f"/collections/{NAME}/points/{what}?wait=true", json=body)
    answer.raise_for_status()
    return answer.json()["result"]


def content(client: httpx.Client) -> Points:
    """What a client reads, in one page."""
    found = post(client, "scroll", limit=5000, with_payload=True, with_vector=True)
    assert found["next_page_offset"] is None
    return {p["id"]: p for p in found["points"]}


def apart(before: Points, after: Points) -> dict[int | str, tuple[str, list[str]]]:
    """What differs, by id, as dicts compare it."""
    found: dict[int | str, tuple[str, list[str]]] = {}
    for i in before.keys() | after.keys():
        if i not in after:
            found[i] = ("removed", [])
        elif i not in before:
            found[i] = ("added", [])
        else:
            one, two = before[i], after[i]
            parts = ["payload"] * (one["payload"] != two["payload"])
            names = sorted(one["vector"].keys() | two["vector"].keys())
            parts += [f"vector:{n}" for n in names if one["vector"].get(n) != two["vector"].get(n)]
            if parts:
                found[i] = ("changed", parts)
    return found


def told(out: Path) -> dict[int | str, tuple[str, list[str]]]:
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    return {r["id"]: (r["change"], r["components"]) for r in rows}


def differ(world: World, before: str, after: str, out: Path | None = None) -> Differences:
    return compare(configfile.load(world.reference), before, after, out=out, now=utc_now())


def rework(client: httpx.Client) -> None:
    """Points are lost by a filter, made, and changed in each of their parts."""
    where = {"must": [{"key": "city", "match": {"value": "Rome"}}]}
    post(client, "delete", filter={**where, "must_not": [{"has_id": [2, 6]}]})
    put(client, [point(1001), point(str(UUID(int=77)))])
    others = {i: point(i) for i in (1, 3, 4, 5, 7, 8, str(UUID(int=1)))}
    for i in (1, 3):
        others[i]["payload"]["n"] = -1
    del others[4]["payload"]
    for i in (5, str(UUID(int=1))):
        others[i]["vector"]["image"] = [0.5, 1.0, 1.0, 1.0]
    others[7]["vector"]["words"] = {"indices": [4], "values": [1.5]}
    del others[8]["vector"]["text"]
    put(client, [*others.values()])


def test_what_is_found_is_what_dicts_find(
    client: httpx.Client, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do(world, "backup", prove="content").verdict == "ok"
    first = content(client)
    rework(client)
    second = content(client)
    client.put(f"/collections/{NAME}/index", json={"field_name": "city", "field_schema": "keyword"})
    assert do(world, "backup", prove="content").verdict != "failed"
    old, new = (f"{NAME}@{m.backup_id}" for m in world.manifests("one"))
    wanted = apart(first, second)

    found = differ(world, old, new, tmp_path / "two.ndjson")
    assert told(tmp_path / "two.ndjson") == wanted
    assert list(told(tmp_path / "two.ndjson"))[-1] == str(UUID(int=77))  # in the order of ids
    kinds = [kind for kind, _ in wanted.values()]
    assert found.counts == {k: kinds.count(k) for k in ("removed", "added", "changed")}
    assert (found.before, found.after) == (len(first), len(second))
    assert found.components == {
        "payload": 3, "vector:image": 2, "vector:text": 1, "vector:words": 1
    }  # fmt: skip
    assert found.settings == ("payload index on 'city' is new",)
    gone = found.counts["removed"]
    kept = len(first) - gone
    assert found.sentences[0] == (
        f'{gone} of {len(first)} points of {old} are gone; all have city = "Rome", '
        f"as do 2 of the {kept} kept"
    )
    assert not found.equal

    live = differ(world, old, "live", tmp_path / "live.ndjson")
    assert told(tmp_path / "live.ndjson") == wanted
    assert "was not written to while it was read" in " ".join(live.notes)
    back = differ(world, f"{NAME}@live", old, tmp_path / "back.parquet")
    table = pq.read_table(tmp_path / "back.parquet").to_pylist()
    swap = {"removed": "added", "added": "removed", "changed": "changed"}
    assert {
        r["id"] if r["number"] is None else r["number"]: (swap[r["change"]], r["components"])
        for r in table
    } == wanted
    assert back.counts["removed"] == live.counts["added"] == 2

    code = main(["-c", world.reference, "--json", "diff", new, "live"])
    assert (code, json.loads(capsys.readouterr().out)["rows"]) == (0, [])
    code = main(["-c", world.reference, "diff", old, "live"])
    said = capsys.readouterr()
    assert code == 6
    assert 'all have city = "Rome"' in said.err
    assert "removed" in said.out


def test_only_buckets_that_differ_are_read(
    client: httpx.Client, world: World, tmp_path: Path
) -> None:
    assert do(world, "backup", prove="content").verdict == "ok"
    put(client, [{**point(5), "payload": {"n": 1}}])
    assert do(world, "backup", prove="content").verdict == "ok"
    assert do(world, "backup", prove="content").verdict == "ok"
    keys = [f"{NAME}@{m.backup_id}" for m in world.manifests("one")]
    found = differ(world, *keys[:2], tmp_path / "few.ndjson")
    assert found.buckets == 1
    assert "1 of 256 buckets" in " ".join(found.notes)
    assert told(tmp_path / "few.ndjson") == {5: ("changed", ["payload"])}
    assert (found.before, found.after) == (408, 408)
    for part in world.parts("one"):
        part.unlink()
    for part in world.parts("two"):
        part.unlink()
    same = differ(world, *keys[1:])
    assert same.equal
    assert same.buckets == 0


def test_a_writer_is_said_and_does_no_harm(client: httpx.Client, world: World) -> None:
    assert do(world, "backup", prove="content").verdict == "ok"
    stop = threading.Event()

    def write() -> None:
        n = 5000
        while not stop.is_set():
            put(client, [point(n)])
            n += 1
            stop.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = differ(world, f"{NAME}@latest", "live")
    finally:
        stop.set()
        writer.join()
    assert found.counts["removed"] == found.counts["changed"] == 0
    assert "was read while operations" in " ".join(found.notes)


def test_a_collection_that_was_made_anew_is_said(client: httpx.Client, world: World) -> None:
    assert do(world, "backup", prove="content").verdict == "ok"
    client.delete(f"/collections/{NAME}").raise_for_status()
    made = {"vectors": {"image": {"size": 3, "distance": "Cosine"}}}
    client.put(f"/collections/{NAME}", json=made).raise_for_status()
    put(client, [{"id": 1, "vector": {"image": [1.0, 0.0, 0.0]}}])
    live = differ(world, f"{NAME}@latest", "live")
    assert f"{NAME}@live is not the collection that was backed up" in " ".join(live.notes)
    assert live.counts == {"removed": 407, "added": 0, "changed": 1}
    assert live.components == {
        "payload": 1, "vector:image": 1, "vector:text": 1, "vector:words": 1
    }  # fmt: skip
    assert any("vectors" in s for s in live.settings)
    assert do(world, "backup", prove="content").verdict != "failed"
    old, new = (f"{NAME}@{m.backup_id}" for m in world.manifests("one"))
    assert "two lives" in " ".join(differ(world, old, new).notes)


def test_what_cannot_be_compared_is_refused(
    client: httpx.Client, world: World, tmp_path: Path
) -> None:
    actions = [{"create_alias": {"collection_name": NAME, "alias_name": "films"}}]
    client.post("/collections/aliases", json={"actions": actions}).raise_for_status()
    with pytest.raises(PlanRefused, match="is an alias of 'movies'"):
        differ(world, "films@live", f"{NAME}@live")
    with pytest.raises(CollectionVanished):
        differ(world, "none@live", f"{NAME}@live")
    for one, two in (("live", "live"), (f"{NAME}@live", f"{NAME}@live")):
        with pytest.raises(UsageError, match="with itself"):
            differ(world, one, two)
    with pytest.raises(UsageError, match=r"neither in .ndjson"):
        differ(world, f"{NAME}@latest", "live", tmp_path / "out.csv")
    (tmp_path / "there.ndjson").write_text("mine")
    with pytest.raises(PlanRefused, match="exists already"):
        differ(world, f"{NAME}@latest", "live", tmp_path / "there.ndjson")
    assert (tmp_path / "there.ndjson").read_text() == "mine"
