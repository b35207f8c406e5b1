"""A run that ended badly stays so, and says what healed its copies and what made up for it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.records import Outcome, RunEnd
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.findings.runs import settlements
from qdrant_dr.report.findings.settled_runs import Afterwards, afterwards
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.page.html import render
from tests.support import records as r
from tests.support.records import NOW, hours
from tests.support.worlds import evidence, frames

BACKUP = "20261122T100000Z-aaaaaa"
HEALED = {"kind": "healed", "source": "aws", "parts": 1, "size_bytes": 9, "why": "damaged"}


def run(job: str, ago: float, *outcomes: Outcome, verdict: str = "ok", **given: Any) -> RunEnd:
    start = r.run_start(job, NOW - hours(ago), run_id=f"{job}-{ago}", parameters=given)
    bad = tuple(f"{o.about}: why" for o in outcomes if o.verdict != "ok")
    return r.run_end(start, verdict=verdict, outcomes=outcomes, reasons=bad)


def unit(kind: str, ago: float, verdict: str = "ok", repository: str | None = "gcp",
         **more: Any) -> Outcome:  # fmt: skip
    return Outcome.model_validate(
        {
            "unit": kind, "collection": "movies", "repository": repository, "verdict": verdict,
            "backup_id": BACKUP, "started_at": NOW - hours(ago), "ended_at": NOW - hours(ago),
            **more,
        }
    )  # fmt: skip


def proved(ago: float, depth: str = "bytes", verdict: str = "ok", repository: str = "gcp") -> Any:
    detail = {
        "kind": "proved", "proof_id": f"p{ago}", "depth": depth, "bytes_checked": 9,
        "reached": depth if verdict == "ok" else None, "passed": verdict == "ok",
    }  # fmt: skip
    return unit("verify", ago, verdict, repository, detail=detail)


def healed(ago: float, repository: str = "gcp") -> Outcome:
    return unit("heal", ago, repository=repository, detail=HEALED)


FAILED = run("verify", 5, proved(5, verdict="failed"), verdict="failed", depth="bytes")
HEAL = run("replicate", 4, healed(3.9), proved(3.8))


def of(*ends: RunEnd) -> Afterwards:
    return afterwards(evidence(ends=ends))[FAILED.start.run_id]


def row(*ends: RunEnd) -> dict[str, Any]:
    told = frames(evidence(ends=ends))["runs"]
    return dict(told[told["run_id"] == FAILED.start.run_id].iloc[0])


def page(*ends: RunEnd) -> str:
    assessment = Assessment.of(evidence(ends=ends))
    return render(assessment, build_frames(assessment)).decode()


def test_a_failed_verify_is_joined_to_the_replicate_that_healed_it() -> None:
    told = row(FAILED, HEAL)
    assert told["verdict"] == "failed"  # it still shows that it failed
    assert (told["copies_bad_count"], told["copies_healed_count"]) == (1, 1)
    assert told["healed_by"] == told["settled_by"] == HEAL.start.run_id
    assert told["healed_at"] == pd.Timestamp(NOW - hours(3.9))
    text = page(FAILED, HEAL)
    assert "healed by replicate replicate-4 at 2026-11-22 08:06:00 UTC" in text
    assert "settled by it at" in text
    assert '<span class="mark failed">failed</span>' in text


def test_healed_is_not_settled_while_a_deeper_look_is_wanted() -> None:
    """A heal proves bytes; that the content is right again says the next verify."""
    deep = run("verify", 5, proved(5, "content", "failed"), verdict="failed")
    told = row(deep, HEAL)
    assert told["healed_by"] == HEAL.start.run_id
    assert told["settled_by"] is None or pd.isna(told["settled_by"])
    assert "nothing has made up for it yet" in page(deep, HEAL)
    again = run("verify", 2, proved(2, "content"))
    assert row(deep, HEAL, again)["settled_by"] == again.start.run_id
    assert "settled by verify verify-2" in page(deep, HEAL, again)


def test_one_of_two_copies_healed_is_said_so() -> None:
    both = run("verify", 5, proved(5, verdict="failed"),
               proved(5, verdict="failed", repository="aws"), verdict="failed")  # fmt: skip
    found = of(both, HEAL)
    assert (found.healed, found.copies, found.healed_at, found.settled) == (1, 2, None, None)
    assert "1 of 2 copies healed" in page(both, HEAL)
    other = run("replicate", 3, healed(2.9, "aws"), proved(2.8, repository="aws"))
    found = of(both, HEAL, other)
    assert [h.run_id for h in found.healings] == ["replicate-4", "replicate-3"]
    assert found.healed_at == NOW - hours(2.9)
    assert found.settled is not None
    assert found.settled.start.run_id == other.start.run_id  # the later of the two: both are whole


def test_a_copy_that_a_backup_left_behind_is_joined_to_who_brought_it() -> None:
    m = r.manifest("movies")
    captured = r.captured(m).model_copy(update={"backup_id": BACKUP, "verdict": "degraded"})
    away = {"code": "repository-unreachable", "message": "away", "hint": ""}
    body = captured.model_dump()
    outcome = Outcome.model_validate(
        body | {"detail": body["detail"] | {"left_behind": {"gcp": away}}}
    )
    end = run("backup", 5, outcome, verdict="degraded")
    found = afterwards(evidence(ends=(end, HEAL)))[end.start.run_id]
    assert (found.copies, found.healed) == (1, 1)
    assert found.settled is None  # the backup as a run is made up for by a backup
    later = run("backup", 1)
    found = afterwards(evidence(ends=(end, HEAL, later)))[end.start.run_id]
    assert found.settled == later


def test_another_copy_or_an_earlier_heal_joins_nothing() -> None:
    assert of(FAILED, run("replicate", 4, healed(3.9, "aws"))).healings == ()
    assert of(FAILED, run("replicate", 9, healed(8.9))).healings == ()


def test_what_only_failed_again_has_settled_nothing() -> None:
    again = run("verify", 2, proved(2, verdict="failed"), verdict="failed", depth="bytes")
    found = of(FAILED, again)
    assert (found.settled, found.repeated) == (None, again)
    words = "not made up for: verify verify-2 at 2026-11-22 10:05:00 UTC failed, too"
    assert words in page(FAILED, again)
    assert pd.isna(row(FAILED, again)["settled_by"])
    well = run("verify", 1, proved(1))
    assert of(FAILED, again, well).settled == well
    assert "failed, too" not in page(FAILED, again, well)


def test_a_good_run_has_no_afterwards() -> None:
    told = frames(evidence(ends=(HEAL,)))["runs"].iloc[0]
    assert pd.isna(told["copies_bad_count"])
    assert afterwards(evidence(ends=(HEAL,))) == {}


@given(
    st.lists(
        st.tuples(st.sampled_from(["verify", "replicate", "backup"]), st.booleans()),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_only_a_later_run_settles_and_no_run_that_is_open_is_called_settled(
    runs: list[tuple[str, bool]],
) -> None:
    ends = [
        run(job, n + 1, proved(n + 1, verdict="ok" if good else "failed"),
            verdict="ok" if good else "failed", depth="bytes")
        for n, (job, good) in enumerate(runs)
    ]  # fmt: skip
    of_all = evidence(ends=ends)
    settled = settlements(of_all)
    by_id = {e.start.run_id: e for e in ends}
    for run_id, found in settled.items():
        assert by_id[run_id].verdict != "ok"
        assert found.by.start.started_at > by_id[run_id].start.started_at
    for run_id, later in afterwards(of_all).items():
        assert later.settled is None or later.settled.verdict == "ok"
        assert (later.settled is None) or run_id in settled
    open_runs = {p.facts for p in Assessment.of(of_all).problems if p.code == "run-bad"}
    assert open_runs == {e.start.run_id for e in ends if e.verdict != "ok"} - set(settled)
