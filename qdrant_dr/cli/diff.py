"""`diff`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdrant_dr.cli.exit_codes import DIFFERENT
from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.compare_points.change_files import KINDS
from qdrant_dr.jobs.compare_points.job import Differences, compare
from qdrant_dr.jobs.compare_points.last_two import DiffRequest
from qdrant_dr.jobs.compare_points.last_two import diff as diff_last_two
from qdrant_dr.jobs.run.run import utc_now


def figure(value: int) -> str:
    return f"{value:,}"


def ids(first: Sequence[int | str]) -> str:
    return ", ".join(map(str, first))


CHANGES = (
    Column("change", "CHANGE"),
    Column("what", "WHAT"),
    Column("points", "POINTS", figure, right=True),
    Column("first", "FIRST", ids, spare=1),
)


def diff(
    before: str | None = None,
    after: str | None = None,
    /,
    *,
    out: str | None = None,
    session: Given,
) -> Reply:
    """Compare two states of a collection: points, settings, payload indexes, aliases.

    Exit 0 if all is equal, 6 if anything differs. A writer may go on meanwhile: between which
    operations a live collection was read is said. Without names: what changed between the last two
    proven backups of each collection, kept as the record of a run, and exit 0 whatever changed.

    Parameters
    ----------
    before
        NAME@latest-proven, NAME@latest, NAME@ and the beginning of a backup id, NAME@live, or live
        for the collection of the other.
    after
        The same: what became of it.
    out
        Write every change to this new file, by its ending: .ndjson or .parquet.
    """
    if before is None and out is None:
        return run_verb(session, "diff", DiffRequest(), diff_last_two)
    if before is None or after is None:
        raise UsageError(
            "two states are compared, and one is named at most",
            "write `qdrant-dr diff NAME@latest-proven live`.",
        )
    session.say(f"reading {before} and {after}: nothing is changed there")
    file = Path(out).expanduser().absolute() if out is not None else None
    found = compare(session.config, before, after, out=file, now=utc_now())
    remarks = [*found.sentences, *found.notes]
    if file is not None:
        remarks.append(f"every change is in {file}")
    return Reply(
        rows=_rows(found),
        columns=CHANGES,
        exit_code=0 if found.equal else DIFFERENT,
        remarks=remarks,
    )


def _rows(found: Differences) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"change": kind, "what": "point", "points": found.counts[kind], "first": found.first[kind]}
        for kind in KINDS
        if found.counts[kind]
    ]
    rows += [
        {"change": "changed", "what": name, "points": count, "first": ()}
        for name, count in found.components.items()
    ]
    for what, said in (("setting", found.settings), ("alias", found.aliases)):
        rows += [{"change": what, "what": words, "points": None, "first": ()} for words in said]
    return rows
