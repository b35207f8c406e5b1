"""Rules for controls about drills, restores and who answers for them, on the rows. Pure."""

from __future__ import annotations

from datetime import timedelta

from qdrant_dr.quantities import how_long
from qdrant_dr.report.controls.control import Judged
from qdrant_dr.report.controls.facts import Facts, Row, share
from qdrant_dr.text import count

QUARTER = timedelta(days=90)
CLEAN = ("removed", "deleted", "nothing was left", "nothing to tear down")
NO_DRILL = Judged(None, "no drill came to an end in the period")
NO_RESTORE = Judged(None, "there was no restore in the period")


def drilled(facts: Facts) -> Judged:
    """Judge whether drills restored backups, and the last one of each collection passed."""
    if not facts.last_tries:
        return NO_DRILL
    failed = [d for d in facts.last_tries.values() if d["verdict"] != "passed"]
    names = {c["collection"] for c in facts.collections}
    passed = {d["collection"] for d in facts.last_tries.values() if d["verdict"] == "passed"}
    said = (
        f"{count(len(facts.passed_drills), 'drill')} passed; the last one passed for "
        f"{len(passed & names)} of {count(len(names), 'collection')}, failed for {len(failed)}"
    )
    return Judged(not failed and bool(passed), said)


def drilled_this_quarter(facts: Facts) -> Judged:
    """Judge the same of the last 90 days, or of the period if that is shorter."""
    since = facts.as_of - min(facts.period, QUARTER)
    began: dict[str, bool] = {}
    for phase in facts.rows["drill_phases"]:
        began[phase["drill_id"]] = phase["started_at"] >= since
    recent = [d for d in facts.passed_drills if began.get(d["drill_id"])]
    judged = drilled(facts)
    span = how_long(min(facts.period, QUARTER))
    said = f"{judged.figures}; {len(recent)} passed in the last {span}"
    return Judged(judged.met and bool(recent), said)


def reviewed(facts: Facts) -> Judged:
    """Judge whether somebody else accepted a passed drill."""
    drills = facts.passed_drills
    if not drills:
        return Judged(None, "no drill passed in the period")
    good = [d for d in drills if d["accepted"] and not d["same_person"]]
    signed = [d for d in good if d["review_signature"] == "signed"]
    said = f"{share(good, drills, 'passed drill')} accepted by another person, {len(signed)} signed"
    return Judged(bool(good), said)


def drilled_in_time(facts: Facts) -> Judged:
    """Judge whether the last drill or restore with a recovery time of each was short enough."""
    known = [d for d in facts.passed_drills if d["rto_met"] is not None]
    if not known:
        return Judged(None, "no drill measured a recovery time on a real server")
    last = {d["collection"]: d["rto_met"] for d in known}
    late = [name for name, met in last.items() if not met]
    return Judged(
        not late, f"recovery time measured for {count(len(last), 'collection')}, {len(late)} late"
    )


def elsewhere(facts: Facts) -> Judged:
    """Judge whether drills under a scenario met both objectives from what was left."""
    played = _played(facts)
    if not played:
        return Judged(None, "no drill under a scenario passed in the period")
    last = {(d["scenario"], d["collection"]): d for d in played}
    kept = [d for d in last.values() if d["rpo_met"] and d["rto_met"]]
    late = [d for d in last.values() if d["rpo_met"] is False or d["rto_met"] is False]
    said = f"{share(kept, list(last.values()), 'scenario')} within both objectives, {len(late)} not"
    return Judged(bool(kept) and not late, said)


def left_somewhere(facts: Facts) -> Judged:
    """Judge whether a scenario left a copy of everything, if any was tried."""
    played = [
        d for d in facts.rows["drills"] if d["scenario"] and d["copies_left_count"] is not None
    ]
    bad = [d for d in played if not d["copies_left_count"]]
    said = f"{count(len(played), 'drill')} under a scenario, {len(bad)} without a copy left"
    return Judged(not bad, said)


def rehearsed(facts: Facts) -> Judged:
    """Judge whether drills under a scenario passed."""
    tried = {d["scenario"]: d for d in facts.rows["drills"] if d["scenario"]}
    if not tried:
        return Judged(None, "no drill under a scenario began in the period")
    passed = [d for d in tried.values() if d["verdict"] == "passed"]
    return Judged(
        len(passed) == len(tried),
        f"the last drill of {share(passed, list(tried.values()), 'scenario')} passed",
    )


def isolated(facts: Facts) -> Judged:
    """Judge whether it is declared where drills ran that it is isolated."""
    drills = facts.passed_drills
    if not drills:
        return Judged(None, "no drill passed in the period")
    good = [d for d in drills if d["isolation_declared"]]
    return Judged(
        len(good) == len(drills), f"{share(good, drills, 'passed drill')} with declared isolation"
    )


def torn_down(facts: Facts) -> Judged:
    """Judge whether nothing of a drill stayed."""
    drills = [d for d in facts.rows["drills"] if d["teardown"]]
    if not drills:
        return NO_DRILL
    good = [d for d in drills if d["teardown"] in CLEAN]
    return Judged(len(good) == len(drills), f"{share(good, drills, 'drill')} removed afterwards")


def restored(facts: Facts) -> Judged:
    """Judge whether the last restore of each collection brought back everything."""
    tries = {
        (r["collection"], r["name"]): r for r in facts.rows["restores"] if r["verdict"] != "not run"
    }
    if not tries:
        return NO_RESTORE
    whole = [r for r in tries.values() if r["verdict"] == "passed" and not r["points_lost_count"]]
    said = f"the last restore of {share(whole, list(tries.values()), 'target')} whole and equal"
    return Judged(len(whole) == len(tries), said)


def recovered(facts: Facts) -> Judged:
    """Judge the restores of the period; without any, the drills."""
    judged = restored(facts)
    return drilled(facts) if judged.met is None else judged


def approved(facts: Facts) -> Judged:
    """Judge whether another person approved each restore."""
    done = [r for r in facts.rows["restores"] if r["verdict"] != "not run"]
    if not done:
        return NO_RESTORE
    good = [r for r in done if r["approved_by"] and not r["same_person"]]
    said = f"{share(good, done, 'restore')} approved by another person"
    return Judged(len(good) == len(done), said)


def _played(facts: Facts) -> list[Row]:
    return [d for d in facts.passed_drills if d["scenario"]]
