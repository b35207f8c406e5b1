"""Rules for controls about the evidence itself, on the rows of the ledgers. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from qdrant_dr.quantities import how_long
from qdrant_dr.report.controls.control import Judged
from qdrant_dr.report.controls.facts import Facts, Row, share
from qdrant_dr.report.evidence.ledger import LEDGER_STATES
from qdrant_dr.text import count

YEAR = timedelta(days=365)


def signed(facts: Facts) -> Judged:
    """Judge whether an entry that is signed names every run of the period; by whom, `unbroken`
    judges."""
    runs = [r for r in facts.ended_runs if r["ended_at"] is not None]
    if not runs:
        return Judged(None, "no run ended in the period")
    good = [r for r in runs if r["signed_by"]]
    return Judged(len(good) == len(runs), f"{share(good, runs, 'run')} in a signed entry")


def unbroken(facts: Facts) -> Judged:
    """Judge whether the ledger of every repository is whole, and signed to its end by keys that are
    allowed to."""
    every, ledgers = facts.rows["ledger"], _ledgers(facts)
    if not ledgers:
        return Judged(None, "no repository has a ledger")
    states = Counter(r["state"] for r in every)
    odd = [f"{states[s]} {s}" for s in LEDGER_STATES if s != "signed" and states[s]]
    said = f"{states['signed']} of {count(len(every), 'ledger')} whole and signed by allowed keys"
    return Judged(states["signed"] == len(every), "; ".join([said, *odd]))


def witnessed(facts: Facts) -> Judged:
    """Judge whether another ledger names an entry of every ledger as it is here, and both are whole
    and signed: whoever may rewrite the one that saw it can make it say anything."""
    ledgers, rows = _ledgers(facts), facts.rows["ledger"]
    if not ledgers:
        return Judged(None, "no repository has a ledger")
    sound = {r["repository"] for r in rows if r["state"] == "signed"}
    seen = [r for r in ledgers if r["anchored_in"]]
    good = [r for r in seen if {r["repository"], r["anchored_in"].rpartition(" ")[0]} <= sound]
    said = f"{share(seen, rows, 'ledger')} seen by another one, {len(good)} with both signed"
    return Judged(len(good) == len(rows), said)


def kept_for_a_year(facts: Facts) -> Judged:
    """Judge whether every ledger goes back a year and is whole and signed all that time; a younger
    one says nothing of it yet, and neither does a report that looks back less far."""
    rows = facts.rows["ledger"]
    if not _ledgers(facts):
        return Judged(None, "no repository has a ledger")
    states = Counter(r["state"] for r in rows)
    if lost := [f"{states[s]} {s}" for s in ("unreadable", "none", "broken") if states[s]]:
        return Judged(False, f"{count(len(rows), 'ledger')}; {'; '.join(lost)}")
    began = [r["since"] for r in rows]
    if None in began:
        return Judged(None, f"of {count(began.count(None), 'ledger')} older entries were cut off")
    youngest = max(began)
    said = f"{count(len(began), 'ledger')}, the youngest since {youngest:%Y-%m-%d}"
    if youngest > facts.as_of - YEAR:
        return Judged(None, said)
    if facts.period < YEAR:
        said += f"; read are those of {how_long(facts.period)}: `report --period 365d` reads a year"
        return Judged(None, said)
    return Judged(states["signed"] == len(rows), f"{said}; {states['signed']} signed")


def _ledgers(facts: Facts) -> list[Row]:
    return [r for r in facts.rows["ledger"] if r["head_number"] is not None]
