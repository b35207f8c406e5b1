"""A run's end as Markdown and as rows of a table, for people who look at it in Prefect."""

from __future__ import annotations

import re
from typing import Any

from qdrant_dr.records import RunEnd
from tasks.words import next_command, told


def escape(text: str) -> str:
    """Text as it is: no table cell, tag or emphasis begins in a collection's name."""
    return re.sub(r"([\\`*_|<>\[\]~])", r"\\\1", text).replace("\n", " ")


def markdown(end: RunEnd) -> str:
    """Verdict and reasons first, then what to do, then what was seen and where the evidence is."""
    start = end.start
    seconds = (end.ended_at - start.started_at).total_seconds()
    lines = [
        f"# {start.job} of {escape(start.cluster)}: {end.verdict}",
        f"Run `{start.run_id}`, {start.started_at:%Y-%m-%d %H:%M:%S} UTC, {seconds:.1f} s.",
        f"Started by {escape(start.actor)} ({start.trigger}).",
    ]
    if end.source_kind == "sandbox":
        lines.append("> **The source is the sandbox**, not a Qdrant server.")
    if end.reasons:
        lines += ["## Why", *(f"- {escape(r)}" for r in end.reasons)]
    if end.verdict != "ok" and (hint := next_command(end)):
        lines.append(f"**Next:** {hint}")
    if end.seen:
        lines += ["## Collections", "| collection | | why |", "|---|---|---|"]
        lines += [
            f"| {escape(s.collection)} | {s.status} | {escape(s.reason or s.rule)} |"
            for s in end.seen
        ]
    if end.outcomes:
        lines += [
            "## Units",
            "| unit | collection | repository | verdict | result |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {o.unit} | {escape(o.collection)} | {escape(o.repository or '')} | "
            f"{_weighty(o.verdict)} | {escape(told(o))} |"
            for o in end.outcomes
        ]
    lines += ["## Repositories", "| repository | domain | |", "|---|---|---|"]
    lines += [
        f"| {escape(r.name)} | {escape(r.domain)} | "
        + ("reached |" if r.reachable else f"**not usable**: {escape(r.error.message)} |"
           if r.error else "**not usable** |")
        for r in end.repositories
    ]  # fmt: skip
    lines.append(
        f"The evidence is `runs/{start.started_at:%Y/%m}/{start.run_id}.end.json` in each "
        "repository that was reached; this page is a view of it."
    )
    return "\n\n".join(_blocks(lines))


def _weighty(verdict: str) -> str:
    return verdict if verdict in ("ok", "skipped") else f"**{verdict}**"


def unit_rows(end: RunEnd) -> list[dict[str, Any]]:
    """One row per unit, plain JSON types."""
    return [
        {
            "unit": o.unit,
            "collection": o.collection,
            "repository": o.repository,
            "backup": o.backup_id,
            "verdict": o.verdict,
            "seconds": round((o.ended_at - o.started_at).total_seconds(), 1),
            "result": told(o),
            "next": o.error.hint if o.error else None,
        }
        for o in end.outcomes
    ]


def _blocks(lines: list[str]) -> list[str]:
    """Join lines of one table or list; everything else is a paragraph of its own."""
    blocks: list[str] = []
    for line in lines:
        if blocks and line[:2] in ("| ", "|-", "- ") and blocks[-1].splitlines()[-1][0] == line[0]:
            blocks[-1] += f"\n{line}"
        else:
            blocks.append(line)
    return blocks
