"""From a verdict to Prefect's State. Only `ok` is plainly Completed; `failed` is never renamed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect.client.schemas import State
from prefect.states import Completed, Failed

from qdrant_dr.errors import DRError
from qdrant_dr.records import ErrorFacts, Outcome, RunEnd

SHOWN = 5
"""Reasons that fit into a state's message; the artifact has all of them."""


def run_state(end: RunEnd, *, said: str | None = None) -> State[Any]:
    """The final state of a flow run; its message has the reasons and the next command."""
    if end.verdict == "ok":
        return Completed(message=said or summary(end))
    shown = [*filter(None, [said]), *end.reasons[:SHOWN]]
    if len(end.reasons) > SHOWN:
        shown.append(f"and {len(end.reasons) - SHOWN} more, see the artifacts of this run")
    message = "; ".join(shown) or end.verdict
    if hint := next_command(end):
        message = f"{message}. Next: {hint}"
    if end.verdict == "degraded":
        return Completed(name="Degraded", message=message)
    return Failed(message=message)


def refused_state(error: DRError) -> State[Any]:
    """Of a run that could not begin: nothing was done, and that is a failure."""
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
    """The state of a task run; it carries the outcome, whatever the verdict.

    `transient`: what made it fail may pass, so that it is worth another try.
    """
    error = outcome.error
    said = "; ".join(filter(None, [error.message if error else "", *outcome.notes]))
    if error:
        said += f". Next: {error.hint}"
    if outcome.verdict == "failed":
        return Failed(data=UnitFailed(outcome, transient), message=said or "failed")
    if outcome.verdict == "ok":
        return Completed(data=outcome)
    return Completed(name=outcome.verdict.capitalize(), data=outcome, message=said or None)


def summary(end: RunEnd) -> str:
    """What was done, in a line."""
    if not end.outcomes:
        return f"{end.start.job}: nothing needed doing"
    units = Counter(o.unit for o in end.outcomes if o.verdict != "skipped")
    counted = ", ".join(f"{n} x {unit}" for unit, n in units.items())
    left_out = sum(o.verdict == "skipped" for o in end.outcomes)
    return f"{counted or 'nothing'} done" + (f", {left_out} skipped" if left_out else "")


def next_command(end: RunEnd) -> str | None:
    """The hint of the worst that happened: of the run itself, else of its first failed unit."""
    errors: list[ErrorFacts | None] = [end.error]
    errors += [o.error for o in end.outcomes if o.verdict == "failed"]
    errors += [r.error for r in end.repositories if not r.reachable]
    errors += [o.error for o in end.outcomes]
    return next((e.hint for e in errors if e), None)
