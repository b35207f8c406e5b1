"""Drills as games: would the objectives have been kept, who ran it, who reviewed it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from qdrant_dr.jobs.drill.sign import same_person, who_ran
from qdrant_dr.records import Drilled, Outcome, Played, RunEnd, RunStart, Signed
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.page.html import render
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, frames, good, said

MOVIES = r.manifest()


def game(
    scenario: str = "lost-cloud:aws",
    *,
    at: Any = NOW - hours(1),
    age: timedelta | None = timedelta(hours=3),
    actor: str = "ana@bastion",
    ran_by: str = "",
    slower: float = 1.0,
    **fields: Any,
) -> RunEnd:
    """A drill of the newest backup under a scenario that leaves one copy."""
    played = Played(
        name=scenario,
        unused=("aws",),
        newest_proven_us=None if age is None else round(age.total_seconds() * 1e6),
        copies_left=1,
        domains_left=1,
    )
    start = r.run_start(
        "drill", at, actor=actor, parameters={"scenario": scenario, "ran_by": ran_by}
    )
    detail = {"scenario": played, **fields.pop("detail", {})}
    done = r.drilled(MOVIES, at, slower=slower, detail=detail, **fields)
    return r.run_end(start, outcomes=(done.model_copy(update={"repository": "gcp"}),))


def signed(of: RunEnd, reviewer: str = "bea", *, accepted: bool = True, **fields: Any) -> RunEnd:
    at = of.ended_at + timedelta(minutes=5)
    detail = Signed(
        **{"run_id": of.start.run_id, "end_sha256": of.sha256, "reviewer": reviewer,
           "accepted": accepted, **fields}
    )  # fmt: skip
    outcome = Outcome(
        unit="sign", collection="*", verdict="ok", started_at=at, ended_at=at, detail=detail
    )
    return r.run_end(
        r.run_start("sign", at, actor="bea@desk", trigger="cli"), outcomes=(outcome,), ended_at=at
    )


def played(*ends: RunEnd, **fields: Any) -> Evidence:
    base = good("movies")
    return good("movies", ends=[*base.run_ends, *ends], **fields)


def row(of: Evidence, scenario: str = "lost-cloud:aws") -> dict[str, Any]:
    frame = frames(of)["drills"]
    (found,) = frame[frame["scenario"] == scenario].to_dict("records")
    return found


def page(of: Evidence) -> str:
    assessment = Assessment.of(of)
    return render(assessment, build_frames(assessment)).decode()


def test_a_scenario_that_met_the_objectives() -> None:
    world = played(game())
    found = row(world)
    assert (found["rpo_met"], found["rto_met"]) == (True, True)
    assert (found["rpo_seconds"], found["rpo_objective_seconds"]) == (3 * 3600, 26 * 3600)
    assert (found["copies_left_count"], found["domains_left_count"]) == (1, 1)
    assert not [f for f in said(world) if "lost-cloud" in f[1]]
    html = page(world)
    assert "aws not opened, nothing asked of the cluster" in html
    assert "recovery point kept: 3 h old, promised 26 h; recovery time kept: 55 s" in html
    assert "not reviewed" in html


@pytest.mark.parametrize(
    ("fields", "rpo_met", "why"),
    [
        ({"age": days(3)}, False, "recovery point missed: 3 d old, promised 26 h"),
        ({"age": None}, False, "recovery point missed: nothing was proven, promised 26 h"),
        ({"slower": 100}, True, "recovery time missed: 91 min, promised 60 min"),
        ({"verdict": "failed"}, None, "the drill failed"),
    ],
)
def test_a_failed_scenario_is_a_finding(
    fields: dict[str, Any], rpo_met: bool | None, why: str
) -> None:
    world = played(game(**fields))
    met = row(world)["rpo_met"]
    assert (None if pd.isna(met) else bool(met)) == rpo_met
    (what,) = [w for severity, scope, w in said(world) if scope == "lost-cloud:aws"]
    assert what.startswith("the last drill under lost-cloud:aws did not meet the objectives: ")
    assert "movies: " in what
    assert why.replace("91 min", "1 h 31 min").replace("60 min", "1 h") in what
    assert "not kept" in page(world)


def test_only_the_last_run_of_each_scenario_counts() -> None:
    lost = game(at=NOW - days(4), age=days(3))
    assert not [f for f in said(played(lost, game())) if f[1] == "lost-cloud:aws"]
    other = game("lost-node", at=NOW - days(2), age=days(3))
    assert [f[1] for f in said(played(lost, other, game())) if f[1].startswith("lost")] == [
        "lost-node"
    ]


def lost_games(world: Evidence) -> list[str]:
    return [f[2] for f in said(world) if f[2].startswith("the last drill under ")]


@pytest.mark.parametrize("drilled", [True, False])
def test_a_scenario_fails_for_what_was_not_drilled(drilled: bool) -> None:
    before = game(at=NOW - days(1))
    kept = game()
    failed = kept.model_copy(
        update={
            "outcomes": kept.outcomes if drilled else (),
            "verdict": "failed",
            "reasons": ("no sealed, sound copy of users is there to drill",),
        }
    )
    (said_of,) = lost_games(played(before, failed))
    assert said_of.endswith(": no sealed, sound copy of users is there to drill")


def test_a_scenario_of_one_collection_does_not_hide_what_a_full_one_failed() -> None:
    whole = game(at=NOW - days(1))
    (users,) = game(at=NOW - days(1), age=days(9)).outcomes
    detail = users.detail.model_copy(update={"drill_id": "of-users"})  # type: ignore[union-attr]
    users = users.model_copy(update={"collection": "users", "detail": detail})
    whole = whole.model_copy(update={"outcomes": (*whole.outcomes, users)})
    one = game()
    asked = one.start.model_copy(
        update={"parameters": {**one.start.parameters, "collection": "movies"}}
    )
    one = one.model_copy(update={"start": asked})
    (said_of,) = lost_games(played(whole, one))
    assert "users: recovery point missed" in said_of
    again = users.model_copy(update={"detail": one.outcomes[0].detail})
    same = asked.model_copy(update={"parameters": {**asked.parameters, "collection": "users"}})
    won = one.model_copy(update={"start": same, "outcomes": (again,)})
    assert lost_games(played(whole, won)) == []


def test_an_interrupted_scenario_did_not_meet_the_objectives() -> None:
    cut = game(detail={"scenario": None})
    (said_of,) = lost_games(played(cut))
    assert "what the scenario leaves was not examined" in said_of


def test_who_ran_it_does_not_overrule_who_reviewed_it() -> None:
    run = game(ran_by="Ana Li")
    no = signed(run, "Bea", accepted=False)
    own = signed(run, "Ana-Li").model_copy(update={"ended_at": no.ended_at + timedelta(minutes=5)})
    own = own.model_copy(
        update={"start": own.start.model_copy(update={"run_id": own.start.run_id + "b"})}
    )
    world = played(run, no, own)
    assert row(world)["accepted"] is False
    assert row(world)["reviewed_by"] == "Bea"
    assert row(played(run, own))["same_person"] is True


def test_a_drill_without_a_scenario_claims_nothing() -> None:
    frame = frames(good("movies"))["drills"]
    assert frame["scenario"].isna().all()
    assert frame["rpo_met"].isna().all()
    assert frame["rpo_objective_seconds"].isna().all()
    assert "Scenarios and sign-off" not in page(good("movies"))


def test_an_engine_drill_keeps_no_recovery_time() -> None:
    world = played(game(engine="edge"))
    assert "recovery point kept: 3 h old, promised 26 h; recovery time not measured" in page(world)


def test_a_signature_names_who_ran_and_who_reviewed() -> None:
    run = game(ran_by="Ana Li")
    found = row(played(run, signed(run, "Bea Roth")))
    assert (found["ran_by"], found["reviewed_by"]) == ("Ana Li", "Bea Roth")
    assert (found["accepted"], found["same_person"]) == (True, False)
    html = page(played(run, signed(run, "Bea Roth")))
    assert "Bea Roth" in html
    assert "by bea@desk" in html
    assert "(the same person)" not in html


def test_the_same_person_is_marked() -> None:
    run = game(ran_by="Ana Li")
    world = played(run, signed(run, "ana  LI"))
    assert row(world)["same_person"] is True
    assert ("notice", f"drill run {run.start.run_id}", "reviewed by ana  LI, who ran it") in said(
        world
    )
    assert "(the same person)" in page(world)


def test_a_rejected_run_and_a_signature_of_another_record_are_findings() -> None:
    run = game()
    no = played(run, signed(run, accepted=False))
    assert row(no)["accepted"] is False
    assert [f[0] for f in said(no) if "not accepted" in f[2]] == ["warning"]
    other = played(run, signed(run, end_sha256="0" * 64))
    assert row(other)["accepted"] is False
    assert [f[0] for f in said(other) if "is not the record of this run" in f[2]] == ["critical"]
    assert "(of another record)" in page(other)


@pytest.mark.parametrize(
    ("actor", "ran_by", "reviewer", "same"),
    [
        ("ana@bastion", "", "Ana", True),
        ("prefect:Ana Li", "", "ana li", True),
        ("prefect:worker", "Ana Li", "ANALI ", True),
        ("root@bastion", "Ana Li", "root@bastion", True),
        ("root@bastion", "Ana Li", "ana.li@example.com", True),
        ("root@bastion", "José Ruiz", "jose_ruiz", True),
        ("root@bastion", "\uff21na Li", "Ana\u200b Li", True),
        ("root@bastion", "Ana Li", "Bea", False),
        ("ana@bastion", "", "ana@desk", True),
        ("ana@bastion", "", "Bea", False),
    ],
)
def test_who_ran_and_who_reviewed_are_compared(
    actor: str, ran_by: str, reviewer: str, same: bool
) -> None:
    start: RunStart = r.run_start("drill", actor=actor, parameters={"ran_by": ran_by})
    assert same_person(start, reviewer) is same
    assert who_ran(start) == (ran_by or actor)


def test_places_that_nobody_drilled_are_one_finding() -> None:
    old = r.manifest(at=NOW - days(40))
    copies = {"aws": [old, MOVIES], "gcp": [old, MOVIES]}
    proofs = [r.proof(m, where) for m in (old, MOVIES) for where in copies]
    done = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(MOVIES),))
    backup = r.run_end(outcomes=(r.captured(MOVIES),), seen=(r.seen("movies"),))
    world = evidence(copies, proofs=proofs, ends=[backup, done])
    (found,) = [f for f in said(world) if "not drilled within" in f[2]]
    assert found == ("warning", "cluster", "1 copy not drilled within 30 d: movies in gcp")
    gcp = done.outcomes[0].model_copy(update={"repository": "gcp"})
    both = done.model_copy(update={"outcomes": (*done.outcomes, gcp)})
    assert not [f for f in said(evidence(copies, proofs=proofs, ends=[backup, both]))
                if "not drilled" in f[2]]  # fmt: skip
    # of a collection that nobody drilled at all, its own finding tells
    alone = said(evidence(copies, proofs=proofs, ends=[backup]))
    assert not [f for f in alone if "not drilled within" in f[2]]
    assert [f for f in alone if f[2].startswith("drill overdue: never drilled")]


def test_older_records_have_the_bytes_they_were_written_with() -> None:
    detail = r.drilled(MOVIES).detail
    assert isinstance(detail, Drilled)
    assert "scenario" not in detail.model_dump(mode="json")
