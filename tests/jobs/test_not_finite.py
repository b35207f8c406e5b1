"""Vectors that are not finite: taken by a server with 200, answered as null, restored all the same.

float16 overflows at 70000, binary32 at 1e39, and cosine makes a NaN of either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr.jobs.restore import unit as restoring
from qdrant_dr.proof.fingerprint import in_bits
from qdrant_dr.records import Restored, RunEnd, Seal
from tests.support.driving import do, outcomes
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.world import World, make_world

ODD = [3, 50, 51, 299]
"""Ids of the points that are not finite."""
VECTORS: dict[str, dict[str, Any]] = {
    "binary32": {"size": 2, "distance": "Euclid"},
    "float16": {"size": 2, "distance": "Dot", "datatype": "float16"},
    "cosine": {"size": 2, "distance": "Cosine"},
    "rows": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
}


def vector(name: str, n: int) -> Any:
    odd = {"float16": 70000}.get(name, -1e39 if n % 2 else 1e39) if n in ODD else n + 0.5
    # a first row of whole numbers, written as integers, reads as the indices of a sparse vector
    return [[1.0, float(n)], [odd, 2]] if name == "rows" else [odd, 1 + n]


def put(url: str, path: str, body: Any) -> None:
    httpx.put(f"{url}{path}", json=body, timeout=60).raise_for_status()


def fill(url: str) -> None:
    body = {"vectors": VECTORS, "sparse_vectors": {"words": {}}, "shard_number": 2}
    put(url, "/collections/odd", body)
    points = [
        {
            "id": n,
            "payload": {"n": n},
            "vector": {name: vector(name, n) for name in VECTORS}
            | {"words": {"indices": [5, n + 9], "values": [1e39 if n in ODD else 1, 2]}},
        }
        for n in range(300)
    ]
    put(url, "/collections/odd/points?wait=true", {"points": points})


@pytest.fixture(
    scope="module",
    params=[
        "sandbox",
        pytest.param(
            "server",
            marks=pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
        ),
    ],
)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    make = sandbox_server if request.param == "sandbox" else qdrant_server
    with make(tmp_path_factory.mktemp("target")) as server:
        yield server


@pytest.fixture(scope="module")
def proven(target: Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A backup of `odd`, which lies on the target, proven to depth search."""
    fill(target.url)
    made = make_world(
        tmp_path_factory.mktemp("world"), target.url, repositories=("one",),
        objectives={"proven": {"depth": "search"}},
    )  # fmt: skip
    end = do(made, "backup")
    assert end.verdict == "ok", (end.reasons, [o.notes for o in end.outcomes])
    return made


def seal_path(world: World) -> Path:
    return min(world.folders["one"].glob("backups/**/seal.json"))


def seal_of(world: World) -> Seal:
    path = seal_path(world)
    return Seal.from_bytes(path.read_bytes(), where=str(path))


def of_version_1(seal: Seal) -> Seal:
    """As the version of before sealed it: by the bits that the engine reads."""
    shards = tuple(
        s.model_copy(
            update={
                "settled": in_bits(s.settled),
                "replayed": in_bits(s.replayed) if s.replayed else None,
            }
        )
        for s in seal.shards
    )
    return seal.model_copy(update={"shards": shards, "total": in_bits(seal.total)})


@pytest.fixture
def older(proven: World) -> Iterator[World]:
    """The same with a seal of version 1, proven against it by a run of today."""
    path = seal_path(proven)
    now = path.read_bytes()
    old = of_version_1(seal_of(proven))
    assert (old.total.encoding, seal_of(proven).total.encoding) == (1, 2)
    path.write_bytes(old.to_bytes())
    try:
        end = do(proven, "verify", depth="search")
        assert end.verdict == "ok", end.reasons
        yield proven
    finally:
        path.write_bytes(now)
        assert do(proven, "verify", depth="search").verdict == "ok"


def bring_back(world: World, url: str, name: str, **request: Any) -> RunEnd:
    return do(
        world, "restore", backups=["odd@latest-proven"], to=url, name=name, dry_run=False, **request
    )


def restored(end: RunEnd) -> Restored:
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored), outcome
    return outcome.detail


def test_it_is_sealed_against_its_source_and_searched(proven: World) -> None:
    seal = seal_of(proven)
    assert (seal.reference, seal.suspect, seal.points) == ("source", (), 300)
    names = {*VECTORS, "words"}
    assert {n for n in names if seal.total.odd(n) == len(ODD)} == names
    assert {q.vector for q in seal.golden} >= names
    assert not {q.point for q in seal.golden} & set(ODD)
    for query in seal.golden:
        if query.vector not in ("words", "rows"):  # these may score finite by what they share
            assert not set(query.top) & set(ODD)
    end = do(proven, "verify", depth="search")
    assert end.verdict == "ok", end.reasons


def test_a_perfect_backup_is_restored(proven: World, target: Server) -> None:
    end = bring_back(proven, target.url, "back")
    assert end.verdict == "ok", end.reasons
    assert (restored(end).fingerprint_equal, restored(end).points_restored) == (True, 300)


def test_a_seal_of_version_1_is_held_against_a_server(older: World, target: Server) -> None:
    """The archive is read once more: as it equals the seal, so the server equals what was read."""
    end = bring_back(older, target.url, "back-1")
    assert end.verdict == "ok", end.reasons
    assert restored(end).fingerprint_equal is True


def test_a_server_that_differs_from_a_seal_of_version_1_is_found(
    older: World, target: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = restoring.wait_restored

    def tamper(*given: Any, **named: Any) -> Any:
        where = {"must": [{"has_id": [ODD[0]]}]}
        body = {"payload": {"n": "tampered"}, "filter": where}
        httpx.post(
            f"{target.url}/collections/other/points/payload?wait=true", json=body, timeout=30
        ).raise_for_status()
        return wait(*given, **named)

    monkeypatch.setattr(restoring, "wait_restored", tamper)
    end = bring_back(older, target.url, "other")
    assert end.verdict == "failed"
    assert "payload differs in 1 of 256 buckets" in end.reasons[0]
    assert "vector" not in end.reasons[0]


def test_a_drill_restores_it(proven: World, tmp_path: Path) -> None:
    """On the sandbox, or, with QDRANT_BIN, on a server, where its indexes are asked, too."""
    make = qdrant_server if "QDRANT_BIN" in os.environ else sandbox_server
    body = proven.file.read_text()
    with make(tmp_path / "scratch") as scratch:
        drill = {"scratch": {"url": scratch.url, "disposable": True}}
        proven.file.write_text(yaml.safe_dump({**yaml.safe_load(body), "drill": drill}))
        try:
            end = do(proven, "drill", engine="server", pick="latest")
            assert end.verdict == "ok", end.reasons
        finally:
            proven.file.write_text(body)


def test_a_salvage_names_what_no_request_can_carry(proven: World, target: Server) -> None:
    end = bring_back(proven, target.url, "saved", salvage=True)
    assert end.verdict == "degraded", end.reasons
    (outcome,) = outcomes(end, "restore")
    assert restored(end).lost_ids == tuple(ODD)
    assert restored(end).points_restored == 300 - len(ODD)
    assert any("not finite" in note for note in outcome.notes)
    assert outcome.error is None
