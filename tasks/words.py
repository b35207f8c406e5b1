"""Outcomes in words, for states and artifacts."""

from __future__ import annotations

from collections import Counter

from qdrant_dr.quantities import format_size
from qdrant_dr.records import (
    Captured,
    Deleted,
    Drilled,
    ErrorFacts,
    Healed,
    Outcome,
    Proved,
    Reported,
    Restored,
    RestoredPoints,
    RunEnd,
    Swept,
    Watched,
)
from qdrant_dr.text import visible

DONE = {
    "capture": "captured",
    "capture-full": "captured",
    "heal": "healed",
    "verify": "verified",
    "compare": "compared",
    "diff": "compared",
    "drill": "drilled",
    "restore": "restored",
    "export": "exported",
    "restore-points": "restored points of",
    "expire": "expired",
    "sweep": "swept",
}
"""A report is told by its headline."""

LONGEST = 300
"""Characters of one reason or result in a state or an artifact."""


def summary(end: RunEnd) -> str:
    """Say in one line what was done."""
    units: Counter[str] = Counter(o.unit for o in end.outcomes if o.verdict != "skipped")
    skipped = sum(o.verdict == "skipped" for o in end.outcomes)
    said = [o.detail.headline for o in end.outcomes if isinstance(o.detail, Reported)]
    said += [f"{units[unit]} {done}" for unit, done in DONE.items() if units[unit]]
    said += [f"{skipped} skipped"] if skipped else []
    return ", ".join(said) or "nothing needed doing"


def hints(end: RunEnd) -> list[str]:
    """List what to do, each once: for the run itself, then for its failed units, then for the
    rest."""
    errors: list[ErrorFacts | None] = [end.error]
    errors += [o.error for o in end.outcomes if o.verdict == "failed"]
    errors += [r.error for r in end.repositories if not r.reachable]
    errors += [o.error for o in end.outcomes]
    return list(dict.fromkeys(e.hint for e in errors if e))


def reasons(end: RunEnd) -> tuple[str, ...]:
    """Say why it is not ok, the worst first; for a report, list each of its findings."""
    found = tuple(n for o in end.outcomes if isinstance(o.detail, Reported) for n in o.notes)
    return found if found and end.error is None else end.reasons


def next_command(end: RunEnd) -> str | None:
    """Return the hint of the worst that happened."""
    return next(iter(hints(end)), None)


def shortened(text: str) -> str:
    """Shorten to LONGEST characters, for a state or a row; records keep the whole."""
    text = visible(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def outcome_in_words(outcome: Outcome) -> str:
    """Say what became of a unit."""
    said = [_detail(outcome)] if outcome.detail else []
    said += [outcome.error.message] if outcome.error else []
    return "; ".join([*said, *outcome.notes]) or outcome.verdict


def _detail(outcome: Outcome) -> str:
    match outcome.detail:
        case Captured() as d:
            points = "" if d.points_count is None else f", {d.points_count} points"
            left = f"; left behind: {', '.join(d.left_behind)}" if d.left_behind else ""
            return (
                f"{format_size(d.size_bytes)}{points} in {', '.join(d.committed) or 'none'}{left}"
            )
        case Proved() as d:
            return _proved(d)
        case Healed() as d:
            return f"{format_size(d.size_bytes)} from {d.source}: {d.why}"
        case Drilled() as d:
            total = d.total_us / 1e6
            return f"{d.engine}: {d.points_restored} of {d.points_expected} points in {total:.1f} s"
        case Restored() | RestoredPoints() as d:
            return _brought_back(d)
        case Reported() as d:
            return f"{d.headline}; written to {d.folder}"
        case Deleted() as d:
            hidden = f", {format_size(d.hidden_bytes)} still kept by the store"
            return f"{d.reason}; freed {format_size(d.freed_bytes)}" + hidden * bool(d.hidden_bytes)
        case Swept() as d:
            return f"removed {len(d.removed)}, kept {len(d.kept)}"
        case Watched() as d:
            return f"{len(d.appeared)} new, {len(d.cleared)} over, {len(d.findings)} stand"
    return ""


def _brought_back(d: Restored | RestoredPoints) -> str:
    took = f"{d.total_us / 1e6:.1f} s"
    if isinstance(d, RestoredPoints):
        return f"{d.came_to}, in {d.name} on {d.target}, {took}"
    points = f"{d.points_restored} of {d.points_expected} points"
    return f"{points} as {d.name} on {d.target}, {d.came_to}, {took}"


def _proved(d: Proved) -> str:
    if not d.passed:
        return f"not {d.depth}" + (f", reached {d.reached}" if d.reached else "")
    points = "" if d.points_checked is None else f", {d.points_checked} points"
    return f"proven to {d.depth} ({format_size(d.bytes_checked)}{points})"
