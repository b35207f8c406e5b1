"""What the compliance notebook shows: the verdict first, then gaps, then what they rest on."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pandas as pd

from qdrant_dr.api import RawRecords, Recovery, open_config
from qdrant_dr.config import Config
from qdrant_dr.report.controls.facts import DOUBTS
from qdrant_dr.report.evidence import recount as counting
from qdrant_dr.report.evidence import recount_controls as counting_controls
from qdrant_dr.report.evidence.recount import Gap, Recount, recount
from qdrant_dr.report.evidence.recount_controls import Head, controls, heads
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.report.frames.schema import FRAMES
from qdrant_dr.text import visible

GOOD, BAD = "#23744f", "#b3332b"


class NotCompliant(Exception):
    """At least one collection is not covered as promised, or could not be checked."""


class Shown:
    """HTML that a notebook displays."""

    def __init__(self, html: str) -> None:
        self.html = visible(html)

    def _repr_html_(self) -> str:
        return self.html


def look(environment: Mapping[str, str] = os.environ) -> Compliance:
    """Read every record and count twice; by the variables that the notebook explains."""
    names = environment.get("QDRANT_DR_REPOSITORIES")
    given = environment.get("QDRANT_DR_AS_OF")
    as_of = datetime.fromisoformat(given).astimezone(UTC) if given else datetime.now(UTC)
    days = int(environment.get("QDRANT_DR_PERIOD_DAYS", "30"))
    recovery = open_config(repositories=names.split(",") if names else None)
    return judge(recovery, as_of, days)


def judge(recovery: Recovery, as_of: datetime, period_days: int) -> Compliance:
    """Count by the raw records, hold it against the frames, and list every gap."""
    raw = recovery.raw_records()
    frames = recovery.frames(as_of=as_of, period_days=period_days)
    every = [(r.repository, r.path, r.data) for r in raw.records]
    counted = recount(
        every,
        {name: place.model_dump() for name, place in raw.locations.items()},
        recovery.config,
        as_of,
        out_of_reach(recovery.config, frames["copies"]),
    )
    critical = [f for f in plain_rows(frames["findings"]) if f["severity"] == "critical"]
    gaps: list[Gap] = [
        *((name, f"repository could not be read: {e.message}") for name, e in raw.errors.items()),
        *([] if raw.locations else [("all", "no repository could be read")]),
        *counted.gaps,
        *disagreements(counted, frames["collections"]),
        *ledger_disagreements(heads(every, as_of), frames["ledger"]),
        *control_disagreements(
            controls(every, counted, recovery.config, as_of, timedelta(days=period_days)), frames
        ),
        *((f["scope"], f["what"]) for f in critical),
    ]
    return Compliance(
        recovery.config, as_of, period_days, raw, frames, counted, tuple(dict.fromkeys(gaps))
    )


def out_of_reach(config: Config, copies: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Return copies in an archive that no restore waits for: collection, backup and repository."""
    waits = {r.name for r in config.repositories if r.archive_restore_time is not None}
    return {
        (c["collection"], c["backup_id"], c["repository"])
        for c in plain_rows(copies)
        if c["state"] == "archived" and c["repository"] not in waits
    }


def disagreements(counted: Recount, collections: pd.DataFrame) -> list[Gap]:
    """Return where the raw records and the frames say different things of a collection."""
    told = {r["collection"]: r for r in plain_rows(collections) if r["status"] != "excluded"}
    gaps: list[Gap] = []
    for row in counted.rows:
        frame = told.pop(row.collection, None)
        if frame is None:
            gaps.append((row.collection, "the frames do not know this collection"))
            continue
        seconds, copies = frame["rpo_seconds"], frame["copies_proven_count"]
        age = None if seconds is None else timedelta(seconds=seconds)
        if age != row.age or (copies or 0) != row.copies:
            words = f"counted {row.copies}, age {row.age}"
            gaps.append((row.collection, f"frames say {copies} copies, age {age}; {words}"))
    return gaps + [
        (name, f"{frame['status']}: known from earlier runs only")
        for name, frame in sorted(told.items())
    ]


def ledger_disagreements(counted: Mapping[str, Head], ledgers: pd.DataFrame) -> list[Gap]:
    """Return ledgers that are not chained from their first entry on, and those whose last entry is
    another one in the frames."""
    gaps: list[Gap] = []
    for row in plain_rows(ledgers):
        name, head = row["repository"], counted.get(row["repository"])
        if head is None and row["head_number"] is None:
            continue
        told = row["head_number"], row["head_sha256"]
        if head is None or told != (head.number, head.sha256):
            words = f"entry {head.number}" if head else "no entry"
            gaps.append((name, f"frames say its ledger ends with entry {told[0]}, counted {words}"))
        elif not head.chained:
            gaps.append((name, "its ledger is not whole: run `qdrant-dr evidence verify`"))
    return gaps


