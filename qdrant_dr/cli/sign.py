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
    """Sign the result of a run of drills as its reviewer.

    The signature is a separate record over the digest of the run's end record. The report shows who
    ran the drill and who reviewed it, and marks drills where both are the same person.

    Parameters
    ----------
    run_id
        The id that `drill` printed.
    reviewer
        Your name. Default: the user that runs this.
    reject
        Record that you reviewed the drill and did not accept it.
    note
        What you saw; stored in the record.
    """
    request = SignRequest(run_id=run_id, reviewer=reviewer, reject=reject, note=note)
    return run_verb(session, "sign", request, review)
