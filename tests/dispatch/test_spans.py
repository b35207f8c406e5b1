"""A span of OpenTelemetry per unit, where a provider is configured; nothing at all elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.run.units import VerifyUnit
from tests.support import records as r
from tests.support.driving import do, rot
from tests.support.servers import sandbox_server
from tests.support.spans import Keeper
from tests.support.world import World, make_world, seed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=30)
        yield server.url


@pytest.fixture
def world(source: str, tmp_path: Path) -> World:
    return make_world(tmp_path, source)


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """The provider of this process, for one test: the API itself takes one only once."""
    kept = Keeper()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", kept)
    return kept


def test_each_unit_is_a_span_below_the_one_of_who_started_it(world: World, keeper: Keeper) -> None:
    with keeper.start_as_current_span("of the caller"):
        end = do(world, "backup")
    caller, *units = keeper.spans
    assert sorted(s.name for s in units) == sorted(o.unit for o in end.outcomes)
    assert {s.parent for s in units} == {caller}
    assert all(s.ended and s.status == (StatusCode.UNSET, None) for s in units)
    (capture,) = [s for s in units if s.name == "capture"]
    assert capture.attributes == {
        "qdrant_dr.run_id": end.start.run_id,
        "qdrant_dr.unit": "capture",
        "qdrant_dr.collection": "movies",
        "qdrant_dr.repositories": ("one", "two"),
        "qdrant_dr.verdict": "ok",
    }


def test_a_unit_that_finds_damage_is_red(world: World, keeper: Keeper) -> None:
    do(world, "backup")
    rot(world, "two", "movies")
    keeper.spans.clear()
    do(world, "verify", depth="bytes")
    told = {s.attributes["qdrant_dr.repository"]: s for s in keeper.spans if s.name == "verify"}
    assert told["one"].attributes["qdrant_dr.verdict"] == "ok"
    assert told["two"].attributes["qdrant_dr.verdict"] == "failed"
    assert told["two"].status[0] is StatusCode.ERROR


def test_a_unit_that_raises_is_red_and_its_words_stay_here(world: World, keeper: Keeper) -> None:
    unit = VerifyUnit(key=r.manifest().key, repository="one", depth="bytes")
    (outcome,) = in_threads(configfile.load(world.reference), "run-1")([unit])
    assert outcome.verdict == "failed"
    (span,) = keeper.spans
    assert span.ended
    assert span.status[0] is StatusCode.ERROR
    assert span.exceptions == []
    assert span.attributes["qdrant_dr.code"]


def test_without_opentelemetry_units_are_done_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert do(world, "backup").verdict == "ok"
