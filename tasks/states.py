"""From a verdict to Prefect's State. Only `ok` is plainly Completed; `failed` is never renamed."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas import State
from prefect.states import Completed, Failed

from qdrant_dr.errors import DRError
from qdrant_dr.records import Outcome, RunEnd
from tasks.words import next_command, outcome_in_words, reasons, shortened, summary

SHOWN = 5
"""Reasons that fit into a state's message; the artifact has all of them."""


def run_state(end: RunEnd) -> State[Any]:
    """Build the final state of a flow run; its message has the reasons and the next command."""
    if end.verdict == "ok":
        return Completed(message=summary(end))
    why = reasons(end)
    shown = [shortened(r) for r in why[:SHOWN]]
    if len(why) > SHOWN:
        shown.append(f"and {len(why) - SHOWN} more, see the artifacts of this run")
    message = "; ".join(shown) or end.verdict
    if hint := next_command(end):
        message = f"{message}. Next: {hint}"
    if end.verdict == "degraded":
        return Completed(name="Degraded", message=message)
    return Failed(message=message)


def refused_state(error: DRError) -> State[Any]:
    """Build the state of a run that could not begin: nothing was done, and that is a failure."""
    return Failed(message=f"{error.message}. Next: {error.hint}")


class UnitFailed(Exception):
    """A unit that failed, with its outcome; short, for Prefect prints it with the state."""

    def __init__(self, outcome: Outcome, transient: bool = False) -> None:
        super().__init__(outcome, transient)
        self.outcome = outcome
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.outcome.unit} {self.outcome.collection}"

    def __repr__(self) -> str:
        return f"UnitFailed({self})"


def unit_state(outcome: Outcome, *, transient: bool = False) -> State[Any]:
    """Build the state of a task run; it carries the outcome, whatever the verdict.

    `transient`: what made it fail may pass, so that it is worth another try.
    """
    said = outcome_in_words(outcome)
    if outcome.error:
        said += f". Next: {outcome.error.hint}"
    if outcome.verdict == "failed":
        return Failed(data=UnitFailed(outcome, transient), message=said)
    if outcome.verdict == "ok":
        return Completed(data=outcome, message=said)
    return Completed(name=outcome.verdict.capitalize(), data=outcome, message=said)
