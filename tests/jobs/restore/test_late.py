"""A change that was not confirmed and takes effect later: it is looked for, and known as ours."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr.cluster import confirmed_changes
from qdrant_dr.records import Outcome, Restored, RunEnd
from tests.support.driving import do
from tests.support.either_server import KINDS
from tests.support.loopback import loopback
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.spy import Spy
from tests.support.thorough import thorough
from tests.support.unanswered import bring_back, names
from tests.support.waiting import eventually
from tests.support.world import World, make_world

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["basic", "sharded"]) as source:
        source.collections["sharded"].aliases.append("parts")
        made = make_world(tmp_path_factory.mktemp("world"), source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    by_shard(made, "sharded")
    return made


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    make = sandbox_server if request.param == "sandbox" else qdrant_server
    with make(tmp_path_factory.mktemp("target")) as found:
        yield found


@pytest.fixture
def spy(server: Server) -> Iterator[Spy]:
    with Spy(server.url) as found:
        yield found
    loopback.delete(f"{server.url}/collections/sharded", timeout=30).raise_for_status()


def only(end: RunEnd) -> tuple[Outcome, Restored]:
    (outcome,) = end.outcomes
    assert isinstance(outcome.detail, Restored)
    return outcome, outcome.detail


CREATE = ("PUT", "/collections/sharded$")


@pytest.mark.parametrize(
    "status", [500, pytest.param(408, marks=thorough), pytest.param(504, marks=thorough)]
)
def test_a_collection_that_comes_while_it_is_looked_for(
    world: World, spy: Spy, status: int
) -> None:
    spy.answer_late(*CREATE, seconds=1.0, status=status)
    end = bring_back(world, spy.url, "sharded")
    assert end.verdict == "ok", end.reasons
    assert only(end)[1].fingerprint_equal
    assert spy.count(*CREATE) == 1


def test_a_collection_that_comes_after_the_restore_gave_up(
    world: World, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmed_changes, "APPEAR_SECONDS", 0.1)
    spy.answer_late(*CREATE, seconds=2.0)
    outcome, detail = only(bring_back(world, spy.url, "sharded"))
    assert outcome.error is not None
    assert outcome.error.code == "recover-unanswered"
    assert "but still may" in outcome.error.message
    assert "run the same command again" in outcome.error.hint
    assert detail.removed == ()
    eventually(lambda: names(spy.target) == ["sharded"])
    again = bring_back(world, spy.url, "sharded")
    assert again.verdict == "ok", again.reasons
    assert only(again)[1].resumed


def test_a_collection_that_comes_between_the_look_and_the_call_of_the_next_run(
    world: World, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run has looked and found nothing; its own call is then refused, for it is there."""
    from qdrant_dr.jobs.restore import take_over

    monkeypatch.setattr(confirmed_changes, "APPEAR_SECONDS", 0.1)
    spy.answer_late(*CREATE, seconds=math.inf)
    assert only(bring_back(world, spy.url, "sharded"))[0].error is not None
    create = take_over.create_target

    def late(*given, **named):  # type: ignore[no-untyped-def]
        assert spy.pending is not None
        spy.pending()
        return create(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(take_over, "create_target", late)
        again = bring_back(world, spy.url, "sharded")
    assert again.verdict == "ok", again.reasons
    assert spy.count(*CREATE) == 1


@pytest.mark.parametrize("theirs", ["another shape", "a point in it", "an alias to it"])
def test_what_somebody_else_made_meanwhile_is_not_taken_over(
    world: World, spy: Spy, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    """Our call was lost on the way, and theirs took the name while we looked."""
    url = f"{spy.target}/collections/sharded"
    size = 7 if theirs == "another shape" else 32

    def lost() -> None:
        body = {"vectors": {"size": size, "distance": "Dot"}, "shard_number": 3}
        loopback.put(url, json=body, timeout=30).raise_for_status()
        if theirs == "a point in it":
            point = {"id": 1, "vector": [0.5] * size}
            loopback.put(f"{url}/points?wait=true", json={"points": [point]}).raise_for_status()
        if theirs == "an alias to it":
            alias = {"create_alias": {"collection_name": "sharded", "alias_name": "live"}}
            actions = {"actions": [alias]}
            loopback.post(f"{spy.target}/collections/aliases", json=actions).raise_for_status()

    spy.answer_late(*CREATE, seconds=0.0, instead=lost)
    outcome, detail = only(bring_back(world, spy.url, "sharded"))
    assert outcome.error is not None
    assert outcome.error.code == "plan-refused", outcome.error
    assert "somebody else made it, or uses it" in outcome.error.message
    assert detail.removed == ()
    assert names(spy.target) == ["sharded"]


def test_aliases_that_come_later(world: World, spy: Spy) -> None:
    spy.answer_late("POST", "/collections/aliases$", seconds=1.0)
    end = bring_back(world, spy.url, "sharded")
    assert end.verdict == "ok", end.reasons
    assert only(end)[1].aliases_set == ("parts",)


def test_a_refusal_is_not_waited_for(world: World, spy: Spy) -> None:
    spy.answer_late(*CREATE, seconds=0.0, status=400, words="Wrong input: no", instead=lambda: None)
    begun = time.monotonic()
    outcome, _ = only(bring_back(world, spy.url, "sharded"))
    assert outcome.error is not None
    assert outcome.error.code == "recover-failed"
    assert time.monotonic() - begun < confirmed_changes.APPEAR_SECONDS / 2
    loopback.put(
        f"{spy.target}/collections/sharded", json={"vectors": {"size": 1, "distance": "Dot"}}
    ).raise_for_status()  # the fixture deletes one


def test_settings_are_compared_by_what_was_asked_for(tmp_path: Path) -> None:
    there = {"vectors": {"size": 4, "distance": "Dot", "on_disk": None}, "shard_number": 3}
    assert confirmed_changes.same_settings({"vectors": {"size": 4}, "hnsw_config": None}, there)
    assert not confirmed_changes.same_settings({"vectors": {"size": 5}}, there)
    assert not confirmed_changes.same_settings({"shard_number": {"n": 3}}, there)
    assert not confirmed_changes.same_settings({"replication_factor": 2}, there)