def control_disagreements(
    counted: Mapping[tuple[str, str], bool], frames: Mapping[str, pd.DataFrame]
) -> list[Gap]:
    """Return the controls that the raw records and the frames judge differently. What could not be
    read, or was taken away, is a gap by itself, and keeps the frames from saying that anything is
    met."""
    codes = {f["code"] for f in plain_rows(frames["findings"])}
    if codes & DOUBTS.keys():
        return []
    gaps: list[Gap] = []
    for row in plain_rows(frames["controls"]):
        met = counted.get((row["framework"], row["control"]))
        if met is not None and met != (row["state"] == "met"):
            words = "met" if met else "not met"
            name = f"{row['framework']} {row['control']}"
            gaps.append((name, f"frames say {row['state']}, counted {words}"))
    return gaps


@dataclass(frozen=True)
class Compliance:
    """Both counts and every gap, and how a notebook shows them."""

    config: Config
    as_of: datetime
    period_days: int
    raw: RawRecords
    frames: dict[str, pd.DataFrame]
    counted: Recount
    gaps: tuple[Gap, ...]

    @property
    def words(self) -> str:
        """Say the verdict in one line."""
        at = f"as of {_words(self.as_of)}"
        if not self.gaps:
            return f"compliant {at}: {len(self.counted.rows)} collections, both counts agree"
        where, what = self.gaps[0]
        gaps = "1 gap" if len(self.gaps) == 1 else f"{len(self.gaps)} gaps"
        return f"NOT compliant {at}: {gaps}; the first: {where}: {what}"

    def verdict(self) -> Shown:
        """Show the verdict, and how much it rests on."""
        colour = BAD if self.gaps else GOOD
        read = f"{len(self.raw.locations)} of {len(self.config.repositories)} repositories"
        return Shown(
            f'<p style="border-left:5px solid {colour};padding:.6em 1em;font-size:1.25em;'
            f'color:{colour};font-weight:600;overflow-wrap:anywhere">{escape(self.words)}</p>'
            f"<p>Cluster <b>{escape(self.config.cluster.name)}</b>, {self.period_days} days until "
            f"{_words(self.as_of)}. {len(self.raw.records)} records in {read}.</p>"
        )

    def failures(self) -> Shown:
        """Show every gap."""
        rows = [{"where": where, "what": what} for where, what in self.gaps]
        empty = "None: every collection is covered, and both counts agree."
        return _table("Every gap: where, and what.", ("where", "what"), rows, empty)

    def coverage(self) -> Shown:
        """Show each collection, by the raw records."""
        rows = [
            {
                "collection": row.collection, "backups": row.backups,
                "proven backup": row.proven_backup, "age": row.age,
                "copies": row.copies, "domains": row.domains,
            }
            for row in self.counted.rows
        ]  # fmt: skip
        copies = self.config.copies
        caption = (
            "The newest proven backup of each collection, its age (d, h:mm:ss) and the copies that "
            f"count; promised {copies.quorum} copies in {copies.domains} failure domains."
        )
        columns = ("collection", "backups", "proven backup", "age", "copies", "domains")
        return _table(caption, columns, rows, "No collection.")

    def copies(self) -> Shown:
        """Show state and deepest proof of the newest backup of each collection, by repository."""
        newest = {
            r["collection"]: r["newest_backup_id"] for r in plain_rows(self.frames["collections"])
        }
        rows: dict[str, dict[str, Any]] = {}
        for c in plain_rows(self.frames["copies"]):
            name = c["collection"]
            if newest.get(name) == c["backup_id"]:
                row = rows.setdefault(name, {"collection": name})
                row[c["repository"]] = f"{c['state']}, {c['deepest_proof'] or 'no proof'}"
        columns = ("collection", *(r.name for r in self.config.repositories))
        caption = "The newest backup of each collection: state and deepest proof of each copy."
        return _table(caption, columns, rows.values(), "No copy.")

    def frame(self, name: str, caption: str, columns: Sequence[str], empty: str) -> Shown:
        """Show columns of a frame, with their units."""
        units = {c.name: c.unit for f in FRAMES if f.name == name for c in f.columns}
        heads = {c: _head(c, units[c]) for c in columns}
        rows = plain_rows(self.frames[name][list(columns)].rename(columns=heads))
        return _table(caption, tuple(heads.values()), rows, empty)

    def findings(self) -> Shown:
        """Show all findings of the frames, critical or not."""
        columns = ("severity", "scope", "what", "since", "blast_radius", "next_command")
        return self.frame("findings", "All findings, worst first.", columns, "No finding.")

    def collections(self) -> Shown:
        """Compare each collection with what was promised."""
        columns = (
            "collection", "status", "rpo_seconds", "rpo_objective_seconds", "rto_seconds",
            "rto_objective_seconds", "rto_measured_at", "copies_proven_count", "exclusion_reason",
        )  # fmt: skip
        caption = "Each collection against what was promised; a dash: not measured."
        return self.frame("collections", caption, columns, "No collection.")

    def drills(self) -> Shown:
        """Show the drills of the period, failed ones too."""
        columns = (
            "collection", "backup_id", "repository", "engine", "verdict", "restore_seconds",
            "readback_seconds", "rto_seconds", "rto_met", "error_code",
        )  # fmt: skip
        caption = (
            "Drills of the period, failed ones too. Only a passed drill on a real server, or a "
            "proven restore for real, measures a recovery time (rto)."
        )
        return self.frame("drills", caption, columns, "No drill in this period.")

    def restores(self) -> Shown:
        """Show the restores of the period, failed ones too."""
        columns = (
            "started_at", "collection", "backup_id", "target", "name", "route", "verdict",
            "points_lost_count", "rto_seconds", "requester", "approved_by", "ticket", "error_code",
        )  # fmt: skip
        caption = "Restores for real in the period, failed ones too; who asked, who approved."
        return self.frame("restores", caption, columns, "No restore in this period.")

    def runs(self) -> Shown:
        """Show the runs of the period that did not end well, and what became of them."""
        runs = self.frames["runs"]
        bad = runs[runs["verdict"].isna() | (runs["verdict"] != "ok")]
        columns = (
            "kind", "run_id", "started_at", "ended_at", "verdict", "units_failed_count",
            "error_code", "healed_by", "healed_at", "settled_by", "settled_at",
        )  # fmt: skip
        caption = (
            f"{len(runs)} runs in the period, {len(runs) - len(bad)} ok; the others, "
            "what healed the copies that they named, and what settled them."
        )
        return replace(self, frames={"runs": bad}).frame("runs", caption, columns, caption)

    def controls(self) -> Shown:
        """Show what the figures answer of audit frameworks, and what a person must add."""
        columns = ("framework", "control", "asks", "state", "covers", "figures", "add")
        caption = "Controls by the frames; those that the raw records decide were counted again."
        return self.frame("controls", caption, columns, "No control.")

    def ledgers(self) -> Shown:
        """Show the last entry of each ledger: every record hangs on it."""
        columns = (
            "repository", "state", "head_number", "head_sha256", "head_at", "signed_by",
            "unsigned_tail_count", "anchored_number", "anchored_in",
        )  # fmt: skip
        caption = "The last entry of each ledger; number and hash were counted again."
        return self.frame("ledger", caption, columns, "No repository.")

    def code(self) -> Shown:
        """Show the code that counted the raw records, for people to read."""
        source = "\n".join(map(inspect.getsource, (counting, counting_controls)))
        return Shown(f"<pre>{escape(source)}</pre>")

    def demand(self) -> str:
        """Return the verdict; raise NotCompliant if there is any gap."""
        if self.gaps:
            raise NotCompliant(self.words)
        return self.words


