"""A control of a framework, and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from qdrant_dr.report.controls.facts import Facts

State = Literal["not met", "not covered here", "met"]
STATES: Final[tuple[State, ...]] = ("not met", "not covered here", "met")
Covers = Literal["none", "part", "figures"]
COVERS: Final[tuple[Covers, ...]] = ("none", "part", "figures")


@dataclass(frozen=True)
class Judged:
    """What the figures say of a control. `met` None: there was nothing to look at."""

    met: bool | None
    figures: str


Rule = Callable[[Facts], Judged]


@dataclass(frozen=True)
class Control:
    """One row of the table.

    `asks` is in our own words: the text of a standard is its publisher's. `figures` are the columns
    that decide; without a `rule`, no record tells anything of it. `on_nothing` is the state if
    there was nothing to look at, which is never `met`. `add` is what a person must add; where that
    is the other half of the answer, the control `covers` only a `part`.
    """

    framework: str
    id: str
    asks: str
    figures: tuple[str, ...]
    rule: Rule | None
    add: str
    covers: Covers = "figures"
    on_nothing: Literal["not met", "not covered here"] = "not met"
    oscal: str | None = None
    """Identifier in the catalog of NIST SP 800-53, the only one that OSCAL has."""

    def judge(self, facts: Facts) -> tuple[State, str]:
        """Return the state and the figures that decide. Nothing is met in a period without runs,
        nor while something could not be read or was taken away: that may be what says no."""
        if self.rule is None:
            return "not covered here", "no record tells of it"
        judged = self.rule(facts)
        if judged.met is None:
            return self.on_nothing, judged.figures
        if not judged.met:
            return "not met", judged.figures
        if facts.idle:
            return self.on_nothing, f"{judged.figures}; but no run of the period ended"
        if facts.doubts:
            return "not met", f"{judged.figures}; but {facts.doubts}"
        return "met", judged.figures
