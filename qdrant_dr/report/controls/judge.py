"""Judge every control by the rows of the other frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdrant_dr.report.controls.control import Control, State
from qdrant_dr.report.controls.facts import Facts
from qdrant_dr.report.controls.table import CONTROLS


@dataclass(frozen=True)
class Answer:
    """The state of one control, and the figures that decide it."""

    control: Control
    state: State
    figures: str


def answers(facts: Facts) -> Iterator[Answer]:
    """Judge all controls, in the order of the table."""
    for control in CONTROLS:
        yield Answer(control, *control.judge(facts))
