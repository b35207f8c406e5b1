"""Where the units of a flow are done: by threads of its process, or by the workers of Dask."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from qdrant_dr.errors import UsageError

RUNNER = "QDR_RUNNER"
ADDRESS = "QDR_DASK_ADDRESS"
KINDS = ("threads", "dask")


@runtime_checkable
class RemoteRunner(Protocol):
    """A runner on other machines, which are checked first and may vanish while they work."""

    def preflight(self) -> None:
        """Raise WorkersUnfit if they cannot do the units."""

    def results_of(self, futures: Sequence[Any], deadline: timedelta) -> list[object]:
        """Return what each future came to, an exception as itself; never later than `deadline`."""

    def abandon(self, futures: Sequence[Any]) -> None:
        """Let none of these begin that has not."""


class ChosenRunner(ThreadPoolTaskRunner[Any]):
    """Threads, or Dask if the environment says so when a flow run begins.

    Prefect makes a duplicate of a flow's runner for each run: that is the moment. What is wrong
    with the choice is told by `spread` where the run can put it on record.
    """

    refused: UsageError | None = None

    def duplicate(self) -> Any:
        """Return the runner of one flow run."""
        try:
            return chosen(os.environ) or super().duplicate()
        except UsageError as error:
            runner = super().duplicate()
            assert isinstance(runner, ChosenRunner)  # Prefect makes another of the same class
            runner.refused = error
            return runner


def chosen(environment: Mapping[str, str]) -> TaskRunner[Any] | None:
    """Return the runner that the environment asks for; None for threads. Raise UsageError."""
    kind = environment.get(RUNNER) or "threads"
    if kind not in KINDS:
        raise UsageError(
            f"{RUNNER}={kind} is no runner", f"set {RUNNER} to one of {', '.join(KINDS)}."
        )
    if kind == "threads":
        return None
    if not (address := environment.get(ADDRESS)):
        raise UsageError(
            f"{RUNNER}=dask, and {ADDRESS} does not say where its scheduler is",
            f"set {ADDRESS}=tcp://HOST:8786; `dask scheduler` starts one.",
        )
    try:
        from tasks.dask_runner import DaskRunner
    except ImportError as error:
        raise UsageError(
            f"{RUNNER}=dask, and {error.name} is not installed",
            "`pip install 'qdrant-dr[dask]'` here and on every Dask worker.",
        ) from None
    return DaskRunner(address=address)


def runner_at_hand() -> TaskRunner[Any] | None:
    """Return the runner of this flow run. Raise UsageError if none could be chosen."""
    context = FlowRunContext.get()
    runner = context.task_runner if context else None
    if isinstance(runner, ChosenRunner) and runner.refused:
        raise runner.refused
    return runner
