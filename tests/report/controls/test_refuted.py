"""Every control that can be met can be refuted: by records that say no, by a ledger that is gone or
broken, by what cannot be read, by a period without runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest

from qdrant_dr import layout
from qdrant_dr.errors import LedgerBehind, ObjectArchived, RecordDamaged
from qdrant_dr.records import Played, RunEnd
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.records.ledger import Head, Written
from qdrant_dr.report.controls.table import CONTROLS
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger_read import LedgerRead, ReadEntry
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.repository import Unreadable
from qdrant_dr.repository.ledger_head import LedgerHead
from tests.report.evidence.test_reviews import review
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.report_ledgers import TRUSTED, chain, read, signed
from tests.support.worlds import evidence, frames

WHERE = ("aws", "gcp")
MADE = r.manifest()
RULES = {"match": "*", "owner": "ana", "criticality": "high"}
CONFIG = r.config(*WHERE, collections={"overrides": [RULES]})
PROOFS = [r.proof(MADE, where) for where in WHERE]
SCENARIO = Played(
    name="lost-cloud:aws", unused=("aws",), newest_proven_us=3600, copies_left=1, domains_left=1
)


def drill(ago: float = 1.0, *, of: Any = MADE, verdict: str = "ok", **detail: Any) -> RunEnd:
    at = NOW - hours(ago)
    outcome = r.drilled(of, at, detail={"scenario": SCENARIO, **detail}, verdict=verdict)
    return r.run_end(r.run_start("drill", at), outcomes=(outcome,))


def restore(ago: float = 1.0, **detail: Any) -> RunEnd:
    at = NOW - hours(ago)
    return r.run_end(r.run_start("restore", at), outcomes=(r.restored(MADE, at, detail=detail),))


def backup(ago: float = 2.0, **fields: Any) -> RunEnd:
    start = r.run_start(at=NOW - hours(ago), **fields)
    return r.run_end(start, outcomes=(r.captured(MADE),), seen=(r.seen("movies"),))


def expire(verdict: str = "ok") -> RunEnd:
    return r.run_end(r.run_start("expire", NOW - hours(1.5)), verdict=verdict)


DRILL, REVIEW = drill(), review(drill())
ENDS = (backup(), expire(), DRILL, restore(), REVIEW)
SLOTS = tuple(KeySlot.model_construct(key_id="k", slot_id=str(n)) for n in (1, 2))


def ledgers(ends: Iterable[RunEnd], since: Any = days(390)) -> tuple[LedgerRead, ...]:
    """Two, each of which saw the other; their last entries name the ends of all runs."""
    firsts = {}
    for name in WHERE:
        entry = chain(name, 1)[0].entry
        firsts[name] = signed(entry.model_copy(update={"at": NOW - since}))
    named = tuple(
        Written(path=layout.run_end(e.start.run_id, e.start.started_at), sha256=e.sha256,
                size_bytes=9)
        for e in ends
    )  # fmt: skip
    found = []
    for name, other in zip(WHERE, reversed(WHERE), strict=True):
        seen = Head(repository_id=r.digest(other)[:8], number=1, sha256=firsts[other].entry.sha256)
        second = chain(name, 2)[1].entry.model_copy(
            update={"previous": firsts[name].entry.sha256, "records": named, "heads": (seen,),
                    "at": NOW - hours(0.4)}
        )  # fmt: skip
        found.append(read(name, (firsts[name], signed(second))))
    return tuple(found)


def world(ends: Sequence[RunEnd] = ENDS, **fields: Any) -> Evidence:
    """All is well, for more than a year; `fields` say what is not."""
    body: dict[str, Any] = {
        "config": CONFIG,
        "proofs": PROOFS,
        "period": days(400),
        "states": [r.state(name, encrypted=True) for name in WHERE],
    }
    own = {k: fields.pop(k) for k in ("ledgers", "signers", "key_slots", "unreadable",
                                      "ledger_heads") if k in fields}  # fmt: skip
    held = fields.pop("held", {"aws": [MADE], "gcp": [MADE]})
    made = evidence(held, **{**body, "ends": ends, **fields})
    more = {"ledgers": ledgers(ends), "signers": TRUSTED, "key_slots": dict.fromkeys(WHERE, SLOTS)}
    return replace(made, **{**more, **own})


def with_ledger(change: Any) -> Evidence:
    """The ledger of aws is changed."""
    aws, gcp = ledgers(ENDS)
    return world(ledgers=(change(aws), gcp))


def unsigned(ledger: LedgerRead) -> LedgerRead:
    return replace(ledger, entries=tuple(ReadEntry(e.entry) for e in ledger.entries))


def gap(ledger: LedgerRead) -> LedgerRead:
    one, two = ledger.entries
    third = signed(two.entry.model_copy(update={"number": 3, "previous": two.entry.sha256}))
    return replace(ledger, entries=(one, third))


def other_head(ledger: LedgerRead) -> LedgerRead:
    one, two = ledger.entries
    wrong = two.entry.heads[0].model_copy(update={"sha256": r.digest("another")})
    return replace(ledger, entries=(one, signed(two.entry.model_copy(update={"heads": (wrong,)}))))


def no_heads(ledger: LedgerRead) -> LedgerRead:
    one, two = ledger.entries
    return replace(ledger, entries=(one, signed(two.entry.model_copy(update={"heads": ()}))))


def without(*ends: RunEnd) -> tuple[RunEnd, ...]:
    return tuple(e for e in ENDS if e not in ends)


def merely_found(end: RunEnd) -> Evidence:
    """The end of a run lay there, and the next signed entry lists it."""
    rest = ledgers([e for e in ENDS if e is not end])
    changed = []
    for ledger in rest:
        one, two = ledger.entries
        found = Written(path=layout.run_end(end.start.run_id, end.start.started_at),
                        sha256=end.sha256, size_bytes=9)  # fmt: skip
        entry = signed(two.entry.model_copy(update={"found": (found,)}))
        changed.append(replace(ledger, entries=(one, entry)))
    return world(ledgers=tuple(changed))


def crashed(job: str) -> Evidence:
    """A run of this job never ended, and the last one that did was before it."""
    old = drill(20)
    ends = (backup(), expire(), old, restore(20), review(old))
    return world(ends, starts=[r.run_start(job, NOW - hours(9))])


BAD = r.proof(MADE, "gcp", passed=False, ended_at=NOW - hours(0.7))
OLD = r.manifest(at=NOW - days(9))
SLOW = r.manifest(captured_at=NOW - days(2))
PASSED_ELSEWHERE = drill(0.3, of=r.manifest("zebras"))
LOST = SCENARIO.model_copy(update={"copies_left": 0, "domains_left": 0, "newest_proven_us": None})


def proven(of: Any, *where: str, depth: str = "content") -> dict[str, Any]:
    """Of another backup, proven there."""
    return {"held": {"aws": [of], "gcp": [of]},
            "proofs": [r.proof(of, name, depth=depth) for name in where]}  # fmt: skip


def configured(**rules: Any) -> Any:
    return r.config(*WHERE, collections={"overrides": [{"match": "*", **rules}]})


DRILLED = ("A1.3", "A.8.13", "CP-4", "CP-9(2)", "CP-10", "CP-10(4)", "Art. 12(2)",
           "(a)(7)(ii)(B)", "(a)(7)(ii)(D)", "11.5")  # fmt: skip
RESTORED = ("CC7.5", "CP-10", "Art. 12(7)", "(a)(7)(ii)(B)")
REVIEWED = ("CP-4", "(a)(7)(ii)(D)")
WHOLE = ("A1.3", "A.8.13", "CP-9(1)", "SI-7", "(a)(7)(ii)(A)")
COPIES = ("A1.2", "A.8.13", "A.8.14", "CP-9")
APART = ("CP-6", "CP-6(1)", "CP-9(3)", "11.4")
FRESH = ("A.8.13", "A.5.30", "CP-9", "Art. 12(1)", "Art. 12(6)")
RANKED = ("CP-2", "Art. 12(1)", "(a)(7)(ii)(E)")
ENCRYPTED = ("CP-9(8)", "11.3")
SCENARIOS = ("CP-6(2)", "Art. 11")
SIGNED = ("AU-9(3)", "AU-10", "SI-7", "10.3.4")
SEEN = ("AU-9(2)", "10.3.3")
KEPT = ("10.5.1",)

REFUTED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a drill that failed last": (partial(world, (*ENDS, drill(0.5, fingerprint_equal=False))),
                                 (*DRILLED, *SCENARIOS)),
    "another collection that passed after it": (
        partial(world, (*ENDS, drill(0.5, fingerprint_equal=False), PASSED_ELSEWHERE)),
        (*DRILLED, *SCENARIOS)),
    "drills of other collections alone": (
        partial(world, (*without(DRILL, REVIEW), PASSED_ELSEWHERE)),
        tuple(c for c in DRILLED if c != "(a)(7)(ii)(D)")),
    "no drill": (partial(world, without(DRILL, REVIEW)),
                 (*(c for c in DRILLED if c not in RESTORED), "A.5.29", "Art. 12(3)", *SCENARIOS)),
    "the last drill of long ago": (
        partial(world, (*without(DRILL, REVIEW), drill(days(120) / hours(1)))), ("11.5",)),
    "a drill that took too long": (
        partial(world, (*without(DRILL), drill(0.5)), config=r.config(
            *WHERE, objectives={"rto": "1s"}, collections={"overrides": [RULES]})),
        ("A.5.30", "CP-6(2)", "CP-10(4)", "Art. 12(6)")),
    "a drill whose target stayed": (partial(world, (*ENDS, drill(0.5, teardown="it is there"))),
                                    ("Art. 12(2)",)),
    "a drill that crashed": (partial(crashed, "drill"), ("Art. 12(2)",)),
    "a drill in no isolated place": (partial(world, (*ENDS, drill(0.5, isolation=""))),
                                     ("A.5.29", "Art. 12(3)")),
    "a scenario that left no copy": (
        partial(world, (*ENDS, drill(0.5, fingerprint_equal=False, scenario=LOST))),
        ("CP-6", *SCENARIOS)),
    "no review": (partial(world, without(REVIEW)), REVIEWED),
    "a review that rejects": (
        partial(world, (*without(REVIEW), review(DRILL, accepted=False))), REVIEWED),
    "a review of another record": (partial(world, (*without(REVIEW), review(drill(), at=NOW -
        hours(0.5)).model_copy(update={"outcomes": tuple(
            o.model_copy(update={"detail": o.detail.model_copy(
                update={"end_sha256": r.digest("another")})}) for o in REVIEW.outcomes)}))),
        REVIEWED),
    "a rejection of the drill after it": (
        partial(world, (*ENDS, drill(0.6), review(drill(0.6), accepted=False, at=NOW - hours(0.5)
                                                  + days(0.001)))), REVIEWED),
    "a restore that lost points": (partial(world, (*ENDS, restore(0.5, points_restored=7))),
                                   RESTORED),
    "a restore that crashed": (partial(crashed, "restore"), RESTORED),
    "a restore that nobody approved": (partial(world, (*ENDS, restore(0.5, approved_by=""))),
                                       ("A.5.29",)),
    "a backup run that failed": (
        partial(world, (*ENDS, r.run_end(r.run_start(at=NOW - hours(0.5)), verdict="failed"))),
        ("A1.2", "12.10.1")),
    "backups by hand": (partial(world, (backup(trigger="manual"), *ENDS[1:])), ("11.2",)),
    "a schedule that stopped": (
        partial(world, (backup(trigger="manual"), backup(9 * 24), *ENDS[1:])), ("11.2",)),
    "a backup that is old": (partial(world, **proven(OLD, *WHERE)), (*FRESH, "11.2")),
    "a backup that was slow to come": (partial(world, **proven(SLOW, *WHERE)), ("CP-9(5)",)),
    "a copy that is behind": (partial(world, held={"aws": [MADE], "gcp": []}),
                              (*COPIES, *APART, "CP-9(5)")),
    "a copy that a proof called bad": (partial(world, proofs=[*PROOFS, BAD]),
                                       (*WHOLE, *COPIES, *APART)),
    "copies that nobody proved": (partial(world, proofs=()),
                                  (*COPIES, *APART, "A1.3", "CP-9(1)", "SI-7", "(a)(7)(ii)(A)")),
    "content that nobody compared": (
        partial(world, **proven(MADE, *WHERE, depth="bytes")), ("(a)(7)(ii)(A)",)),
    "nobody in charge": (partial(world, config=configured(criticality="high")), RANKED),
    "a copy that is not encrypted": (
        partial(world, states=[r.state("aws", encrypted=True), r.state("gcp")]), ENCRYPTED),
    "a single key slot": (partial(world, key_slots=dict.fromkeys(WHERE, SLOTS[:1])), ENCRYPTED),
    "retention that failed": (partial(world, (*ENDS[:1], expire("failed"), *ENDS[2:])),
                              ("9.4.7",)),
    "retention that was not done everywhere": (
        partial(world, (*ENDS[:1], expire("degraded"), *ENDS[2:])), ("9.4.7",)),
    "a repository that is away": (partial(world, unreachable=["gcp"], states=None), ("9.4.5.1",)),
    "ledgers that were not read": (partial(world, ledgers=()), (*SIGNED, *SEEN, *KEPT)),
    "a repository without a ledger": (
        partial(with_ledger, lambda o: replace(o, entries=(), first=None)),
        (*SIGNED, *SEEN, *KEPT)),
    "a ledger whose first entry is gone": (
        partial(with_ledger, lambda o: replace(o, first=None)), (*SIGNED, *SEEN, *KEPT)),
    "a ledger with a gap": (partial(with_ledger, gap), (*SIGNED, *SEEN, *KEPT)),
    "a ledger that nobody signed": (partial(with_ledger, unsigned), (*SIGNED, *SEEN, *KEPT)),
    "a ledger that nobody trusted signed": (partial(world, signers=()), (*SIGNED, *SEEN, *KEPT)),
    "a ledger that another one saw otherwise": (partial(with_ledger, other_head), SEEN),
    "a ledger that no other one saw": (partial(with_ledger, no_heads), SEEN),
    "a ledger that is young": (partial(world, ledgers=ledgers(ENDS, days(300))), KEPT),
    "a report of a month": (partial(world, period=days(30)), KEPT),
    "a run that was found": (partial(merely_found, DRILL), ("AU-10",)),
    "a run that an entry names and nobody has": (
        partial(world, without(DRILL), ledgers=ledgers(ENDS)), (*SIGNED, *SEEN, *KEPT)),
}  # fmt: skip
DOUBTED = {
    "a ledger in an archive": partial(
        with_ledger,
        lambda o: LedgerRead("aws", o.repository_id, error=ObjectArchived("brought back first")),
    ),
    "no run": partial(world, (), ledgers=ledgers(())),
    "a report alone": partial(world, (r.run_end(r.run_start("report", NOW - hours(1))),)),
    "a repository that is away": REFUTED["a repository that is away"][0],
    "a record that is torn": partial(
        world, unreadable=(Unreadable("aws", "runs/x.json", RecordDamaged("it is torn")),)
    ),
    "a broken ledger": partial(with_ledger, gap),
    "a ledger that was cut": partial(
        world,
        ledger_heads={"aws": LedgerHead(2, doubts=(LedgerBehind("it ends at 2", "look"),))},
    ),
    "nothing at all": evidence,
}


@cache
def told(name: str) -> dict[str, dict[str, Any]]:
    made = world if name == "good" else DOUBTED.get(name) or REFUTED[name][0]
    return {row["control"]: row for row in plain_rows(frames(made())["controls"])}


def test_all_that_records_can_show_is_met_here() -> None:
    """Else what follows would show nothing."""
    wrong = [(c.id, told("good")[c.id]["figures"]) for c in CONTROLS
             if (told("good")[c.id]["state"] == "met") != (c.rule is not None)]  # fmt: skip
    assert wrong == []


def test_each_control_is_refuted_somewhere() -> None:
    assert {c.id for c in CONTROLS if c.rule is not None} == {
        c for _, controls in REFUTED.values() for c in controls
    }


@pytest.mark.parametrize("name", REFUTED)
def test_records_that_say_no_are_heard(name: str) -> None:
    """By the rule itself, and not because nothing can be relied on."""
    rows = [told(name)[c] for c in REFUTED[name][1]]
    assert [row for row in rows if row["state"] == "met" or "; but " in row["figures"]] == []


@pytest.mark.parametrize("name", DOUBTED)
def test_nothing_is_met_in_doubt(name: str) -> None:
    assert [c for c, row in told(name).items() if row["state"] == "met"] == []
