"""Which of two deployments does what is due: it is left only to one that does it."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas import State
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Late,
    Paused,
    Pending,
    Running,
    Scheduled,
)

from tasks.renamed_deployment import is_done_by


@pytest.mark.parametrize("state", [Running(), Completed(), Completed(name="Degraded")])
def test_what_runs_or_has_run_needs_no_worker(state: State[Any]) -> None:
    assert is_done_by(state, served=False)


@pytest.mark.parametrize("state", [Scheduled(), Pending(), AwaitingRetry()])
def test_what_waits_is_done_where_a_worker_takes_it(state: State[Any]) -> None:
    assert is_done_by(state, served=True)
    assert not is_done_by(state, served=False)


@pytest.mark.parametrize("state", [None, Cancelled(), Crashed(), Failed(), Late(), Paused()])
def test_nothing_is_left_to_a_run_that_does_not_do_it(state: State[Any] | None) -> None:
    assert not is_done_by(state, served=True)
