"""`check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter

from qdrant_dr.cli.progress import Progress
from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.errors import DRError, Interrupted, UsageError
from qdrant_dr.jobs.check import Checked, CheckRow
from qdrant_dr.jobs.check.job import CheckRequest, conclude_check, run_checks
from qdrant_dr.jobs.check.rows import worst_first
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.records import ErrorFacts

COLUMNS = (
    Column("state", "STATE"),
    Column("scope", "WHERE"),
    Column("what", "WHAT"),
    Column("found", "FOUND"),
)


def check(
    *collections: str,
    repository: Annotated[
        tuple[str, ...], Parameter(name=["--repository", "-r"], negative=())
    ] = (),
    read_only: Annotated[bool, Parameter(negative=())] = False,
    replicas: Literal["sample", "whole"] | None = None,
    seed: int | None = None,
    session: Given,
) -> Reply:
    """Test everything that a backup needs: nodes, keys, clocks, repositories, disk space.

    It writes, lists and deletes probe objects in every repository, two writers at once, and tests
    what each key permits. Nothing else is changed.

    With `--replicas` it also reads every replica of each shard on its own node and lists the points
    that differ: a node that was killed can come back "Active" without every write it acknowledged.

    Parameters
    ----------
    collections
        With `--replicas`: compare only these. Default: all that the configuration includes.
    repository
        Test this repository only; may be repeated.
    read_only
        Write no probe anywhere, and list what therefore stays unproven.
    replicas
        Compare the replicas of each shard: a `sample` of their points, or the `whole`. Their points
        are counted in both cases.
    seed
        Chooses the sample: the same seed reads the same ranges of ids.
    """
    if replicas is None and (collections or seed is not None):
        raise UsageError(
            "collections and --seed choose which replicas to compare, but --replicas is missing",
            "add `--replicas sample` or `--replicas whole`.",
        )
    if replicas == "whole" and seed is not None:
        raise UsageError(
            "--seed chooses a sample, but --replicas whole reads everything", "leave out --seed."
        )

    config = session.config
    # with --read-only not even a record of the run is written
    request = CheckRequest(
        repositories=repository or None,
        read_only=read_only,
        replicas=replicas,
        collections=collections or None,
        seed=seed,
    )
    run = None if read_only else begin(config, "check", parameters=request.model_dump())
    perform = in_threads(config, run.run_id if run else "")
    try:
        with Progress(session) as progress:

            def told(row: CheckRow) -> None:
                progress.step(f"{row.state:8}  {row.scope}: {row.what}")

            checked, outcomes = run_checks(config, request, perform, told)
    except DRError as e:
        if run is not None:  # a start record without an end record would look like a crash
            run.finish(config, outcomes=(), error=e)
        raise
    except KeyboardInterrupt:
        if run is not None:
            run.cut_short(config, Interrupted("check was interrupted"))
        raise
    if run is not None:
        conclude_check(config, run, checked, outcomes)
    return reply_of(checked, run_id=run.run_id if run else None)


def reply_of(checked: Checked, *, run_id: str | None = None) -> Reply:
    """Return the rows, worst first, the errors of the failed ones, and the verdict in words."""
    rows = [asdict(row) for row in worst_first(checked.rows)]
    for row in rows:
        del row["exit_code"]
    unproven = sum(row.state == "skipped" for row in checked.rows)
    verdict = f"check: {checked.verdict}, {len(rows)} checks, {unproven} not proven"
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
