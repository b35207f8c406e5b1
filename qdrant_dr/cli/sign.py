"""`sign`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.jobs.drill.sign import SignRequest
from qdrant_dr.jobs.drill.sign import sign as review


def sign(
    run_id: str,
    /,
    *,
    reviewer: Annotated[str, Parameter(name="--as")] = "",
    reject: Annotated[bool, Parameter(negative=())] = False,
    note: str = "",
    session: Given,
) -> Reply:
    """Sign what a run of drills came to, as who reviewed it.

    The signature is a record of its own, over the digest of the run's end record. The report shows
    who ran and who reviewed, and marks it where they are one person.

    Parameters
    ----------
    run_id
        As `drill` printed it.
    reviewer
        Your name; else the account that runs this.
    reject
        Reviewed, and not accepted.
    note
        What you saw; kept in the record.
    """
    request = SignRequest(run_id=run_id, reviewer=reviewer, reject=reject, note=note)
    return run_verb(session, "sign", request, review)
