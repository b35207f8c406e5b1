"""The main job against a live source: quiet, and while somebody writes and deletes.

On the sandbox always; on a real server with QDRANT_BIN.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from qdrant_dr.records import Drilled, Seal
from qdrant_dr.sandbox.seed import seed_demo
from tests.support.driving import do
from tests.support.either_server import KINDS, either_server
from tests.support.servers import Server
from tests.support.world import World, make_world


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with either_server(request.param, tmp_path / "source") as server:
        yield server


def seals(world: World) -> dict[str, Seal]:
    found = [
        Seal.from_bytes(p.read_bytes(), where=str(p))
        for p in world.folders["one"].glob("backups/**/seal.json")
    ]
    return {s.collection: s for s in found}


def test_a_quiet_source_is_sealed_against_itself(source: Server, tmp_path: Path) -> None:
    counts = seed_demo(source.url, points=400)
    world = make_world(tmp_path / "world", source.url)
    end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    assert end.source_kind == source.kind
    for name, seal in seals(world).items():
        assert seal.points == counts[name]
        assert (seal.consistency, seal.reference) == ("quiesced", "source"), seal.reference_reason
        assert seal.live_sample > 20
    drilled = do(world, "drill", engine="server", pick="random", seed=4)
    assert drilled.verdict == "ok", drilled.reasons
    detail = drilled.outcomes[0].detail
    assert isinstance(detail, Drilled)
    assert detail.fingerprint_equal
    # what a restore takes on the sandbox is never a recovery time
    assert detail.target_kind == ("server" if "QDRANT_BIN" in os.environ else "sandbox")


@contextmanager
def writing(url: str, collection: str) -> Iterator[list[set[int]]]:
    """One writer upserts and deletes without a pause; yields the ids after each operation."""
    states: list[set[int]] = [set()]
    stop = threading.Event()
    dice = random.Random(7)

    def write() -> None:
        with httpx.Client(base_url=f"{url}/collections/{collection}", timeout=30) as client:
            number = 0
            while not stop.is_set():
                now = set(states[-1])
                if dice.random() < 0.3 and len(now) > 200:
                    gone = dice.sample(sorted(now), 20)
                    call = client.post("/points/delete?wait=true", json={"points": gone})
                    now -= set(gone)
                else:
                    ids = range(number, number + 40)
                    points = [
                        {"id": i, "vector": [dice.gauss(0, 1) for _ in range(16)]} for i in ids
                    ]
                    call = client.put("/points?wait=true", json={"points": points})
                    number, now = number + 40, now | set(ids)
                call.raise_for_status()
                states.append(now)

    with httpx.Client(base_url=url, timeout=30) as client:
        client.put(
            f"/collections/{collection}",
            json={
                "vectors": {"size": 16, "distance": "Cosine"},
                "optimizers_config": {"indexing_threshold": 10},
            },
        ).raise_for_status()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(states) < 40:
            assert writer.is_alive()
            time.sleep(0.01)
        yield states
    finally:
        stop.set()
        writer.join()


def test_under_writes_every_acknowledged_write_is_inside(source: Server, tmp_path: Path) -> None:
    """An archive is the exact state after its operation number: nothing missing, nothing back."""
    world = make_world(tmp_path / "world", source.url, repositories=("one",))
    with writing(source.url, "busy") as states:
        acknowledged = len(states) - 1
        end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    seal = seals(world)["busy"]
    assert (seal.consistency, seal.reference) == ("in-motion", "self")
    sizes = {len(ids) for ids in states[acknowledged:]}
    assert seal.points in sizes
    verified = do(world, "verify")
    assert verified.verdict == "ok", verified.reasons
    drilled = do(world, "drill", engine="server")
    assert drilled.verdict == "ok", drilled.reasons
