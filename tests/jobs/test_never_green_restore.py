"""Whoever restores wants to believe it: what is wrong, missing, stale or not ours is never green.

Each test is a way in which a restore once ended well though it had not, or took away what was not
its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr.errors import UsageError
from qdrant_dr.jobs import restoring
from qdrant_dr.jobs.restore import RestoreRequest
from qdrant_dr.jobs.restore_journal import Journal, journal_of, unfinished
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.records import Outcome, Restored, RunEnd, Seal, SeenCollection
from tests.jobs.driving import do, outcomes, rot
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource
from tests.support.servers import Server, qdrant_cluster, sandbox_server
from tests.support.spy import Spy
from tests.support.world import World, make_world

MOVIES = "movies@latest-proven"
UPLOAD = "/collections/movies/snapshots/upload$"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A proven backup of movies, which has an alias; the source is gone."""
    with ReplaySource(["basic"]) as source:
        source.collections["movies"].aliases = ["films"]
        made = make_world(tmp_path / "world", source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Server]:
    with sandbox_server(tmp_path / "target") as server:
        yield server


def bring_back(world: World, url: str, backup: str = MOVIES, **request: Any) -> RunEnd:
    return do(world, "restore", backups=[backup], to=url, **{"dry_run": False, **request})


def only(end: RunEnd) -> tuple[Outcome, Restored]:
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored), outcome
    return outcome, outcome.detail


def get(url: str, path: str) -> Any:
    return httpx.get(f"{url}{path}", timeout=30).raise_for_status().json()["result"]


def post(url: str, path: str, **body: Any) -> None:
    httpx.post(f"{url}{path}", json=body, timeout=30).raise_for_status()


def names(url: str) -> list[str]:
    return sorted(c["name"] for c in get(url, "/collections")["collections"])


def aliases(url: str) -> dict[str, str]:
    return {a["alias_name"]: a["collection_name"] for a in get(url, "/aliases")["aliases"]}


def count(url: str, name: str) -> int:
    body = {"exact": True}
    answer = httpx.post(f"{url}/collections/{name}/points/count", json=body, timeout=30)
    return int(answer.raise_for_status().json()["result"]["count"])


def theirs(url: str, world: World, points: int = 3) -> None:
    """Somebody makes a collection of that name, like the one in the backup, and fills it."""
    params = world.manifests("one")[0].collection_info
    import json

    vectors = json.loads(params)["config"]["params"]["vectors"]
    httpx.put(
        f"{url}/collections/movies", json={"vectors": vectors}, timeout=30
    ).raise_for_status()
    named = {"": vectors} if "size" in vectors else vectors
    vector = {n: [0.5] * v["size"] for n, v in named.items()}
    made = [{"id": n, "vector": vector.get("", vector), "payload": {"of": "them"}}
            for n in range(1, points + 1)]  # fmt: skip
    httpx.put(
        f"{url}/collections/movies/points?wait=true", json={"points": made}, timeout=30
    ).raise_for_status()


def remake(url: str, world: World) -> None:
    """The half-made collection is deleted, and made again by somebody else."""
    httpx.delete(f"{url}/collections/movies", timeout=30).raise_for_status()
    theirs(url, world)


def cut_off(world: World, url: str, at: str, *, then: bool = True) -> None:
    """A restore that dies at a call, as under SIGKILL: its journal stays."""

    class Killed(BaseException):
        pass

    def die(line: str) -> None:
        if line == at:
            raise Killed

    raise NotImplementedError(die, then)


def spool(world: World) -> Path:
    return world.file.parent / "spool"
