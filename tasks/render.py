"""A run's end as Markdown and as rows of a table, for people who look at it in Prefect.

Both stay readable, and small, however many collections there are: what went wrong comes first and
in full, what is well is counted. What is left out is said, and where it can be read.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from qdrant_dr.records import Outcome, RunEnd, SeenCollection, Verdict
from qdrant_dr.text import visible
from tasks.words import hints, outcome_in_words, reasons, shortened

REASONS = 10
HINTS = 5
WORST = 20
"""Units listed of each bad verdict; the table of units has more, the end record has all."""
NAMES = 40
"""Collections that are named without a row of their own."""
ROWS = 2000
"""Of the table of units: with texts cut, below 2 MiB of the 5 MiB that Prefect Cloud takes."""

SEVERITY: dict[Verdict, int] = {"failed": 0, "degraded": 1, "ok": 2, "skipped": 3}
HEADINGS: dict[Verdict, str] = {"failed": "Failed", "degraded": "Degraded"}
COMMAND = re.compile(r"`((?:qdrant-dr|prefect|make|curl) ?[^`]*)`")


def escape(text: str) -> str:
    """Escape text so that no table cell, tag or emphasis begins in a collection's name."""
    return re.sub(r"([\\`*_|<>\[\]~])", r"\\\1", visible(text)).replace("\n", " ")


def escape_around_code(text: str) -> str:
    """Escape advice in the same way, but leave the code between backticks as it is."""
    parts = visible(text).replace("\n", " ").split("`")
    if len(parts) % 2 == 0:  # one is left over: a name holds it
        return escape(text)
    return "`".join(part if n % 2 else escape(part) for n, part in enumerate(parts))


