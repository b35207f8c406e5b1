"""Drills as games on a real Prefect server: what a scenario takes away is not there for tasks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdrant_dr import configfile
from qdrant_dr.records import Drilled
from tests.support.flow_runs import run, task_states
from tests.support.prefect import PrefectServer
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("in_process")]


def test_games(world: Callable[..., World], in_process: PrefectServer) -> None:
    made = world()
    assert run("backup", made, prove="content").name == "Completed"

    # every place is drilled in one run, none of them in the lost cloud
    away = made.folders["one"].with_suffix(".away")
    made.folders["one"].rename(away)
    state = run("drill", made, scenario="lost-cloud:one", engine="server", ran_by="Ana Li")
    assert state.name == "Completed", state.message
    tasks = task_states(in_process, state, expected=2)
    assert all(" from two with server" in name for name in tasks)
    assert not made.folders["one"].exists()
    away.rename(made.folders["one"])
    end = made.ends("two")[-1]
    assert [r.name for r in end.repositories] == ["two"]
    assert end.start.config_sha256 == configfile.load(made.reference).sha256
    assert {o.detail.scenario.name for o in end.outcomes if isinstance(o.detail, Drilled)} == {  # type: ignore[union-attr]
        "lost-cloud:one"
    }
    assert end.start.parameters["ran_by"] == "Ana Li"

    # a server takes one drill at a time: they followed one another
    (first, second) = sorted(end.outcomes, key=lambda o: o.started_at)
    assert first.ended_at <= second.started_at

    refused = run("drill", made, scenario="no-prefect")
    assert refused.name == "Failed"
    assert "run `qdrant-dr drill --scenario no-prefect` in a shell" in refused.message
    assert made.ends("one")[-1].error is not None

    unknown = run("drill", made, scenario="lost-cloud:three")
    assert unknown.name == "Failed"
    assert "no repository is named 'three'" in unknown.message

    # without a scenario the rest has its turn: what was drilled just now is not due
    state = run("drill", made, engine="edge")
    assert state.name == "Completed", state.message
    assert {name.split(" from ")[1] for name in task_states(in_process, state, expected=2)} == {
        "one with edge"
    }
