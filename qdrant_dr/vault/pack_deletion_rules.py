"""The law of deletion in a chunked repository: pure, and the only place that knows it.

Reuse only what a committed backup refers to, or what is younger than half of `grace`; commit within
half of `grace`; delete only what nothing has protected for `grace`. All times are the store's.

A backup protects the packs of its recipes while its manifest is there, and for `grace` after the
record that it is to go: a run that saw it alive has committed by then, or never will. The same
holds for what a recipe named before a repair replaced it. So writers
and sweeps need no lock, and a sweep may take as long as it likes between deciding and deleting,
as long as what it knows was read after the `now` that it counts from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

ORPHAN_GRACE = timedelta(hours=48)
"""How long nothing may have protected what is deleted. A constant of the format: every writer of a
repository must count with the same one."""
MARGIN = timedelta(hours=1)
"""What is reused without a backup must outlive the commit: clocks differ, and a manifest arrives
later than it was decided to write it."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one repository has of one backup, as far as the law asks.

    `written_at` is when the newest of its files was written; `expired_at`, when the newest record
    that it is to go was; `kept`: why it stays, whatever its age.
    """

    folder: str
    committed: bool
    written_at: datetime
    expired_at: datetime | None = None
    kept: str | None = None


def protects(holding: Holding, *, now: datetime, grace: timedelta = ORPHAN_GRACE) -> bool:
    """Say whether the recipes of a backup protect the packs that they refer to."""
    if holding.committed or holding.kept:
        return True
    return now - (holding.expired_at or holding.written_at) <= grace


def protected_packs(recipes: Iterable[Collection[str] | None]) -> frozenset[str] | None:
    """Return every pack that these recipes refer to; None if one of them could not be read."""
    found: set[str] = set()
    for packs in recipes:
        if packs is None:
            return None
        found.update(packs)
    return frozenset(found)


def packs_to_delete(
    packs: Mapping[str, datetime],
    recipes: Iterable[Collection[str] | None],
    *,
    now: datetime,
    grace: timedelta = ORPHAN_GRACE,
) -> frozenset[str]:
    """Return which packs of a collection go. `packs` are all of them with the time they were
    written, `recipes` the packs of each recipe that protects: one that could not be read (None)
    lets nothing go. Both must have been read after `now`."""
    protected = protected_packs(recipes)
    if protected is None:
        return frozenset()
    old = {name for name, written_at in packs.items() if now - written_at > grace}
    return frozenset(old - protected)


def rewritten_lately(
    recipe_at: datetime,
    manifest_at: datetime,
    began: datetime,
    *,
    marked: bool,
    now: datetime,
    grace: timedelta = ORPHAN_GRACE,
) -> bool:
    """Say whether a repair put a recipe in the place of another within `grace`: it is `marked`,
    since a repair names a pack in it that no capture makes; or it was written after its manifest,
    or longer after its backup `began` than a capture may take.

    Runs may still refer to what the other one named, and nothing tells what that was. So while
    there is such a recipe, no pack of its collection goes. Times alone do not show a recipe that
    was replaced within `grace / 2` of its backup's begin together with its manifest.
    """
    late = marked or recipe_at > manifest_at or recipe_at - began > grace / 2
    return late and now - recipe_at <= grace


def is_base(*, committed: bool, expired: bool) -> bool:
    """Say whether a new backup may reuse what this one refers to: it is committed, and no record
    says that it is to go. For one that has such a record, the time has begun to run."""
    return committed and not expired


def may_reuse(written_at: datetime, *, now: datetime, grace: timedelta = ORPHAN_GRACE) -> bool:
    """Say whether a new backup may refer to a pack that no base does (see `is_base`): a dead run
    left it so lately that no sweep takes it before this run may commit."""
    return now - written_at <= grace / 2 - MARGIN


def may_commit(began: datetime, *, now: datetime, grace: timedelta = ORPHAN_GRACE) -> bool:
    """Say whether a run may still write its manifest. It began before it looked for what to
    reuse."""
    return now - began <= grace / 2
