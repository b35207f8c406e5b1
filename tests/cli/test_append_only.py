"""A bucket whose key may only add: every verb but `expire` is green, night after night."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.repository import create_repository
from tests.support.denying import add_only
from tests.support.expiring import LITTLE, fill
from tests.support.servers import sandbox_server
from tests.support.stores import Place, s3_place
from tests.support.world import World, in_store, seed

RECORDS = ("runs/", "watches/", "proofs/", "backups/")
"""What every night adds to, by design."""


@pytest.fixture(scope="module")
def adding() -> Iterator[Place]:
    with s3_place() as place, add_only(place) as adding:
        yield adding


def rewrite(world: World, *, append_only: bool = False, **sections: Any) -> None:
    body = yaml.safe_load(world.file.read_text()) | sections
    body["repositories"][0]["append_only"] = append_only
    world.file.write_text(yaml.safe_dump(body))


def others(world: World) -> list[str]:
    """Every object but those that a run adds in any case."""
    store = open_all(configfile.load(world.reference))[0]["one"].store
    return [
        s.path
        for top in ("backups", "proofs", "runs", "watches", "expired", "holds", "probes")
        for s in store.find(top)
        if not s.path.startswith(RECORDS)
    ]


FIRST = (
    "check", "backup", "replicate", "verify", "drill --engine edge", "report", "status", "watch",
    "list",
)  # fmt: skip
AGAIN = ("check", "backup", "replicate", "watch")
"""What writes, once more: the others add records only."""


@pytest.mark.timeout(420)  # some fifteen commands, each with a bucket's round trips
def test_two_nights_by_a_key_that_may_only_add(
    qdr: Callable[..., Any], adding: Place, tmp_path: Path
) -> None:
    with sandbox_server(tmp_path / "source") as server:
        seed(server.url, "movies", points=30)
        world = in_store(tmp_path / "world", server.url, adding)
        back = f"restore movies@latest --to {server.url} --as back --execute"
        left: list[list[str]] = []
        for night in ((*FIRST, back), AGAIN):
            for line in night:
                said = qdr("-c", world.reference, *line.split())
                assert said.code == 0, (line, said.out, said.err)
            left.append(others(world))
        assert left[0] == left[1]
        assert {path.split("/")[0] for path in left[1]} == {"probes"}


def test_expire_says_once_what_is_missing_and_leaves_everything(
    qdr: Callable[..., Any], adding: Place, tmp_path: Path
) -> None:
    world = in_store(tmp_path, "http://127.0.0.1:9", adding)
    disk = {"name": "two", "url": str(tmp_path / "two"), "domain": "disk"}
    cfg = RepositoryConfig.model_validate(disk)
    disk["id"] = create_repository(cfg, datetime.now(UTC))
    body = yaml.safe_load(world.file.read_text())
    rewrite(world, retention=LITTLE, repositories=[*body["repositories"], disk])
    fill(world, 5)
    said = qdr("-c", world.reference, "expire", "--execute")
    assert said.code == 1
    assert said.err.count("error: ") == 1, said.err
    assert len(list((tmp_path / "two").glob("backups/**/manifest.json"))) == 2
    assert "s3:DeleteObject" in said.err
    assert "append_only: true" in said.err
    assert others(world) == []

    rewrite(world, append_only=True)
    said = qdr("-c", world.reference, "expire", "--execute")
    assert said.code == 0, said.err
    assert "3 copies that no rule keeps stay there" in said.err
    assert others(world) == []
    said = qdr("-c", world.reference, "status")
    assert "one: repository one is append-only" in said.err
    said = qdr("-c", world.reference, "expire", "-r", "one", "--execute")
    assert said.code == 4
    assert "another configuration and key" in said.err
    assert qdr("-c", world.reference, "expire").code == 0
