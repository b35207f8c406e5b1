"""What the forms of several flows have in common: each parameter's type and its limits."""

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
"""How deep without a running server."""

WIDTH = 4
"""Units that one run works on at a time; the default of Prefect has no bound."""

ALONE: dict[str, Any] = {
    "flow_run_name": run_name,
    "task_runner": ThreadPoolTaskRunner(max_workers=WIDTH),
    # a run resumes from the records in the repositories, not from a second try by Prefect
    "retries": 0,
    "persist_result": False,
    "log_prints": False,
}
"""Of a flow whose units stay in its own process: what must not begin twice (a restore), what
measures (a drill), what is one unit."""

FLOW: dict[str, Any] = {**ALONE, "task_runner": ChosenRunner(max_workers=WIDTH)}
"""Of a flow whose units may go to other machines."""
