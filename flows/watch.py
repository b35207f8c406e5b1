"""Check records and cluster, and announce what is new and what is over."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas import State

from flows.parameters import ALONE, ConfigRef
from qdrant_dr.report.watch.job import WatchRequest
from qdrant_dr.report.watch.job import watch as job
from tasks.conduct import conduct
from tasks.config import RunRef
from tasks.watch import looking, tell, watch_state


@flow(name="watch", description="Check everything; announce what is new and what is over.", **ALONE)
def watch(config: ConfigRef) -> State[Any]:
    """Read the records and ask the cluster whether every objective is met. Nothing is changed.

    A finding is announced once when it appears and once when it is over.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
    """
    return conduct(
        config,
        "watch",
        lambda cfg, run, _: job(
            cfg,
            WatchRequest(),
            run,
            look_=looking(RunRef(config, run.run_id, cfg.sha256)),
            tell=tell,
        ),
        tell=lambda _end, _config: None,  # already announced, before it was recorded
        state=watch_state,
    )
