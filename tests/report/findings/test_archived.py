"""Whatever lies in an archive: it counts for nothing unless it is agreed how long it takes to come
back, and nothing looks better for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.config import Copies, Proven
from qdrant_dr.jobs.drill.plan import drillable
from qdrant_dr.jobs.replicate.job import plan_heals
from qdrant_dr.jobs.restore.plan import sources_of
from qdrant_dr.jobs.verify.job import VerifyRequest, only_archived, plan_verify, unread
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import RANK
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.repository import (
    Backup,
    Catalog,
    counted_copies,
    enough_copies,
    newest_proven,
    plan_expire,
    proven_copies,
)
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.retention import policy
from tests.support.thorough import examples
from tests.support.worlds import frames, good

PLACES = ("aws", "gcp", "ice")
DEPTHS = ("bytes", "content")
VERDICTS = ("ok", "degraded", "failed")
STATUSES = ("protected", "degraded", "unproven", "unprotected")
PROMISE = Proven()
quick = settings(deadline=None, max_examples=examples(40))


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Backups of one collection: copies missing, proven, proven long ago, bad."""
    made = [r.manifest("movies", NOW - days(n) - hours(2)) for n in range(draw(st.integers(1, 4)))]
    held = {p: [m for m in made if draw(st.booleans())] for p in PLACES}
    proofs = [
        r.proof(
            m, place,
            depth=draw(st.sampled_from(DEPTHS)),
            ended_at=m.captured_at + timedelta(minutes=draw(st.sampled_from([5, 60]))),
            passed=draw(st.sampled_from([True, True, True, False])),
        )
        for place, mine in held.items()
        for m in mine
        if draw(st.booleans())
    ]  # fmt: skip
    return r.catalog(held, seals=[r.seal(m) for m in made], proofs=proofs)


@st.composite
def archivals(draw: st.DrawFn) -> tuple[Catalog, Catalog, timedelta | None]:
    """A catalog, the same after a rule moved some copies, and how long they take to come back."""
    of = draw(catalogs())
    every = [(p, b.key.backup_id) for b in of.backups for p in PLACES]
    gone = draw(st.sets(st.sampled_from(every))) if every else set()
    time = draw(st.sampled_from([None, hours(1), hours(48)]))
    return of, r.in_archive(of, gone, time), time


def evidence(of: Catalog) -> Evidence:
    return Evidence(
        config=r.config(*PLACES, copies={"quorum": 2, "domains": 2}),
        as_of=NOW, period=days(30), catalog=of, ledgers=(),
    )  # fmt: skip


@quick
@given(archivals())
def test_an_archived_copy_does_not_count_unless_configured(
    worlds: tuple[Catalog, Catalog, Any],
) -> None:
    before, after, time = worlds
    for was, now in zip(before.backups, after.backups, strict=True):
        counted = counted_copies(now, now=NOW)
        proven = proven_copies(now, depth="content", max_age=PROMISE.max_age, now=NOW)
        if time is None:
            assert not [c for c in (*counted, *proven) if c.archived]
        assert {c.repository for c in counted} <= {
            c.repository for c in counted_copies(was, now=NOW)
        }
        wanted = Copies(quorum=2, domains=2)
        assert enough_copies(was, wanted, now=NOW) or not enough_copies(now, wanted, now=NOW)


@quick
@given(archivals())
def test_an_archived_copy_improves_no_figure(worlds: tuple[Catalog, Catalog, Any]) -> None:
    before, after, time = worlds
    was, now = (Assessment.of(evidence(of)) for of in (before, after))
    assert VERDICTS.index(now.verdict) >= VERDICTS.index(was.verdict)
    for a, b in zip(was.standings, now.standings, strict=True):
        assert STATUSES.index(b.status) >= STATUSES.index(a.status)
    frozen = [c for b in after.backups for c in b.copies if c.archived]
    told = [p for p in now.problems if p.code == "copies-archived"]
    assert bool(told) is bool(frozen)
    assert all(RANK[p.severity] == (RANK["warning"] if time is None else RANK["notice"])
               for p in told)  # fmt: skip


