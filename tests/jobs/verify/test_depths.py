"""Depths `search` and `restore` in whole runs; `restore` needs a real server (QDRANT_BIN)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qdrant_dr.cluster import Node, drop_target, recover_by_upload, wait_ready
from qdrant_dr.jobs.target.search import search_served
from qdrant_dr.proof import plan_seal, prove
from qdrant_dr.records import Proof, RunEnd, Seal
from tests.support.archives import archive, backup, edit_segments
from tests.support.driving import do
from tests.support.records import NOW
from tests.support.replay import ReplaySource, expected
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import World, make_world

SETS = ("basic", "rich", "sharded", "empty", "single", "motion")
NO_BINARY = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="QDRANT_BIN is not set")


def name_of(set_name: str) -> str:
    return str(expected()["sets"]["busy" if set_name == "motion" else set_name]["collection"])


@pytest.fixture(scope="module")
def source() -> Iterator[ReplaySource]:
    with ReplaySource(SETS) as source:
        yield source


@pytest.fixture(scope="module")
def world(source: ReplaySource, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(
        tmp_path_factory.mktemp("deep"), source.url, repositories=("one",),
        copies={"quorum": 1, "domains": 1}, objectives={"proven": {"depth": "search"}},
    )  # fmt: skip
    end = do(world, "backup")
    assert (end.verdict, end.reasons) == ("ok", ())
    return world


def proofs(world: World, set_name: str, depth: str) -> list[Proof]:
    found = [
        Proof.from_bytes(p.read_bytes(), where=str(p))
        for p in sorted(world.folders["one"].glob("proofs/**/*.json"))
    ]
    return [p for p in found if p.collection == name_of(set_name) and p.depth == depth]


@pytest.mark.parametrize("set_name", SETS)
def test_a_backup_is_proven_to_the_depth_that_was_promised(world: World, set_name: str) -> None:
    proof, *_ = proofs(world, set_name, "search")
    assert (proof.made_by, proof.passed, proof.reached) == ("backup", True, "search")
    assert proof.searched is not None
    assert (proof.searched.queries > 0) == (set_name != "empty")
    assert proof.server_version is None


def test_verify_asks_again_and_the_copy_stays_proven(world: World) -> None:
    end = do(world, "verify")
    assert end.verdict == "ok", end.reasons
    assert {o.detail.reached for o in end.outcomes} == {"search"}
    assert len(end.outcomes) == len(SETS)


def test_an_older_seal_is_not_searched_and_its_copy_not_blamed(
    source: ReplaySource, tmp_path: Path
) -> None:
    world = make_world(
        tmp_path, source.url, repositories=("one",), copies={"quorum": 1, "domains": 1}
    )
    assert do(world, "backup", collections=("movies",)).verdict == "ok"
    (file,) = world.folders["one"].glob("backups/**/seal.json")
    seal = Seal.from_bytes(file.read_bytes(), where=str(file))
    old = seal.model_copy(update={"golden": (), "filters": ()})
    file.write_bytes(old.to_bytes())
    end = do(world, "verify", depth="search")
    assert end.verdict == "failed"
    (outcome,) = end.outcomes
    assert outcome.error is not None
    assert outcome.error.code == "nothing-checked"
    assert "back up again" in outcome.error.hint
    assert proofs(world, "basic", "search") == [], "no open failure of a copy that is sound"


def test_what_the_engine_cannot_be_asked_is_no_failure_of_the_copy(
    source: ReplaySource, tmp_path: Path
) -> None:
    world = make_world(
        tmp_path, source.url, repositories=("one",), copies={"quorum": 1, "domains": 1}
    )
    assert do(world, "backup", collections=("movies",)).verdict == "ok"
    (file,) = world.folders["one"].glob("backups/**/seal.json")
    seal = Seal.from_bytes(file.read_bytes(), where=str(file))
    strange = seal.golden[0].model_copy(update={"vector": "unknown to this engine"})
    file.write_bytes(seal.model_copy(update={"golden": (*seal.golden, strange)}).to_bytes())
    end = do(world, "verify", depth="search")
    assert end.verdict == "degraded", end.reasons
    (outcome,) = end.outcomes
    assert "could not be searched here" in outcome.notes[0]
    assert "--depth restore" in outcome.notes[0]
    assert proofs(world, "basic", "search") == [], "nobody may count on a search that was not made"
    content = proofs(world, "basic", "content")
    assert ("verify", True) in [(proof.made_by, proof.passed) for proof in content]


def test_the_sandbox_proves_no_restore(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QDRANT_BIN", raising=False)
    end = do(world, "verify", depth="restore", collections=("movies",))
    assert codes(end) == ["plan-refused"]
    with sandbox_server(tmp_path / "scratch") as scratch:
        body = world.file.read_text()
        drill = f"drill: {{scratch: {{url: '{scratch.url}', disposable: true}}}}\n"
        try:
            world.file.write_text(body + drill)
            end = do(world, "verify", depth="restore", collections=("movies",))
        finally:
            world.file.write_text(body)
    assert codes(end) == ["plan-refused"]
    assert "is the sandbox" in str(end.outcomes[0].error)
    assert proofs(world, "basic", "restore") == []


def codes(end: RunEnd) -> list[str]:
    assert end.verdict == "failed"
    return [o.error.code for o in end.outcomes if o.error]


@pytest.mark.qdrant
@NO_BINARY
def test_a_server_restores_every_copy_and_answers(world: World) -> None:
    end = do(world, "verify", depth="restore")
    assert (end.verdict, end.reasons) == ("ok", ())
    for set_name in SETS:
        (proof,) = proofs(world, set_name, "restore")
        assert (proof.passed, proof.reached, proof.made_by) == (True, "restore", "verify")
        assert proof.server_version is not None
        assert proof.searched is not None
        (engine, *_) = proofs(world, set_name, "search")
        assert engine.searched is not None
        assert proof.searched.queries == engine.searched.queries
        assert proof.searched.filters == engine.searched.filters
        if proof.searched.queries:
            assert proof.searched.recall_ppm is not None
            assert proof.searched.recall_ppm > 900_000
            assert proof.searched.latency_p95_us is not None
    assert world.spool() == []


@dataclass(frozen=True)
class Target:
    node: Node
    scratch: Path

    def restore(self, set_name: str, data: bytes) -> str:
        name = f"qdr-drill-{set_name}"
        manifest, _ = backup(set_name, data={"collection": data})
        (part,) = manifest.parts
        recover_by_upload(self.node, name, [data], size=part.size_bytes, sha256=part.sha256)
        wait_ready(self.node, name)
        return name

    def seal(self, set_name: str) -> Seal:
        manifest, reader = backup(set_name)
        read = prove(manifest, reader, depth="content", folder=self.scratch).read_back
        assert read is not None
        return plan_seal(manifest, read, None, None, drift_limit=1, now=NOW)


@pytest.fixture(
    scope="module",
    params=["sandbox", pytest.param("server", marks=[pytest.mark.qdrant, NO_BINARY])],
)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    folder = tmp_path_factory.mktemp(request.param)
    with start(folder / "server") as server, Node(server.url) as node:
        yield Target(node, folder)


def every_graph_is_used(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "full_scan_threshold": 0}).encode()


def nothing_but_the_head(data: bytes) -> bytes:
    return data[:64] + bytes(len(data) - 64)


@pytest.mark.parametrize(
    ("set_name", "file", "words"),
    [
        ("basic", None, None),
        ("sharded", None, None),
        ("basic", "vector_index/links_compressed.bin", "the index of the vectors"),
        ("basic", "year-map/values_to_points.bin", "the integer index of 'year'"),
    ],
)
def test_a_running_server_is_asked(
    target: Target, set_name: str, file: str | None, words: str | None
) -> None:
    data = archive(f"{set_name}/collection")
    if file:
        data = edit_segments(data, "hnsw_config.json", every_graph_is_used)
        data = edit_segments(data, file, nothing_but_the_head)
    name = target.restore(set_name, data)
    try:
        faults, searched = search_served(target.node, name, target.seal(set_name), {})
    finally:
        drop_target(target.node, name)
    assert searched.queries == {"basic": 16, "sharded": 48}[set_name]
    if words is None:
        assert list(faults) == []
        assert searched.lowest_recall_ppm == 1_000_000
    else:
        assert any(words in f.message for f in faults), faults
