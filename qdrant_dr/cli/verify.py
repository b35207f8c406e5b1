"""`verify`."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.catalog import Repositories
from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.verify.job import VerifyRequest
from qdrant_dr.jobs.verify.job import verify as prove_again
from qdrant_dr.quantities import parse_duration
from qdrant_dr.records import Depth


def verify(
    *backups: str,
    repository: Repositories = (),
    depth: Depth | None = None,
    sample: str | None = None,
    seed: int | None = None,
    not_proven_since: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Read copies back and prove them to a given depth.

    Without names: the newest backup of each collection, in every repository.

    Parameters
    ----------
    backups
        Only these: NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    repository
        Only copies in this repository; may be repeated.
    depth
        The depth to prove. Default: that of the objective. `restore` needs a server:
        `drill.scratch`, or QDRANT_BIN.
    sample
        Read only this share of the bytes, such as 5%: quick, but never counts as proven.
    seed
        Chooses the sample: the same seed reads the same bytes.
    not_proven_since
        Leave out copies that were proven to this depth more recently than this, such as 7d.
    every
        Verify all backups, not only the newest of each collection.
    dry_run
        Say what would be done, and change nothing.
    """
    if seed is not None and sample is None:
        raise UsageError("--seed chooses a sample, but --sample is missing", "add --sample 5%.")
    request = VerifyRequest(
        backups=backups or None,
        repositories=repository or None,
        which="all" if every else "latest",
        depth=depth,
        sample_per_mille=None if sample is None else per_mille(sample),
        seed=seed,
        not_proven_since_hours=None if not_proven_since is None else hours(not_proven_since),
        dry_run=dry_run,
    )
    return run_verb(session, "verify", request, prove_again)


def per_mille(share: str) -> int:
    """Parse a percentage into per mille: `5%` gives 50. Raise UsageError."""
    if match := re.fullmatch(r"(\d+(?:\.\d)?)%", share):
        found = round(float(match[1]) * 10)
        if 0 < found < 1000:
            return found
    raise UsageError(f"--sample {share} is not a percentage between 0 and 100", "write 5% or 0.5%.")


def hours(text: str) -> int:
    """Parse a duration into whole hours, rounded down: better to prove once too often.

    Raise UsageError.
    """
    try:
        return math.floor(parse_duration(text) / timedelta(hours=1))
    except ValueError as e:
        raise UsageError(str(e), "write 36h or 7d.") from None