def worst_first(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Sort by verdict, then by collection; the units of one collection stay in the order of
    work."""
    return sorted(outcomes, key=lambda o: (SEVERITY[o.verdict], o.collection))


def markdown(end: RunEnd, *, page: str | None = None) -> str:
    """Write the verdict and reasons first, then what to do, then what was seen and where the
    evidence is.

    `page`: address of the report that this run wrote, where readers find it.
    """
    start = end.start
    seconds = (end.ended_at - start.started_at).total_seconds()
    blocks = [f"# {start.job} of {escape(start.cluster)}: {end.verdict}"]
    if counted := _counted(end):
        blocks.append(counted)
    blocks.append(
        f"Run `{start.run_id}`, {start.started_at:%Y-%m-%d %H:%M:%S} UTC, {seconds:.1f} s. "
        f"Started by {escape(start.actor)} ({start.trigger})."
    )
    if page:
        blocks.append(f"**[Open the report](<{page}>)**: each finding with its next command.")
    if end.source_kind == "sandbox":
        blocks.append("> **The source is the sandbox**, not a Qdrant server.")
    if why := reasons(end):
        lines = [f"- {escape(shortened(r))}" for r in why[:REASONS]]
        blocks += ["## Why", "\n".join([*lines, *_left_out(len(why), REASONS, "- ")])]
    if end.remarks:
        lines = [f"- {escape(shortened(r))}" for r in end.remarks[:REASONS]]
        blocks += ["## Remarks", "\n".join([*lines, *_left_out(len(end.remarks), REASONS, "- ")])]
    if end.verdict != "ok" and (advice := hints(end)):
        blocks += ["## Next", *_next(advice)]
    blocks += _units(end.outcomes)
    blocks += _seen(end.seen)
    blocks += ["## Repositories", _repositories(end)]
    blocks.append(
        f"The evidence is `runs/{start.started_at:%Y/%m}/{start.run_id}.end.json` in each "
        "repository that was reached: it has every unit and every reason. This page is a view of "
        "it."
    )
    return "\n\n".join(blocks)


def unit_rows(end: RunEnd) -> list[dict[str, Any]]:
    """Return one row per unit, the worst first, in plain JSON types; at most ROWS, the best left
    out."""
    return [
        {
            "verdict": o.verdict,
            "unit": o.unit,
            "collection": o.collection,
            "repository": o.repository,
            "result": shortened(outcome_in_words(o)),
            "next": o.error.hint if o.error else None,
            "seconds": round((o.ended_at - o.started_at).total_seconds(), 1),
            "backup": o.backup_id,
        }
        for o in worst_first(end.outcomes)[:ROWS]
    ]


def _counted(end: RunEnd) -> str:
    """`44 units: 1 failed, 43 ok. 11 collections included, 1 excluded.`"""
    said = []
    if end.outcomes:
        verdicts = Counter(o.verdict for o in end.outcomes)
        told_ = ", ".join(f"{verdicts[v]} {v}" for v in SEVERITY if verdicts[v])
        said.append(f"{len(end.outcomes)} unit{'s' * (len(end.outcomes) != 1)}: {told_}.")
    if end.seen:
        status: Counter[str] = Counter(s.status for s in end.seen)
        order = ("missing", "included", "not-selected", "excluded")
        seen = ", ".join(f"{status[s]} {s}" for s in order if status[s])
        said.append(f"{len(end.seen)} collection{'s' * (len(end.seen) != 1)}: {seen}.")
    return " ".join(said)


def _next(advice: Sequence[str]) -> list[str]:
    """Each advice, and the commands in it as blocks that the page can copy."""
    blocks = []
    for hint in (visible(h).replace("\n", " ") for h in advice[:HINTS]):
        blocks.append(f"- {escape_around_code(hint)}")
        # only what is plainly advised: a command a hint asks about is not one to copy unread
        if hint.startswith("run ") and (commands := COMMAND.findall(hint)):
            blocks.append("```sh\n" + "\n".join(commands) + "\n```")
    return [*blocks, *_left_out(len(advice), HINTS, "")]


def _units(outcomes: Sequence[Outcome]) -> list[str]:
    blocks: list[str] = []
    for verdict, heading in HEADINGS.items():
        if bad := worst_first(o for o in outcomes if o.verdict == verdict):
            # not a table: Prefect's page does not wrap its cells
            lines = [
                f"- **{_unit(o)}**: {escape(shortened(outcome_in_words(o)))}" for o in bad[:WORST]
            ]
            lines += _left_out(len(bad), WORST, "- ")
            blocks += [f"## {heading}: {len(bad)}", "\n".join(lines)]
    well: defaultdict[str, list[Outcome]] = defaultdict(list)
    for o in outcomes:
        if o.verdict not in HEADINGS:
            well[o.unit].append(o)
    if well:
        lines = [f"- {_well(of)}" for of in well.values()]
        blocks += ["## Well", "\n".join(lines)]
    return blocks


def _unit(o: Outcome) -> str:
    """`verify movies in gcp`; what is not of one collection does not name one."""
    name = "" if o.collection == "*" else f" {escape(o.collection)}"
    return f"{o.unit}{name}" + (f" in {escape(o.repository)}" if o.repository else "")


def _well(outcomes: Sequence[Outcome]) -> str:
    """One unit is told; of many, how many, and of which collections."""
    if len(outcomes) == 1:
        (o,) = outcomes
        return f"{_unit(o)}: {escape(shortened(outcome_in_words(o)))}"
    skipped = sum(o.verdict == "skipped" for o in outcomes)
    text = f"{outcomes[0].unit}: {len(outcomes) - skipped} ok" + (
        f", {skipped} skipped" if skipped else ""
    )
    names = [n for n in dict.fromkeys(o.collection for o in outcomes) if n != "*"]
    names = names or list(dict.fromkeys(o.repository for o in outcomes if o.repository))
    return f"{text} ({_named(names)})" if names else text


def _seen(seen: Sequence[SeenCollection]) -> list[str]:
    """What was left out, and why: one row for each reason, the missing first."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for s in sorted(seen, key=lambda s: (s.status != "missing", s.collection)):
        if s.status != "included":
            groups[(s.status, s.reason or s.rule)].append(s.collection)
    if not groups:
        return []
    rows = [
        f"| {_named(names)} | {'**missing**' if status == 'missing' else status} | "
        f"{escape(shortened(why))} |"
        for (status, why), names in list(groups.items())[:WORST]
    ]
    table = "\n".join(["| collections | | why |", "|---|---|---|", *rows])
    return ["## Not captured or looked at", table, *_left_out(len(groups), WORST, "")]


def _repositories(end: RunEnd) -> str:
    rows = [
        f"| {escape(r.name)} | {escape(r.domain)} | "
        + ("reached |" if r.reachable else "**not usable** |")
        for r in sorted(end.repositories, key=lambda r: r.reachable)
    ]
    return "\n".join(["| repository | domain | |", "|---|---|---|", *rows])


def _named(names: Sequence[str]) -> str:
    more = [f"and {len(names) - NAMES} more"] if len(names) > NAMES else []
    return ", ".join([*map(escape, names[:NAMES]), *more])


def _left_out(total: int, shown: int, bullet: str) -> list[str]:
    """That something is left out, and where it is."""
    if total <= shown:
        return []
    return [f"{bullet}and {total - shown} more: see the table of units and the end record."]
