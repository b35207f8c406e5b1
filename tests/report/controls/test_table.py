"""The table of controls: complete, true to the frames, never green by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.errors import RecordDamaged
from qdrant_dr.report.controls.docs_page import controls_markdown
from qdrant_dr.report.controls.table import CONTROLS
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.report.frames.schema import BY_NAME
from qdrant_dr.repository import Unreadable
from tests.support import records as r
from tests.support.encrypted import encrypted_on_disk
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, frames, good


def told(of: Evidence) -> dict[str, dict[str, Any]]:
    """The rows by control; ids differ between frameworks."""
    rows = {row["control"]: row for row in plain_rows(frames(of)["controls"])}
    assert len(rows) == len(CONTROLS)
    return rows


def states(of: Evidence, *controls: str) -> list[str]:
    rows = told(of)
    return [rows[c]["state"] for c in controls]


def test_figures_are_columns_of_frames() -> None:
    for control in CONTROLS:
        for figure in control.figures:
            frame, _, column = figure.partition(".")
            assert column in [c.name for c in BY_NAME[frame].columns], figure
        assert (control.rule is None) == (not control.figures) == (control.covers == "none")
        assert control.add
        assert (control.oscal is not None) == (control.framework == "NIST SP 800-53")


def test_the_docs_are_in_step() -> None:
    page = Path(__file__).parents[3] / "docs" / "controls.md"
    assert page.read_text() == controls_markdown(), (
        "write docs/controls.md anew: "
        "python -c 'from qdrant_dr.report.controls.docs_page import *; "
        'print(controls_markdown(), end="")\''
    )


def test_nothing_is_met_where_nothing_was_looked_at() -> None:
    for row in told(evidence()).values():
        assert row["state"] != "met", row


def test_nothing_is_met_while_something_could_not_be_read() -> None:
    assert "met" in [row["state"] for row in told(good()).values()]
    torn = replace(
        good(), unreadable=(Unreadable("aws", "runs/x.json", RecordDamaged("it is torn")),)
    )
    m = r.manifest()
    away = evidence(
        {"aws": [m], "gcp": [m], "azure": [m]},
        proofs=[r.proof(m, where) for where in ("aws", "gcp")],
        ends=good().run_ends,
        unreachable=["azure"],
    )
    for world in (torn, away):
        for row in told(world).values():
            assert row["state"] != "met", row
        assert "could not be read" in told(world)["CP-9"]["figures"]


def test_a_good_month_meets_what_backups_and_drills_answer() -> None:
    assert set(states(good(), "A1.2", "A1.3", "A.8.13", "A.8.14", "A.5.30", "CP-9", "CP-9(1)",
                      "CP-9(2)", "CP-9(5)", "CP-10", "CP-10(4)", "Art. 12(2)", "11.2",
                      "11.5")) == {"met"}  # fmt: skip


@pytest.mark.parametrize(
    ("control", "words"),
    [("CP-4", "0 of 1 passed drill accepted"), ("CP-6(2)", "no drill under a scenario"),
     ("Art. 11", "no drill under a scenario"),
     ("AU-10", "0 of 2 runs in a signed entry"), ("CP-2", "0 of 1 collection")],
)  # fmt: skip
def test_what_was_not_done_is_not_met(control: str, words: str) -> None:
    row = told(good())[control]
    assert row["state"] == "not met"
    assert words in row["figures"]


def test_where_there_was_nothing_to_do_it_is_not_covered() -> None:
    for control in ("CC7.5", "Art. 12(7)", "CP-9(3)", "9.4.7", "CP-9(8)", "11.3", "CP-9(7)"):
        assert told(good())[control]["state"] == "not covered here"


def test_a_drill_that_failed_last_is_not_outweighed_by_earlier_ones() -> None:
    m = r.manifest()
    later = r.run_end(
        r.run_start("drill", NOW - hours(0.5)),
        verdict="failed",
        outcomes=(r.drilled(m, NOW - hours(0.5), detail={"fingerprint_equal": False}),),
    )
    world = good(ends=[*good().run_ends, later])
    assert set(states(world, "A1.3", "CP-9(2)", "CP-4", "11.5")) == {"not met"}
    passed = r.run_end(
        r.run_start("drill", NOW - hours(0.1)), outcomes=(r.drilled(m, NOW - hours(0.1)),)
    )
    mended = good(ends=[*good().run_ends, later, passed])
    assert set(states(mended, "A1.3", "CP-9(2)", "11.5")) == {"met"}


def test_a_drill_of_the_last_quarter_is_asked_for_however_long_the_period_is() -> None:
    m = r.manifest(at=NOW - days(120))
    fresh = r.manifest()
    old = r.run_end(
        r.run_start("drill", NOW - days(119)), outcomes=(r.drilled(m, NOW - days(119)),)
    )
    world = evidence(
        {"aws": [m, fresh], "gcp": [m, fresh]},
        proofs=[r.proof(fresh, w) for w in ("aws", "gcp")],
        ends=[old, r.run_end(outcomes=(r.captured(fresh),), seen=(r.seen("movies"),))],
        period=days(365),
    )
    assert states(world, "CP-9(2)", "11.5") == ["met", "not met"]


def test_copies_in_one_place_are_no_redundancy() -> None:
    m = r.manifest()
    config = r.config("aws", "gcp", copies={"quorum": 1, "domains": 1})
    end = r.run_end(outcomes=(r.captured(m),), seen=(r.seen("movies"),))
    lone = evidence({"aws": [m], "gcp": []}, config=config, proofs=[r.proof(m)], ends=[end])
    assert states(lone, "CP-9", "A.8.14", "CP-6", "11.4") == ["met", *["not met"] * 3]


def test_encryption_by_the_stores_is_not_known_and_half_of_it_is_not_met() -> None:
    m = r.manifest()
    halves = evidence(
        {"aws": [m], "gcp": [m]},
        states=[r.state("aws", encrypted=True, layout="chunked"), r.state("gcp")],
    )
    assert states(good(), "CP-9(8)") == ["not covered here"]
    row = told(halves)["CP-9(8)"]
    assert row["state"] == "not met"
    assert row["figures"].startswith("1 of 2 copies encrypted")


def test_a_restore_that_lost_points_is_not_met() -> None:
    m = r.manifest()

    def after(**detail: object) -> Evidence:
        end = r.run_end(
            r.run_start("restore", NOW - hours(1)), outcomes=(r.restored(m, detail=detail),)
        )
        return good(ends=[*good().run_ends, end])

    assert states(after(), "CC7.5", "Art. 12(7)", "CP-10") == ["met"] * 3
    assert set(states(after(points_restored=1999), "CC7.5", "Art. 12(7)", "CP-10")) == {"not met"}


def test_slots_of_an_encrypted_repository_are_counted(tmp_path: Path) -> None:
    """One slot is one lost key away from losing every copy."""
    vault = encrypted_on_disk(tmp_path)
    config = r.config(repositories=[vault.model_dump(mode="json", exclude_none=True)],
                      copies={"quorum": 1, "domains": 1})  # fmt: skip
    found = gather(config, NOW, days(30))
    assert [s.encrypted for s in found.repositories] == [True]
    slots = found.key_slots["vault"]
    assert len(slots) == 1
    m = r.manifest()
    lone = evidence({"aws": [m], "gcp": [m]},
                    states=[r.state(n, encrypted=True) for n in ("aws", "gcp")],
                    ends=[r.run_end()])  # fmt: skip
    for count, state in ((1, "not met"), (2, "met")):
        world = replace(lone, key_slots=dict.fromkeys(("aws", "gcp"), slots * count))
        assert states(world, "CP-9(8)", "11.3") == [state, state]
