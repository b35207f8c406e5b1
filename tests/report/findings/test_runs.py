"""Red runs end: by a later run of the same or a wider scope, never by a narrower one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.hints import step_of
from qdrant_dr.records import Outcome, RunEnd
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.findings.runs import Scope, _run_again, is_misasked
from tests.support import records as r
from tests.support.records import NOW, hours
from tests.support.worlds import evidence, good

CONFIG = r.config()


def run(job: str, ago: float, verdict: str = "ok", trigger: str = "cli", **given: Any) -> RunEnd:
    fields = {k: given.pop(k) for k in ("outcomes", "error", "seen") if k in given}
    bad = [o for o in fields.get("outcomes", ()) if o.verdict in ("failed", "degraded")]
    told = tuple(f"{o.about}: why" for o in bad) or ("why",)
    reasons = given.pop("reasons", () if verdict == "ok" else told)
    start = r.run_start(
        job, NOW - hours(ago), run_id=f"{job}-{ago}", trigger=trigger, parameters=given
    )
    return r.run_end(start, verdict=verdict, reasons=reasons, **fields)


def unit(unit: str, collection: str, verdict: str = "ok", repository: str = "aws") -> Outcome:
    return Outcome.model_validate(
        {
            "unit": unit, "collection": collection, "repository": repository, "verdict": verdict,
            "started_at": NOW - hours(1), "ended_at": NOW - hours(1),
        }
    )  # fmt: skip


def bad(*ends: RunEnd) -> list[Problem]:
    every = Assessment.of(evidence(ends=ends)).problems
    return [p for p in every if p.code == "run-bad" and p.severity != "notice"]


def scopes(*ends: RunEnd) -> set[str]:
    return {p.scope for p in bad(*ends)}


FAILED = run("verify", 5, "failed")


@pytest.mark.parametrize(
    ("later", "settles"),
    [
        (run("verify", 1), True),
        (run("verify", 1, which="all"), True),
        (run("verify", 1, collections=("movies",)), False),
        (run("verify", 1, repositories=("aws",)), False),
        (run("verify", 1, depth="bytes"), False),
        (run("verify", 1, depth="restore"), True),
        (run("verify", 1, depth="content", sample_per_mille=50), False),
        (run("verify", 1, backups=("movies@latest",)), False),
        (run("replicate", 1), False),
        (run("verify", 9), False),
    ],
)
def test_a_failed_run_of_everything_is_settled_by_another_of_everything(
    later: RunEnd, settles: bool
) -> None:
    assert scopes(FAILED, later) == (set() if settles else {"last verify run"})


@pytest.mark.parametrize(
    ("given", "later", "settles"),
    [
        ({"collections": ("a", "b")}, {"collections": ("b", "a", "c")}, True),
        ({"collections": ("a", "b")}, {"collections": ("a",)}, False),
        ({"collections": ("a",), "repositories": ("aws",)}, {"collections": ("a",)}, True),
        ({"collections": ("a",)}, {"collections": ("a",), "repositories": ("aws",)}, False),
        ({"backups": ("a@latest",)}, {}, True),
        ({"backups": ("a@20261122",)}, {}, False),
        ({"backups": ("a@20261122",)}, {"which": "all"}, True),
        ({"backups": ("a@20261122",)}, {"backups": ("a@20261122", "b@latest")}, True),
        ({"which": "all"}, {}, False),
    ],
)
def test_a_narrow_run_is_settled_by_the_same_or_a_wider_one(
    given: dict[str, Any], later: dict[str, Any], settles: bool
) -> None:
    ends = run("verify", 5, "failed", **given), run("verify", 1, **later)
    assert bool(scopes(*ends)) is not settles


def test_the_failure_of_one_collection_is_settled_by_a_run_of_it() -> None:
    outcomes = (unit("verify", "movies"), unit("verify", "users", "failed", "gcp"))
    nightly = run("verify", 9, "failed", outcomes=outcomes)
    assert scopes(nightly) == {"last verify run"}
    assert scopes(nightly, run("verify", 1, collections=("movies",))) == {"last verify run"}
    assert scopes(nightly, run("verify", 1, collections=("users",))) == set()
    by_hand = run("verify", 1, collections=("users",), repositories=("gcp",))
    assert scopes(nightly, by_hand) == set()
    elsewhere = run("verify", 1, collections=("users",), repositories=("aws",))
    assert scopes(nightly, elsewhere) == {"last verify run"}


def test_a_run_by_hand_does_not_hide_the_nightly_one() -> None:
    """The last run was ok; the last run of everything was not."""
    (told,) = bad(FAILED, run("verify", 1, collections=("movies",)))
    assert told.facts == FAILED.start.run_id


def test_a_later_bad_run_replaces_the_one_before() -> None:
    (told,) = bad(FAILED, run("verify", 1, "degraded"))
    assert (told.severity, told.facts) == ("warning", "verify-1")


SLIPS = ("usage-error", "nothing-selected", "backup-not-found")


@pytest.mark.parametrize("code", SLIPS)
def test_a_mistyped_name_raises_no_alarm(code: str) -> None:
    slip = run("backup", 1, "failed", collections=("moveis",), error=r.error(code, "no such"))
    assert is_misasked(slip)
    assert bad(slip) == []
    before = run("backup", 9, "failed")
    assert scopes(before, slip) == {"last backup run"}, "nor does it end one"
    only = Assessment.of(evidence(ends=[slip])).problems
    assert "no-backup-run" in {p.code for p in only}, "nor does it count as a backup"


@pytest.mark.parametrize(
    ("trigger", "code", "outcomes"),
    [
        ("schedule", "nothing-selected", ()),  # nobody reads what a schedule is told
        ("automation", "usage-error", ()),
        ("cli", "secret-missing", ()),
        ("cli", "node-unreachable", ()),
        ("cli", "nothing-selected", (unit("capture", "movies"),)),
    ],
)
def test_a_failure_that_is_no_typing_error_is_reported(
    trigger: str, code: str, outcomes: Sequence[Outcome]
) -> None:
    end = run(
        "backup", 1, "failed", trigger, collections=("moveis",), error=r.error(code, "why"),
        outcomes=tuple(outcomes),
    )  # fmt: skip
    assert [p.severity for p in bad(end)] == ["critical"]


def test_finding_nothing_is_reported_if_nothing_was_named() -> None:
    gone = r.error("backup-not-found", "there is no backup to verify")
    assert [p.severity for p in bad(run("verify", 1, "failed", error=gone))] == ["critical"]


def test_a_crash_is_settled_by_a_run_of_the_same_scope() -> None:
    crashed = r.run_start("verify", NOW - hours(30), run_id="v")
    narrow, wide = run("verify", 1, collections=("movies",)), run("verify", 1)
    for later, severity in ((narrow, "critical"), (wide, "notice")):
        found = Assessment.of(good(starts=[crashed], ends=[later])).problems
        assert [p.severity for p in found if p.code == "run-crashed"] == [severity]


def test_a_name_that_was_only_ever_expected_is_forgotten_when_it_is_expected_no_more() -> None:
    seen = (r.seen("movies"), r.seen("moveis", "missing", rule="collections.expect"))
    ends = [run("backup", 3, "failed", seen=seen), run("backup", 2, seen=seen[:1])]
    typo = r.config(collections={"expect": ["moveis"]})
    told = Assessment.of(evidence(ends=ends, config=typo)).problems
    assert ("collection-missing", "moveis") in {p.identity for p in told}
    mended = Assessment.of(evidence(ends=ends))
    assert "moveis" not in {p.scope for p in mended.problems}
    assert "moveis" not in {s.collection for s in mended.standings}


def restore_of(ago: float, to: str, **fields: Any) -> RunEnd:
    m = r.manifest()
    end = run("restore", ago, to=to, backups=(str(m.key),), name="back", dry_run=False)
    outcome = unit("restore", "movies").model_copy(
        update={"started_at": end.start.started_at, "backup_id": m.backup_id, **fields}
    )
    verdict = "failed" if outcome.verdict == "failed" else "ok"
    return end.model_copy(update={"outcomes": (outcome,), "verdict": verdict})


def restores_told(*ends: RunEnd) -> list[str]:
    m = r.manifest()
    base = good(ends=[*good().run_ends, *ends])
    assert m.key == base.catalog.backups[0].key
    return [p.what for p in Assessment.of(base).problems if p.code == "restore-failed"]


def test_a_restore_that_failed_early_is_settled_by_one_to_the_same_place() -> None:
    """It left no detail: where it was to go is what was asked for."""
    gone = "http://127.0.0.1:7333"
    early = restore_of(5, f"{gone}/", verdict="failed", error=r.error("node-unreachable"))
    assert len(restores_told(early)) == 1
    assert f"back on {gone} failed" in restores_told(early)[0]
    detail = r.restored(r.manifest()).detail
    assert detail is not None
    good_one = restore_of(
        1, gone, detail=detail.model_copy(update={"target": gone, "name": "back"})
    )
    assert restores_told(early, good_one) == []
    other = detail.model_copy(update={"target": "http://127.0.0.1:8333", "name": "back"})
    assert len(restores_told(early, restore_of(1, gone, detail=other))) == 1


def games(config: Any, *ends: RunEnd) -> list[str]:
    found = Assessment.of(good(ends=[*good().run_ends, *ends], config=config)).problems
    return [p.scope for p in found if p.code == "game-lost"]


def test_a_scenario_that_cannot_be_repeated_is_over() -> None:
    lost = run("drill", 1, "failed", scenario="lost-cloud:azure")
    slip = run(
        "drill", 1, "failed", scenario="lost-cloud:aws", error=r.error("usage-error", "no such")
    )
    assert games(r.config(), lost, slip) == []
    real = run("drill", 1, "failed", scenario="lost-cloud:aws")
    assert games(r.config(), real) == ["lost-cloud:aws"]


SOME = st.none() | st.frozensets(st.sampled_from("abc"), min_size=1)
SCOPES = st.builds(
    Scope, job=st.just("verify"), collections=SOME, repositories=SOME,
    every_backup=st.booleans(), reach=st.integers(0, 2), sample=st.none() | st.just(50),
)  # fmt: skip


@given(SCOPES, SCOPES, SCOPES)
def test_scopes_are_ordered_by_width(a: Scope, b: Scope, c: Scope) -> None:
    assert a.covers(a)
    if a.covers(b) and b.covers(c):
        assert a.covers(c)
    if a.covers(b) and b.collections is None:
        assert a.collections is None


def proved(verdict: str, depth: str, backup: str = "20261122T100000Z-aaaaaa") -> Outcome:
    """One copy, verified to a depth."""
    detail = {
        "kind": "proved", "proof_id": "p", "depth": depth, "passed": verdict == "ok",
        "reached": depth if verdict == "ok" else None, "bytes_checked": 1,
    }  # fmt: skip
    made = {**unit("verify", "movies", verdict).model_dump(), "backup_id": backup}
    return Outcome.model_validate({**made, "detail": detail})


@pytest.mark.parametrize(
    ("later", "settles"),
    [
        (proved("ok", "content"), True),
        (proved("ok", "search"), True),
        (proved("ok", "bytes"), False),
        (proved("failed", "content"), False),
        (proved("ok", "content", backup="20261122T110000Z-bbbbbb"), False),
    ],
)
def test_what_one_copy_failed_is_settled_where_that_copy_was_proven_since(
    later: Outcome, settles: bool
) -> None:
    """Of whatever else the later run was: the next command that a finding gives is of one copy."""
    before = run("verify", 5, "failed", outcomes=(proved("failed", "content"),))
    narrow = run("verify", 1, backups=("movies@20261122T10",), outcomes=(later,))
    assert ("last verify run" not in scopes(before, narrow)) is settles


def test_what_the_run_as_a_whole_lacked_is_not_settled_by_single_copies() -> None:
    """One copy failed, and a repository was away: proving that copy says nothing of the other."""
    failed = proved("failed", "content")
    reasons = (f"{failed.about}: why", "repository gcp could not be used: no answer")
    before = run("verify", 5, "failed", outcomes=(failed,), reasons=reasons)
    again = run("verify", 1, collections=("movies",), outcomes=(proved("ok", "content"),))
    assert scopes(before, again) == {"last verify run"}
    assert scopes(before, run("verify", 1)) == set()


def test_a_sample_settles_no_failed_run() -> None:
    before = run("verify", 5, "failed", outcomes=(proved("failed", "bytes"),))
    part = run("verify", 1, sample_per_mille=50, outcomes=(proved("ok", "bytes"),))
    assert "last verify run" in scopes(before, part)


def test_no_hint_deletes() -> None:
    """After an expiry that failed, the next step is to look, as wide as that was."""
    asked = {"repositories": ["nas"], "collections": ["movies"], "dry_run": False}
    start = r.run_start("expire", NOW - hours(3), parameters=asked)
    ended = r.run_end(start, verdict="failed", reasons=("it went wrong",))
    step = _run_again(r.config("nas", "aws"), ended.start)
    assert step_of(step).kind == "decide"
    assert step_of(step).commands == ("qdrant-dr expire --collection movies -r nas",)
