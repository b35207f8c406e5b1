"""`check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.jobs.check import Checked, CheckRow
from qdrant_dr.jobs.check import check as run_check
from qdrant_dr.jobs.check.rows import worst_first
from qdrant_dr.jobs.run import begin
from qdrant_dr.records import ErrorFacts

COLUMNS = (
    Column("state", "STATE"),
    Column("scope", "WHERE"),
    Column("what", "WHAT"),
    Column("found", "FOUND"),
)


def check(
    *,
    repository: Annotated[
        tuple[str, ...], Parameter(name=["--repository", "-r"], negative=())
    ] = (),
    read_only: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Try everything that a backup will need: nodes, keys, clocks, repositories, space.

    It writes, races, lists and deletes probe objects in every repository, and asks each key for
    what it may do. Nothing else is changed.

    Parameters
    ----------
    repository
        Only this repository; may be repeated.
    read_only
        Write no probe anywhere, and say what is not proven for it.
    """

    def told(row: CheckRow) -> None:
        session.say(f"{row.state:8}  {row.scope}: {row.what}")

    config = session.config
    # not even a record of the run is written where nothing may be
    run = None if read_only else begin(config, "check", parameters={"repositories": repository})
    checked = run_check(config, repositories=repository or None, read_only=read_only, told=told)
    if run is not None:
        wrong = [f"{r.scope}: {r.what}: {r.found}" for r in checked.rows if r.state == "failed"]
        run.finish(config, outcomes=(), objections=wrong)
    return reply_of(checked, run_id=run.run_id if run else None)


def reply_of(checked: Checked, *, run_id: str | None = None) -> Reply:
    """The rows, worst first, the errors of those that failed, and the verdict in words."""
    rows = [asdict(row) for row in worst_first(checked.rows)]
    for row in rows:
        del row["exit_code"]
    unproven = sum(row.state == "skipped" for row in checked.rows)
    verdict = f"check: {checked.verdict}, {len(rows)} things looked at, {unproven} not proven"
    wanted = [f"{r.scope}: {r.next_step}" for r in checked.rows if r.state == "degraded"]
    errors = [
        ErrorFacts(code=row.code or "", message=row.found, hint=row.next_step or "")
        for row in checked.rows
        if row.state == "failed"
    ]
    return Reply(
        rows=rows,
        columns=COLUMNS,
        verdict=checked.verdict,
        exit_code=checked.exit_code,
        run_id=run_id,
        errors=errors,
        remarks=[*wanted, verdict],
    )
