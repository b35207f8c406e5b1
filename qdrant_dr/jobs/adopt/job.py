"""`repository adopt`: every reason why a place is no copy, or not yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import DRError, PlanRefused
from qdrant_dr.location_key import one_place
from qdrant_dr.quantities import how_long
from qdrant_dr.repository import (
    ORPHAN_GRACE,
    Repository,
    places_of_id,
    read_repository,
    same_place,
    under_way,
)


@dataclass(frozen=True, slots=True)
class AdoptPlan:
    """A copied repository as it lies there, and what to think of before it gets its id."""

    found: Repository
    remarks: tuple[str, ...] = ()


def plan_adopt(config: Config, name: str, now: datetime) -> AdoptPlan:
    """Read the repository configured as `name`, and the others.

    Raise PlanRefused with every reason against it, RepositoryMissing if there is none, KeyError
    for a name that is not configured.
    """
    wanted = config.repository(name)
    if wanted is None:
        raise KeyError(name)
    found = read_repository(wanted, stall_timeout=config.copies.stall_timeout)
    reasons: list[str] = []
    remarks: list[str] = []
    for other in config.repositories:
        if other.name != name:
            reasons += _of_another(config, found, other, remarks)
    if any(one_place(found.location, seen) for seen in places_of_id(found)):
        # on another machine a path means another disk, and nothing here tells one from the other
        if found.location.protocol == "file" and wanted.id != found.id:
            remarks.append(
                f"runs have used {found.id} at this very path: if that was on this machine, put "
                f'`id: "{found.id}"` into the configuration instead'
            )
        else:
            reasons.append(
                f"runs have used {found.id} at this very place: it is the repository itself, and "
                f'`id: "{found.id}"` belongs into the configuration'
            )
    if runs := under_way(found, now):
        reasons.append(
            f"a run is under way, or died less than {how_long(ORPHAN_GRACE / 2)} ago: "
            f"{', '.join(runs)}; wait for its end, and copy that, too"
        )
    if reasons:
        raise PlanRefused(
            f"repository {name} at {found.location} is not adopted:\n"
            + "\n".join(f"  - {reason}" for reason in reasons)
        )
    return AdoptPlan(found, tuple(remarks))


def _of_another(
    config: Config, found: Repository, other: RepositoryConfig, remarks: list[str]
) -> Iterator[str]:
    """Why `found` is the place of another configured repository; that one may be lost."""
    try:
        theirs = read_repository(other, stall_timeout=config.copies.stall_timeout)
    except DRError as e:
        if other.id == found.id:
            remarks.append(f"{other.name}, which {found.id} is, cannot be asked: {e.message}")
        return
    if one_place(theirs.location, found.location) or (
        theirs.id == found.id and same_place(found, theirs)
    ):
        yield f"it is the very place of {other.name} ({theirs.location}): one repository, not two"
