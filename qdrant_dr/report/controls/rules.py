"""Rules for controls about backups, copies and tests, on the rows of the frames. Pure.

Each says what it counted, so that a person can count again. With nothing to look at, `met` is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

from qdrant_dr.quantities import how_long
from qdrant_dr.records.proof import reaches
from qdrant_dr.report.controls.control import Judged, Rule
from qdrant_dr.report.controls.facts import Facts, Row, share
from qdrant_dr.text import count

WEEK = timedelta(days=7)
NO_COLLECTION = Judged(None, "no collection was seen, expected or backed up")


def every(*rules: Rule) -> Rule:
    """Join rules: met if all are; what one could not look at is missing from the whole."""

    def joined(facts: Facts) -> Judged:
        each = [rule(facts) for rule in rules]
        said = "; ".join(dict.fromkeys(j.figures for j in each))
        if any(j.met is False for j in each):
            return Judged(False, said)
        return Judged(None if any(j.met is None for j in each) else True, said)

    return joined


def protected(facts: Facts) -> Judged:
    """Judge whether every collection meets every objective."""
    good = [c for c in facts.collections if c["status"] == "protected"]
    return _all_collections(facts, good, "protected")


def proven(facts: Facts) -> Judged:
    """Judge whether every collection has a backup that is proven, all its bytes included."""
    good = [c for c in facts.collections if c["newest_proven_at"] and c["copies_proven_count"]]
    return _all_collections(facts, good, "proven within the promised age")


def content_proven(facts: Facts) -> Judged:
    """Judge whether the points of every collection were compared with what was backed up."""
    good = [c for c in facts.collections if (d := c["proven_depth"]) and reaches(d, "content")]
    return _all_collections(facts, good, "proven to content")


def fresh(facts: Facts) -> Judged:
    """Judge whether the newest proven backup of every collection is as young as promised."""
    good = [c for c in facts.collections if _within(c["rpo_seconds"], c["rpo_objective_seconds"])]
    return _all_collections(facts, good, "within the recovery point objective")


def weekly(facts: Facts) -> Judged:
    """Judge whether the newest proven backups are a week old at most, and whether a schedule has
    started a backup in every week since its first one of the period."""
    good = [c for c in facts.collections if _within(c["rpo_seconds"], WEEK.total_seconds())]
    made = [r for r in facts.ended_runs if r["kind"] == "backup" and r["verdict"] != "failed"]
    alone = [r for r in made if r["trigger"] in ("schedule", "automation")]
    judged = _all_collections(facts, good, "with a proven backup of the last week")
    figures = f"{judged.figures}; {share(alone, made, 'backup run')} started by a schedule"
    times = [*(r["started_at"] for r in alone), facts.as_of]
    longest = max((after - before for before, after in pairwise(times)), default=None)
    figures += f", at most {how_long(longest)} apart" if longest is not None else ""
    return Judged(judged.met and longest is not None and longest <= WEEK, figures)


def in_time(facts: Facts) -> Judged:
    """Judge whether the recovery time of every collection was measured, and short enough."""
    good = [c for c in facts.collections if _within(c["rto_seconds"], c["rto_objective_seconds"])]
    known = [c for c in facts.collections if c["rto_seconds"] is not None]
    judged = _all_collections(facts, good, "within the recovery time objective")
    return Judged(judged.met, f"{judged.figures}; measured for {len(known)}")


def enough_copies(facts: Facts) -> Judged:
    """Judge whether every collection has as many proven copies as promised, and at least two."""
    wanted = max(2, facts.promised.quorum)
    good = [c for c in facts.collections if (c["copies_proven_count"] or 0) >= wanted]
    return _all_collections(facts, good, f"with {wanted} proven copies")


def promised_copies(facts: Facts) -> Judged:
    """Judge whether every collection has as many proven copies, in as many domains, as promised."""
    want = facts.promised
    good = [
        c
        for c in facts.collections
        if (c["copies_proven_count"] or 0) >= want.quorum
        and (c["domains_proven_count"] or 0) >= want.domains
    ]
    words = f"with {count(want.quorum, 'proven copy')} in {count(want.domains, 'failure domain')}"
    return _all_collections(facts, good, words)


def apart(facts: Facts) -> Judged:
    """Judge whether proven copies of every collection lie in two failure domains or more."""
    return _all_collections(facts, _apart(facts, facts.collections), "in two failure domains")


def critical_apart(facts: Facts) -> Judged:
    """Judge the same of critical collections."""
    critical = [c for c in facts.collections if c["criticality"] == "high"]
    if not critical:
        return Judged(None, "no collection is configured as critical")
    good = _apart(facts, critical)
    said = share(good, critical, "critical collection")
    return Judged(len(good) == len(critical), f"{said} in two failure domains")


def ranked(facts: Facts) -> Judged:
    """Judge whether owner and criticality of every collection are configured."""
    good = [c for c in facts.collections if c["owner"] and c["criticality"]]
    return _all_collections(facts, good, "with an owner and a criticality")


def running(facts: Facts) -> Judged:
    """Judge whether backups ran in the period, and nothing that went wrong is left so."""
    made = [r for r in facts.ended_runs if r["kind"] == "backup"]
    if not made:
        return Judged(False, "no backup run of the period has ended")
    bad = [r for r in facts.ended_runs if r["verdict"] != "ok"]
    left = [r for r in bad if r["settled_by"] is None]
    failed = [r for r in left if r["verdict"] == "failed"]
    figures = (
        f"{count(len(made), 'backup run')}; {share(bad, facts.ended_runs, 'run')} not ok, "
        f"{len(failed)} failed and not made up for"
    )
    return Judged(not failed, figures)


def transferred(facts: Facts) -> Judged:
    """Judge whether the backups of the period were durable before the next was due, and no copy of
    a newest one is behind."""
    due = {c["collection"]: c["rpo_objective_seconds"] for c in facts.collections}
    made = [
        b
        for b in facts.rows["backups"]
        if b["collection"] in due and b["captured_at"] >= facts.as_of - facts.period
    ]
    if not made:
        return Judged(None, "no backup was made in the period")
    took = [(b["capture_seconds"] + b["transfer_seconds"], due[b["collection"]]) for b in made]
    newest = {c["newest_backup_id"] for c in facts.collections}
    behind = [
        c
        for c in facts.rows["copies"]
        if c["backup_id"] in newest and c["state"] not in ("present", "archived")
    ]
    figures = (
        f"{count(len(made), 'backup')}, the slowest durable after {how_long(max(took)[0])}; "
        f"{len(behind)} copies of the newest not whole"
    )
    return Judged(not behind and all(_within(*t) for t in took), figures)


def undamaged(facts: Facts) -> Judged:
    """Judge whether no copy is damaged."""
    if not facts.held_copies:
        return Judged(None, "there is no copy")
    bad = [c for c in facts.held_copies if c["state"] == "damaged"]
    return Judged(not bad, f"{len(bad)} of {count(len(facts.held_copies), 'copy')} damaged")


def inventoried(facts: Facts) -> Judged:
    """Judge whether the state of every copy is known."""
    copies = facts.rows["copies"]
    if not copies:
        return Judged(None, "there is no copy")
    unknown = [c for c in copies if c["state"] == "unreachable"]
    said = f"{count(len(copies), 'copy')} listed, the state of {len(unknown)} unknown"
    return Judged(not unknown, said)


def expiring(facts: Facts) -> Judged:
    """Judge whether retention removes what is not needed any more."""
    runs = [r for r in facts.ended_runs if r["kind"] == "expire"]
    gone = [c for c in facts.rows["copies"] if c["state"] == "expired"]
    if not runs:
        return Judged(None, "no retention run ended in the period")
    said = f"{count(len(runs), 'retention run')}, the last {runs[-1]['verdict']}"
    return Judged(
        runs[-1]["verdict"] == "ok", f"{said}; {count(len(gone), 'copy')} deleted by retention"
    )


def encrypted(facts: Facts) -> Judged:
    """Judge whether every copy is encrypted, with two key slots or more. If none is, the stores may
    encrypt, which no record shows."""
    held = facts.held_copies
    sealed = [c for c in held if c["encrypted"]]
    said = f"{len(sealed)} of {count(len(held), 'copy')} encrypted before they are stored"
    if not sealed:
        return Judged(None, f"{said}; what the stores encrypt by themselves is not recorded")
    lone = {c["repository"] for c in sealed if (c["key_slots_count"] or 0) < 2}
    said += f"; {count(len(lone), 'repository')} with a single key slot" if lone else ""
    return Judged(len(sealed) == len(held) and not lone, said)


def _all_collections(facts: Facts, good: list[Row], what: str) -> Judged:
    if not facts.collections:
        return NO_COLLECTION
    said = f"{share(good, facts.collections, 'collection')} {what}"
    return Judged(len(good) == len(facts.collections), said)


def _apart(facts: Facts, collections: Iterable[Row]) -> list[Row]:
    wanted = max(2, facts.promised.domains)
    return [c for c in collections if (c["domains_proven_count"] or 0) >= wanted]


def _within(value: float | None, objective: float | None) -> bool:
    return value is not None and objective is not None and value <= objective
