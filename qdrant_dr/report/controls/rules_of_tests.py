"""Rules for controls about drills, restores and who answers for them, on the rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
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
    return Judged(not failed and bool(passed & names), said)


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
    """Judge whether somebody else accepted the last drill of each collection that somebody else
    reviewed, and there is one."""
    drills = facts.passed_drills
    if not drills:
        return Judged(None, "no drill passed in the period")
    others = [d for d in facts.rows["drills"] if d["reviewed_by"] and not d["same_person"]]
    rejected = [d for d in {d["collection"]: d for d in others}.values() if not d["accepted"]]
    good = [d for d in others if d["accepted"] and d["verdict"] == "passed"]
    signed = [d for d in good if d["review_signature"] == "signed"]
    said = f"{share(good, drills, 'passed drill')} accepted by another person, {len(signed)} signed"
    if rejected:
        said += f"; the last review rejects {count(len(rejected), 'collection')}, or does not hold"
    return Judged(bool(good) and not rejected, said)


def drilled_in_time(facts: Facts) -> Judged:
    """Judge whether the last recovery time that a drill measured of each was short enough."""
    known = [d for d in facts.passed_drills if d["rto_met"] is not None]
    if not known:
        return Judged(None, "no drill measured a recovery time on a real server")
    last = {d["collection"]: d["rto_met"] for d in known}
    late = [name for name, met in last.items() if not met]
    return Judged(
        not late, f"recovery time measured for {count(len(last), 'collection')}, {len(late)} late"
    )


def elsewhere(facts: Facts) -> Judged:
    """Judge whether the last drill of each scenario and collection passed, and met both objectives
    from what was left."""
    last = list(facts.last_under_scenario.values())
    if not any(d["verdict"] == "passed" for d in last):
        return Judged(None, "no drill under a scenario passed in the period")
    kept = [d for d in last if d["rpo_met"] and d["rto_met"]]
    bad = [
        d
        for d in last
        if d["verdict"] != "passed" or d["rpo_met"] is False or d["rto_met"] is False
    ]
    said = f"{share(kept, last, 'scenario')} within both objectives, {len(bad)} not"
    return Judged(bool(kept) and not bad, said)


def left_somewhere(facts: Facts) -> Judged:
    """Judge whether scenarios left a copy of everything, if any was tried."""
    last = [d for d in facts.last_under_scenario.values() if d["verdict"] != "not run"]
    bad = [d for d in last if not d["copies_left_count"]]
    said = f"{count(len(last), 'drill')} under a scenario, {len(bad)} without a copy left"
    return Judged(not bad, said)


def rehearsed(facts: Facts) -> Judged:
    """Judge whether the last drill of each scenario and collection passed."""
    last = list(facts.last_under_scenario.values())
    if not last:
        return Judged(None, "no drill under a scenario began in the period")
    passed = [d for d in last if d["verdict"] == "passed"]
    return Judged(
        len(passed) == len(last), f"the last drill of {share(passed, last, 'scenario')} passed"
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
    """Judge whether nothing of a drill stayed; what one that crashed has left, nobody knows."""
    crashed = facts.crashed("drill")
    drills = [d for d in facts.rows["drills"] if d["teardown"]]
    if not drills and not crashed:
        return NO_DRILL
    good = [d for d in drills if d["teardown"] in CLEAN]
    said = f"{share(good, drills, 'drill')} removed afterwards"
    return Judged(len(good) == len(drills) and not crashed, _with_crashed(said, crashed))


def restored(facts: Facts) -> Judged:
    """Judge whether the last restore of each collection brought back everything, and none crashed
    and was left so."""
    crashed = facts.crashed("restore")
    tries = {
        (r["collection"], r["name"]): r for r in facts.rows["restores"] if r["verdict"] != "not run"
    }
    if not tries and not crashed:
        return NO_RESTORE
    whole = [r for r in tries.values() if r["verdict"] == "passed" and not r["points_lost_count"]]
    said = f"the last restore of {share(whole, list(tries.values()), 'target')} whole and equal"
    return Judged(len(whole) == len(tries) and not crashed, _with_crashed(said, crashed))


def recovered(facts: Facts) -> Judged:
    """Judge the restores and the drills of the period, whichever there are: a drill that failed is
    not outweighed by an earlier restore."""
    each = [j for j in (restored(facts), drilled(facts)) if j.met is not None]
    if not each:
        return NO_DRILL
    return Judged(all(j.met for j in each), "; ".join(j.figures for j in each))


def approved(facts: Facts) -> Judged:
    """Judge whether another person approved each restore."""
    done = [r for r in facts.rows["restores"] if r["verdict"] != "not run"]
    if not done:
        return NO_RESTORE
    good = [
        r
        for r in done
        if r["approved_by"] and not r["same_person"] and r["approval_signature"] != "invalid"
    ]
    said = f"{share(good, done, 'restore')} approved by another person"
    return Judged(len(good) == len(done), said)


def _with_crashed(said: str, crashed: Sequence[Row]) -> str:
    return f"{said}; {count(len(crashed), 'run')} crashed and not made up for" if crashed else said
