"""What does not answer is told as that, and by exit code 5: never as "no backup", never as 1."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.cli import main
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import NodeUnreachable, QuorumMissed, RepositoryUnreachable
from qdrant_dr.jobs.check.rows import Checked, failed
from qdrant_dr.repository import create_repository
from qdrant_dr.stores.local import LocalStore
from tests.support.replay import ReplaySource
from tests.support.thorough import few

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as replayed:
        yield replayed


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory, source: ReplaySource) -> dict[str, Any]:
    """The configuration of a cluster with one backup in two repositories."""
    folder = tmp_path_factory.mktemp("unreachable")
    places = []
    for name in ("one", "two"):
        cfg = RepositoryConfig(name=name, url=str(folder / name), domain=name)
        made = create_repository(cfg, datetime.now(UTC))
        places.append({"name": name, "id": made, "url": cfg.url, "domain": name})
    body = {
        "format": 1,
        "cluster": {
            "name": "shop", "nodes": [source.url], "timeouts": {"connect": "2s", "read": "5s"},
        },
        "repositories": places,
        "copies": {"quorum": 1, "domains": 1, "stall_timeout": "5s"},
        "capture": {"spool": {"path": str(folder / "spool"), "max": "1GiB"}},
    }  # fmt: skip
    (folder / "c.yaml").write_text(yaml.safe_dump(body))
    assert main(["backup", "-q", "-c", str(folder / "c.yaml")]) == 0
    return body


@pytest.fixture
def world(tmp_path: Path, body: dict[str, Any]) -> dict[str, Any]:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(body))
    return copy.deepcopy(body)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of repositories that do not answer."""
    names: set[str] = set()
    read = LocalStore.read

    def reading(store: LocalStore, path: str) -> bytes:
        if store.name in names:
            raise RepositoryUnreachable(f"repository {store.name}: it does not answer")
        return read(store, path)

    monkeypatch.setattr(LocalStore, "read", reading)
    return names


LOOKING = [
    ["list"],
    ["list", "movies"],
    ["show", "movies@latest"],
    ["replicate"],
    ["verify"],
    ["verify", "movies@latest"],
    ["drill"],
    ["expire"],
    ["expire", "--execute"],
    ["hold"],
    ["hold", "movies@latest", "--reason", "case 4711"],
    ["acknowledge"],
    ["acknowledge", "movies@latest", "--reason", "known to us"],
    ["startup-archive", "--out", "full.snapshot"],
    ["repository", "list"],
    ["repository", "show", "one"],
    ["backup"],
    ["check"],
]


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_where_nothing_can_be_read_nothing_is_said_of_backups(
    words: list[str], world: Any, away: set[str], qdr: Any
) -> None:
    away |= {"one", "two"}
    said = qdr(*words, "-c", "c.yaml", "--json")
    assert said.code == 5, said.out
    assert "repository-unreachable" in {e["code"] for e in said.json["errors"]}
    for untrue in ("there is no backup", "nothing was backed up", "no sealed copy", "no copy of"):
        assert untrue not in said.out


def test_one_of_two_that_does_not_answer_is_degraded_and_the_other_is_used(
    world: Any, away: set[str], qdr: Any
) -> None:
    away.add("one")
    for words in (["list"], ["show", "movies@latest"], ["backup"], ["hold"], ["acknowledge"]):
        assert qdr(*words, "-c", "c.yaml", "--json").code == 3, words
    assert qdr("check", "-c", "c.yaml").code == 5


def test_a_restore_to_an_unreachable_server(world: Any, qdr: Any) -> None:
    said = qdr("restore", "movies@latest", "--to", NOBODY, "-c", "c.yaml", "--json")
    assert (said.code, said.json["errors"][0]["code"]) == (5, "node-unreachable")


def test_units_that_fail_only_for_want_of_an_answer(
    world: Any, source: ReplaySource, monkeypatch: pytest.MonkeyPatch, qdr: Any
) -> None:
    """The nodes answer as the run begins, and not any more as it captures."""

    def unreachable(*_: Any) -> Any:
        raise NodeUnreachable(f"{source.url} could not be reached to make a snapshot")

    monkeypatch.setattr("qdrant_dr.jobs.backup.capture.capture", unreachable)
    assert qdr("backup", "-c", "c.yaml").code == 5

    def missed(*_: Any) -> Any:
        raise QuorumMissed("1 of 2 copies")

    monkeypatch.setattr("qdrant_dr.jobs.backup.capture.capture", missed)
    assert qdr("backup", "-c", "c.yaml").code == 1


@pytest.mark.parametrize("order", few([[0, 1], [1, 0]], [1, 0]))
def test_one_dead_node_beside_a_living_one(
    order: list[int], world: Any, source: ReplaySource, tmp_path: Path, qdr: Any
) -> None:
    nodes = [source.url, NOBODY]
    world["cluster"]["nodes"] = [nodes[i] for i in order]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(world))
    for more in ([], ["--read-only"]):
        said = qdr("check", "-c", "c.yaml", "--json", *more)
        assert said.code == 5
        reached = {r["scope"]: r["state"] for r in said.json["rows"] if r["what"] == "reach"}
        assert reached == {f"node {source.url}": "ok", f"node {NOBODY}": "failed"}


def test_what_is_out_of_reach_comes_before_what_may_follow_from_it() -> None:
    reach = failed("node a", "reach", NodeUnreachable("no"))
    other = failed("repository r", "write", QuorumMissed("no"))
    assert Checked((reach, other)).exit_code == 5
    assert Checked((other,)).exit_code == 1


@pytest.mark.parametrize("out", ["c.yaml", "c.yaml/below", "/proc/nowhere"])
def test_a_report_that_cannot_be_written_says_where_and_what_else(
    out: str, world: Any, tmp_path: Path, qdr: Any
) -> None:
    said = qdr("report", "--out", out if out.startswith("/") else tmp_path / out, "-c", "c.yaml")
    assert said.code == 1
    assert "the report cannot be written to" in said.err
    assert "qdrant-dr report --out FOLDER" in said.err
    assert "Error" not in said.err
