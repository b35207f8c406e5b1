"""Types and limits of parameters that several flows share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from tasks.run_job import run_name
from tasks.runner import ChosenRunner

ConfigRef = Annotated[str, Field(min_length=1, examples=["/etc/qdrant-dr.yaml", "block:prod"])]
"""A path or URL the worker can read, or `block:NAME`; never the configuration itself."""

Names = Annotated[list[str], Field(min_length=1)]
"""At least one: an empty list is a mistake, not `all of them`."""

ProofDepth = Literal["presence", "bytes", "structure", "load", "content", "search"]
"""Depths that need no running server."""

WIDTH = 4
"""How many units one run works on at once; Prefect's default is unlimited."""

ALONE: dict[str, Any] = {
    "flow_run_name": run_name,
    "task_runner": ThreadPoolTaskRunner(max_workers=WIDTH),
    # no retry by Prefect: a run resumes from the records in the repositories
    "retries": 0,
    "persist_result": False,
    "log_prints": False,
}
"""Options of a flow whose units stay in its own process: because they must not begin twice (a
restore), because they measure (a drill), or because there is only one."""

FLOW: dict[str, Any] = {**ALONE, "task_runner": ChosenRunner(max_workers=WIDTH)}
"""Options of a flow whose units may run on other machines."""
