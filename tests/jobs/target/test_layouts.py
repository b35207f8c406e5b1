"""Every layout that a server searches in its own way: a good archive is green at each depth and is
restored, and a graph that was ruined since is missed.

On the sandbox always, all of them with QDR_THOROUGH; on a real server with QDRANT_BIN.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from qdrant_dr.proof import Examination, prove
from qdrant_dr.records import Manifest, Proved, Seal
from tests.support.archives import MemoryReader, edit_segments, part
from tests.support.driving import do, outcomes
from tests.support.layouts import EVERYDAY, LAYOUTS, ask, make_layout
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.world import World, make_world

NO_BINARY = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
KINDS = ["sandbox", pytest.param("server", marks=[pytest.mark.qdrant, NO_BINARY])]
NAMES = tuple(LAYOUTS) if os.environ.get("QDR_THOROUGH") else EVERYDAY


@dataclass(frozen=True)
class Captured:
    """A source with all layouts, and one backup of each, which was searched at once."""

    server: Server
    world: World

    def seal(self, name: str) -> Seal:
        """What was sealed of a layout."""
        return Seal.from_bytes(self._file(name, "seal.json").read_bytes(), where=name)

    def search(self, name: str, seal: Seal, scratch: Path, *, ruin: str | None) -> Examination:
        """Ask the archive again; `ruin` ends the names of files that were emptied before the
        manifest was written, so that no digest tells."""
        folder = self._file(name, "manifest.json").parent
        manifest = Manifest.from_bytes((folder / "manifest.json").read_bytes(), where=name)
        contents, parts = {}, []
        for old in manifest.parts:
            data = (folder / old.file).read_bytes()
            contents[old.name] = edit_segments(data, ruin, _without_links) if ruin else data
            new = part(contents[old.name], name=old.name, shards=old.shards)
            parts.append(new.model_copy(update={"node": old.node}))
        manifest = manifest.model_copy(update={"parts": tuple(parts)})
        reader = MemoryReader(contents)
        return prove(manifest, reader, depth="search", folder=scratch, seal=seal)

    def _file(self, name: str, file: str) -> Path:
        pattern = f"backups/*/{name}-????????/*/{file}"
        (found,) = self.world.folders["one"].glob(pattern)
        return found


def _without_links(data: bytes) -> bytes:
    return data[:64] + bytes(len(data) - 64)


@pytest.fixture(scope="module", params=KINDS)
def captured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Captured]:
    folder = tmp_path_factory.mktemp("layouts")
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(folder / "source") as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for name in NAMES:
                make_layout(client, name, background=server.kind == "server")
        world = make_world(
            folder / "world", server.url, repositories=("one",),
            copies={"quorum": 1, "domains": 1}, objectives={"proven": {"depth": "search"}},
        )  # fmt: skip
        end = do(world, "backup")
        assert (end.verdict, end.reasons) == ("ok", ())
        assert {o.collection for o in outcomes(end, "verify")} == {*NAMES}
        yield Captured(server, world)


def test_every_layout_is_asked_as_a_server_is(captured: Captured) -> None:
    for name in NAMES:
        layout, seal = LAYOUTS[name], captured.seal(name)
        within = {q.vector for q in seal.golden if q.condition is not None}
        assert within == layout.within, name
        assert not within & {q.vector for q in seal.golden if q.condition is None}, name
        asked = {q.vector for q in seal.golden} | {*layout.unsearchable}
        assert {f"vector:{v}" for v in asked} == seal.total.components.keys() - {"id", "payload"}
        assert seal.suspect == (), name
        assert seal.unsearchable == layout.unsearchable, name
        poor = {q.vector for q in seal.golden if "the vectors" in str(seal.remarks)}
        assert (poor, len(seal.remarks)) == (layout.poor, len(layout.poor)), name


def test_every_layout_stays_green_and_may_be_restored(captured: Captured) -> None:
    end = do(captured.world, "verify", depth="search")
    assert (end.verdict, end.reasons) == ("ok", ())
    assert len(end.outcomes) == len(NAMES)
    for outcome in end.outcomes:
        assert isinstance(outcome.detail, Proved)
        assert (outcome.detail.depth, outcome.detail.passed) == ("search", True)
        assert bool(outcome.notes) == bool(LAYOUTS[outcome.collection].poor), outcome.notes
    for name in NAMES:
        plan = do(captured.world, "restore", backups=(f"{name}@latest-proven",),
                  to=captured.server.url, name=f"{name}-2")  # fmt: skip
        assert plan.verdict == "ok", plan.reasons


@pytest.mark.parametrize("name", [n for n in NAMES if LAYOUTS[n].links is not None])
def test_a_graph_that_was_ruined_is_missed(captured: Captured, name: str, tmp_path: Path) -> None:
    seal, vector = captured.seal(name), LAYOUTS[name].links
    assert captured.search(name, seal, tmp_path, ruin=None).passed
    index = f"vector_index-{vector}" if vector else "vector_index"
    result = captured.search(name, seal, tmp_path, ruin=f"{index}/links_compressed.bin")
    assert (result.reached, result.passed) == ("content", False)
    assert {f.code for f in result.findings} == {"search-differs"}
    assert "when it was sealed" in result.findings[0].message


def test_questions_of_an_older_version_do_not_blame_the_copy(
    captured: Captured, tmp_path: Path
) -> None:
    """It asked every vector without a condition, and found next to nothing within tenants."""
    seal = captured.seal("tenants")
    older = seal.model_copy(
        update={
            "golden": tuple(
                q.model_copy(update={"condition": None, "recall_ppm": 0, "narrow_ppm": 0})
                for q in seal.golden
            ),
            "suspect": ("shard 0: the index of the vectors finds 0%: it is as good as none",),
        }
    )
    result = captured.search("tenants", older, tmp_path, ruin=None)
    assert result.passed, result.findings


@pytest.mark.qdrant
@NO_BINARY
def test_a_server_restores_every_layout_and_answers(captured: Captured) -> None:
    if captured.server.kind == "sandbox":
        pytest.skip("the engine writes segments that are newer than the server")
    end = do(captured.world, "verify", depth="restore")
    assert (end.verdict, end.reasons) == ("ok", ())
    assert {o.detail.reached for o in end.outcomes if isinstance(o.detail, Proved)} == {"restore"}


@pytest.mark.qdrant
@NO_BINARY
@pytest.mark.parametrize("strict", [False, True])
def test_a_vector_that_was_made_again_is_searched(tmp_path: Path, *, strict: bool) -> None:
    """Until the server has flushed, its log has both calls. Strict mode goes with the archive."""
    vectors = {n: {"size": 2, "distance": "Dot"} for n in "ab"}
    strictly = {"enabled": strict, "search_allow_exact": False, "max_query_limit": 50,
                "unindexed_filtering_retrieve": False}  # fmt: skip
    with qdrant_server(tmp_path / "source") as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            ask(client, "PUT", "/collections/c", {"vectors": vectors})
            points = [{"id": n, "vector": {"a": [n, 1], "b": [n, 2]}} for n in range(300)]
            ask(client, "PUT", "/collections/c/points?wait=true", {"points": points})
            ask(client, "DELETE", "/collections/c/vectors/b?wait=true")
            again = {"dense": {"size": 4, "distance": "Euclid"}}
            ask(client, "PUT", "/collections/c/vectors/b?wait=true", again)
            points = [{"id": n, "vector": {"a": [n, 1], "b": [1, 2, 3, n]}} for n in range(300)]
            ask(client, "PUT", "/collections/c/points?wait=true", {"points": points})
            ask(client, "PATCH", "/collections/c", {"strict_mode_config": strictly})
        world = make_world(tmp_path / "world", server.url, repositories=("one",),
                           copies={"quorum": 1, "domains": 1})  # fmt: skip
        for job, more in (("backup", {}), ("verify", {"depth": "search"}),
                          ("verify", {"depth": "restore"})):  # fmt: skip
            end = do(world, job, **more)
            assert (end.verdict, end.reasons) == ("ok", ()), json.dumps(more)
    (file,) = world.folders["one"].glob("backups/**/seal.json")
    seal = Seal.from_bytes(file.read_bytes(), where="c")
    assert {q.vector for q in seal.golden} == {"a", "b"}
