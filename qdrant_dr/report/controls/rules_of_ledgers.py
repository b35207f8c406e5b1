"""Rules for controls about the evidence itself, on the rows of the ledgers. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

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
    """Judge whether another repository names an entry of every ledger."""
    ledgers = _ledgers(facts)
    if not ledgers:
        return Judged(None, "no repository has a ledger")
    good = [r for r in ledgers if r["anchored_number"] is not None]
    rows = facts.rows["ledger"]
    return Judged(len(good) == len(rows), f"{share(good, rows, 'ledger')} seen by another one")


def kept_for_a_year(facts: Facts) -> Judged:
    """Judge whether the ledgers go back a year; a younger one says nothing of it yet."""
    began = [r["since"] for r in _ledgers(facts) if r["since"] is not None]
    if not began:
        return Judged(None, "no repository has a ledger")
    youngest = max(began)
    said = f"{count(len(began), 'ledger')}, the youngest since {youngest:%Y-%m-%d}"
    return Judged(True if youngest <= facts.as_of - YEAR else None, said)


def _ledgers(facts: Facts) -> list[Row]:
    return [r for r in facts.rows["ledger"] if r["head_number"] is not None]
