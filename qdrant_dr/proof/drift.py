"""Measure how far a collection's content has moved since what was last accepted. Pure.

A loss is measured against the highest counts of any backup since then, so that neither many small
losses nor growth in between can hide it. A change of content is reported for a backup if it was
sudden; slow change is normal for most collections, and is carried along as a share. Later backups
are compared with a reported backup, so that nothing is reported twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdrant_dr.proof.fingerprint import changed_share
from qdrant_dr.records import Baseline, Fingerprint, Seal

WHOLE = 1_000_000


def baseline_of(older: Sequence[Seal], accepted: str | None = None) -> Baseline | None:
    """Return the baseline for the next backup: that of the last of the `older` seals of its
    incarnation (oldest first), or the `accepted` one (an id) if that is later. None: it is the
    first."""
    if not older:
        return None
    carried = older[-1].baseline or _itself(older[-1])
    place = next((n for n, s in enumerate(older) if s.backup_id == accepted), None)
    if place is None or older[place].backup_id <= carried.backup_id:
        return carried
    since = older[place:]
    counts = _itself(since[0]).counts
    for seal in since[1:]:
        counts = _most(counts, _counts(seal.total))
    return _itself(since[0]).model_copy(update={"counts": counts})


def drift(
    total: Fingerprint,
    sketch: Sequence[str],
    previous: Seal,
    baseline: Baseline,
    limit: float,
) -> tuple[str, ...]:
    """Return reasons to inspect this content before trusting it: the source may be damaged."""
    return tuple(_reasons(_counts(total), sketch, previous, baseline, limit))


def carry(
    total: Fingerprint, sketch: Sequence[str], baseline: Baseline | None, *, drifted: bool
) -> Baseline | None:
    """Return the baseline that this seal passes on to the next; None: itself, because it is the
    first or was reported."""
    if baseline is None or drifted:
        return None
    share = changed_share(baseline.sketch, sketch)
    return Baseline(
        backup_id=baseline.backup_id,
        counts=_most(baseline.counts, _counts(total)),
        sketch=baseline.sketch,
        encoding=baseline.encoding,
        changed_ppm=round((share or 0) * WHOLE),
    )


def _reasons(
    found: dict[str, int],
    sketch: Sequence[str],
    previous: Seal,
    baseline: Baseline,
    limit: float,
) -> Iterator[str]:
    last = _counts(previous.total)
    for name, most in _most(baseline.counts, last).items():
        now = found.get(name, 0)
        if most and (most - now) / most > limit:
            what = "points" if name == "id" else f"points with {name}"
            before = (
                f"in the backup before ({previous.backup_id})"
                if last.get(name) == most
                else f"once since {baseline.backup_id}"
            )
            yield f"{now} {what}, {most} {before}"
    share = changed_share(previous.sketch, sketch)
    if share is not None and share > limit:
        yield f"about {share:.0%} of the points of {previous.backup_id} are gone or different"


def _itself(seal: Seal) -> Baseline:
    return Baseline(
        backup_id=seal.backup_id,
        counts=_counts(seal.total),
        sketch=seal.sketch,
        encoding=seal.total.encoding,
        changed_ppm=0,
    )


def _counts(of: Fingerprint) -> dict[str, int]:
    return {name: component.count for name, component in of.components.items()}


def _most(one: dict[str, int], two: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), two.get(name, 0)) for name in sorted({*one, *two})}
