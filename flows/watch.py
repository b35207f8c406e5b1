"""Check records and cluster, and announce what is new and what is over."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas import State

from flows.parameters import ALONE, ConfigRef
from qdrant_dr.report.watch.job import WatchRequest
from qdrant_dr.report.watch.job import watch as job
from tasks.run_job import run_job
from tasks.watch import announce_changes, watch_state


@flow(name="watch", description="Check everything; announce what is new and what is over.", **ALONE)
def watch(config: ConfigRef) -> State[Any]:
    """Read the records and ask the cluster whether every objective is met. Nothing is changed.

    A finding is announced once when it appears and once when it is over.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
    """
    return run_job(
        config,
        "watch",
        partial(job, announce=announce_changes),
        WatchRequest(),
        announce=lambda _end, _config: None,  # done already, before it was kept
        state=watch_state,
    )