def _table(
    caption: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], empty: str
) -> Shown:
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_cell(row.get(c))}</td>' for c in columns) + "</tr>"
        for row in rows
    )
    if not body:
        return Shown(f"<p>{escape(empty)}</p>")
    head = "".join(f'<th style="{_CELL}">{escape(c)}</th>' for c in columns)
    return Shown(
        f'<div style="overflow-x:auto"><table><caption style="{_CAPTION}">{escape(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


_CELL = "text-align:left;vertical-align:top;white-space:normal;min-width:4.5em"
_CAPTION = "caption-side:top;text-align:left"
_WHOLE = re.compile(r"(?=\S*\d)(?=\S*-)[\w:-]{8,32}")
"""Dates and ids, which are not broken."""


def _head(column: str, unit: str) -> str:
    """`rpo (s)` for `rpo_seconds`."""
    name = column.removesuffix("_seconds").removesuffix("_count").replace("_", " ")
    return f"{name} ({unit})" if unit else name


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, timedelta):
        value = timedelta(seconds=int(value.total_seconds()))
    text = _words(value) if isinstance(value, datetime) else str(value)
    text = f"{value:.3f}" if isinstance(value, float) else text
    return " ".join(
        f'<span style="white-space:nowrap">{w}</span>' if _WHOLE.fullmatch(w) else escape(w)
        for w in text.split(" ")
    )


def _words(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
