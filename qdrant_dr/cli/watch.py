"""`watch`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.exit_codes import exit_code
from qdrant_dr.cli.runs import reply_of
from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.cli.words import moment
from qdrant_dr.dispatch.threads import in_this_thread
from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.records import Found, Watched
from qdrant_dr.report.findings.acknowledged import ended, words
from qdrant_dr.report.watch.job import WatchRequest
from qdrant_dr.report.watch.job import watch as watch_once

FINDINGS = (
    Column("severity", "SEVERITY"),
    Column("new", "NEW", lambda new: "new" if new else "-"),
    Column("code", "FINDING"),
    Column("scope", "SCOPE"),
    Column("since", "SINCE", moment, spare=1),
    Column("what", "WHAT"),
    Column("next_command", "NEXT"),
)


def watch(*, record: Annotated[bool, Parameter(negative=())] = False, session: Given) -> Reply:
    """Check records and cluster for findings: what is wrong, what is new, what is over. Reads only.

    Exit 0: nothing is wrong; 3: something needs attention; 1: an objective is missed, or could not
    be checked.

    Parameters
    ----------
    record
        Record the findings, for a schedule of your own: the next watch then reports only changes
        as new.
    """
    config = session.config
    run = begin(config, "watch")
    try:
        end = watch_once(
            config, WatchRequest(record=record), run, in_this_thread(config, run.run_id)
        )
    except KeyboardInterrupt:
        raise Interrupted("watch was interrupted") from None
    watched = next((o.detail for o in end.outcomes if isinstance(o.detail, Watched)), None)
    if watched is None:
        return reply_of(end, unwritten=run.unwritten)
    shown = sys.stdout.isatty() and not session.json  # in the column NEW of the table above it
    return Reply(
        rows=[_row(f, watched) for f in watched.findings],
        columns=FINDINGS,
        verdict=end.verdict,
        exit_code=exit_code(end),
        run_id=end.start.run_id,
        remarks=[
            *(f"new: {_line(f)}" for f in watched.appeared if not shown),
            *map(ended, watched.cleared),
            *watched.unsent,
            *(f"no record in {name}: {e.message}" for name, e in run.unwritten.items()),
            f"watch {end.start.run_id}: {end.verdict}",
        ],
    )


def _row(f: Found, watched: Watched) -> dict[str, Any]:
    known = f.acknowledged
    what = f"{f.what} ({words(known)})" if known else f.what
    return {**dict(f), "what": what, "new": f in watched.appeared}


def _line(f: Found) -> str:
    return f"{f.severity}: {f.scope}: {f.what}"
