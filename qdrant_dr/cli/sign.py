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
    key: str = "",
    session: Given,
) -> Reply:
    """Sign the result of a run of drills as its reviewer, or a restore as who approved it.

    The review is a separate record over the digest of the run's end record. The report shows who
    ran it and who reviewed it, marks runs where both are the same person, and says which reviews
    are signed by a key and which are a typed name only.

    Parameters
    ----------
    run_id
        The id that `drill` or `restore` printed.
    reviewer
        Your name. Default: the user that runs this.
    reject
        Record that you reviewed the run and did not accept it.
    note
        What you saw; stored in the record.
    key
        Your SSH key: a private key without a passphrase, the .pub file of one that your SSH agent
        holds, or `agent` for its only one. Default: no signature, only your name.
    """
    request = SignRequest(run_id=run_id, reviewer=reviewer, reject=reject, note=note, key=key)
    return run_verb(session, "sign", request, review)