@quick
@given(archivals())
def test_no_plan_reads_an_archived_copy(worlds: tuple[Catalog, Catalog, Any]) -> None:
    _, after, time = worlds
    config = r.config(*PLACES)

    def archived(backup: Backup, repository: str) -> bool:
        return bool(backup.copy(repository).archived)

    for d in drillable(after.backups, PLACES, (), now=NOW):
        assert not d.copy.archived
    for heal in plan_heals(after.backups, PLACES, now=NOW).heals:
        backup = after.find(heal.key)
        assert backup is not None
        assert not any(archived(backup, s) for s in heal.sources)
        assert backup.copy(heal.repository).state != "archived"
    request = VerifyRequest(which="all")
    units, objections, _ = plan_verify(config, request, after.backups, now=NOW)
    skipped, doubts = unread(config, request, after.backups, now=NOW)
    for unit in units:
        backup = after.find(unit.key)
        assert backup is not None
        assert not archived(backup, unit.repository)
    every = [(b, c) for b in after.backups for c in b.copies]
    frozen = {(b.key.backup_id, c.repository) for b, c in every if only_archived(c)}
    for b, c in every:
        if c.archived and not only_archived(c):
            what = f"{b.key} in {c.repository} is {c.state}"
            assert any(o.startswith(what) for o in objections), "being archived excuses nothing"
    assert {(o.backup_id, o.repository) for o in skipped} == frozen
    assert all(o.verdict == "skipped" and "archived" in o.notes[0] for o in skipped)
    assert len(doubts) == (len(frozen) if time is None else 0)
    assert not [o for o in objections if " is archived" in o]
    for backup in after.backups:
        order = [bool(c.archived) for c in sources_of(backup, PLACES, now=NOW)]
        assert order == sorted(order), "what must be brought back comes last"
        assert time is not None or not any(order)


@quick
@given(archivals())
def test_retention_keeps_what_is_good_and_what_can_be_read(
    worlds: tuple[Catalog, Catalog, Any],
) -> None:
    before, after, _ = worlds
    rules = policy(last=1)

    def goes(of: Catalog) -> set[tuple[str, str]]:
        plan = plan_expire(of, lambda _r, _c: rules, proven=PROMISE, holds=(), now=NOW)
        return {(e.key.backup_id, e.repository) for e in plan.goes}

    assert goes(after) <= goes(before), "an archived copy lets nothing go that stayed before"
    ever = {"depth": PROMISE.depth, "max_age": days(36500), "now": NOW}
    best = newest_proven(after.backups, **ever)  # type: ignore[arg-type]
    if best is not None:
        assert best.key.backup_id not in {b for b, _ in goes(after)}
    at_hand = [
        b
        for b in after.backups
        if any(not c.archived for c in proven_copies(b, **ever))  # type: ignore[arg-type]
    ]
    if at_hand:
        newest = max(at_hand, key=lambda b: b.manifest.captured_at)
        assert newest.key.backup_id not in {b for b, _ in goes(after)}, "it is read at once"


def test_a_copy_that_is_behind_or_damaged_is_told_as_such() -> None:
    of = good().catalog
    (backup,) = of.backups
    hurt = replace(backup, copies=tuple(
        replace(c, state="damaged", lacks=("collection.snapshot",)) for c in backup.copies
    ))  # fmt: skip
    frozen = r.in_archive(replace(of, backups=(hurt,)), [("aws", backup.key.backup_id)], hours(1))
    assert frozen.backups[0].copy("aws").state == "damaged"


def test_frames_have_its_state_and_its_class() -> None:
    of = good()
    (backup,) = of.catalog.backups
    cold = r.in_archive(of.catalog, [("gcp", backup.key.backup_id)])
    copies = frames(replace(of, catalog=cold))["copies"].set_index("repository")
    assert list(copies.loc[["aws", "gcp"], "state"]) == ["present", "archived"]
    assert copies.loc["gcp", "storage"] == "GLACIER"


def test_the_wait_breaks_a_promise_of_time_only_where_nothing_can_be_read() -> None:
    of = good()
    key = of.catalog.backups[0].key.backup_id
    one = r.in_archive(of.catalog, [("aws", key)], hours(12))
    both = r.in_archive(of.catalog, [("aws", key), ("gcp", key)], hours(12))
    codes = [{p.code for p in Assessment.of(replace(of, catalog=c)).problems} for c in (one, both)]
    assert "rto-missed" not in codes[0]
    assert "rto-missed" in codes[1]
