"""Which runner a flow gets: the environment says it when the flow runs, and mistakes are told."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from flows.backup import backup
from flows.restore import restore
from qdrant_dr.errors import UsageError
from tasks.dask_runner import unlike
from tasks.runner import chosen
from tests.support.world import World

DASK = {"QDR_RUNNER": "dask", "QDR_DASK_ADDRESS": "tcp://127.0.0.1:8786"}


@pytest.mark.parametrize("environment", [{}, {"QDR_RUNNER": ""}, {"QDR_RUNNER": "threads"}])
def test_threads_are_the_default(environment: dict[str, str]) -> None:
    assert chosen(environment) is None


@pytest.mark.parametrize(
    ("environment", "message", "hint"),
    [
        ({"QDR_RUNNER": "ray"}, "QDR_RUNNER=ray is no runner", "threads, dask"),
        ({"QDR_RUNNER": "dask"}, "QDR_DASK_ADDRESS does not say", "tcp://HOST:8786"),
    ],
)
def test_a_wrong_choice_says_what_to_set(
    environment: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        chosen(environment)
    assert hint in raised.value.hint


def test_without_the_extra_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tasks.dask_runner", raising=False)
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(UsageError, match="prefect_dask is not installed") as raised:
        chosen(DASK)
    assert "pip install 'qdrant-dr[dask]'" in raised.value.hint


def test_it_is_chosen_for_each_run_and_not_for_what_must_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert type(backup.task_runner.duplicate()) is type(backup.task_runner)
    for name, value in DASK.items():
        monkeypatch.setenv(name, value)
    assert type(backup.task_runner.duplicate()).__name__ == "DaskRunner"
    assert type(restore.task_runner.duplicate()) is ThreadPoolTaskRunner
    again = backup.with_options(retries=0).task_runner.duplicate()
    assert getattr(again, "address", None) == DASK["QDR_DASK_ADDRESS"]


@pytest.mark.prefect
@pytest.mark.usefixtures("in_process")
def test_a_wrong_choice_is_a_failed_run_on_record(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world()
    monkeypatch.setenv("QDR_RUNNER", "ray")
    state = backup(config=made.reference, return_state=True)
    (end,) = made.ends("one")
    assert (state.name, end.verdict, end.outcomes) == ("Failed", "failed", ())
    assert end.error is not None
    assert "QDR_RUNNER=ray is no runner" in end.error.message
    assert "threads, dask" in (state.message or "")


def test_each_worker_that_differs_is_named_with_what_differs() -> None:
    ours = {"qdrant-dr": "1.0", "prefect": "3.8.8"}
    asked = {"tcp://a": ours, "tcp://b": {**ours, "prefect": "3.9.1"}, "tcp://c": OSError("gone")}
    assert unlike(ours, asked) == [
        "tcp://b: prefect 3.9.1 (here 3.8.8)",
        "tcp://c: OSError: gone",
    ]
