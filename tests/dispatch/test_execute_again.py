"""A capture that is begun twice in one run: what the first start left decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qdrant_dr import configfile
from qdrant_dr.dispatch.execute import execute
from qdrant_dr.dispatch.execute_again import execute_again
from qdrant_dr.errors import SnapshotUnanswered
from qdrant_dr.jobs.run.begun_calls import Begun
from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit
from qdrant_dr.jobs.sweep.left_snapshots import NodeSweep
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed

RUN = "20261122T120000Z-aaaaaa"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=50)
        yield server.url


@pytest.fixture
def made(source: str, tmp_path: Path) -> World:
    return make_world(tmp_path, source)


def unit(source: str) -> CaptureUnit:
    return CaptureUnit(
        collection="movies",
        nodes=(source,),
        repositories=("one", "two"),
        method="collection",
        method_reason="auto",
    )


def forget(made: World, *names: str) -> None:
    """Take these files out of every backup: as if the worker had died before it wrote them."""
    for folder in made.folders.values():
        for name in names:
            for path in folder.glob(f"backups/**/{name}"):
                path.unlink()


def test_a_first_start_is_like_any_capture(made: World, source: str) -> None:
    outcome = execute_again(configfile.load(made.file), unit(source), RUN)
    assert (outcome.verdict, outcome.notes) == ("ok", ())


def test_another_run_is_no_earlier_start(made: World, source: str) -> None:
    config = configfile.load(made.file)
    execute(config, unit(source), "20261122T110000Z-bbbbbb")
    assert execute_again(config, unit(source), RUN).verdict == "ok"


def test_after_an_answer_it_is_taken_anew_and_said(made: World, source: str) -> None:
    config = configfile.load(made.file)
    first = execute(config, unit(source), RUN)
    forget(made, "manifest.json", "*.snapshot")
    again = execute_again(config, unit(source), RUN)
    assert again.verdict == "degraded"
    assert again.notes == (f"begun before as {first.backup_id}, by a worker that was lost",)
    assert [m.backup_id for m in made.manifests("one")] == [again.backup_id]
    left = httpx.get(f"{source}/collections/movies/snapshots", timeout=10).json()["result"]
    assert left == []


def test_a_create_call_that_was_not_answered_is_not_repeated(made: World, source: str) -> None:
    config = configfile.load(made.file)
    first = execute(config, unit(source), RUN)
    forget(made, "manifest.json", "snapshot.json", "*.snapshot")
    with pytest.raises(SnapshotUnanswered, match="no answer is on record") as raised:
        execute_again(config, unit(source), RUN)
    assert str(first.backup_id) in raised.value.message
    assert not made.manifests("one")


def test_what_was_whole_before_its_worker_was_lost_stays(made: World, source: str) -> None:
    config = configfile.load(made.file)
    first = execute(config, unit(source), RUN)
    again = execute_again(config, unit(source), RUN)
    assert again.verdict == "degraded"
    assert {m.backup_id for m in made.manifests("two")} == {first.backup_id, again.backup_id}


def test_a_full_snapshot_is_as_safe_as_the_least_safe_of_its_backups(
    source: str, made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(source, "users", points=20)
    config = configfile.load(made.file)
    full = FullUnit(
        node=source,
        collections=("movies", "users"),
        repositories=("one", "two"),
        method_reason="asked for",
    )
    execute(config, full, RUN)
    for path in made.folders["two"].glob("backups/**/users-*/**/manifest.json"):
        path.unlink()
    cleaned: list[int] = []

    def clean(_sweep: NodeSweep, call: Begun) -> None:
        cleaned.append(call.committed)

    monkeypatch.setattr(NodeSweep, "clean", clean)
    execute_again(config, full, RUN)
    assert cleaned == [1, 1]
