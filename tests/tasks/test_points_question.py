"""What an approver of a restore of points reads."""

from __future__ import annotations

from collections import Counter

from qdrant_dr.jobs.restore_points.compare_with_live import Surveyed
from qdrant_dr.jobs.restore_points.plan import PointsPlan
from qdrant_dr.jobs.run.units import RestorePointsUnit
from tasks.approve import question
from tests.support.records import NOW, manifest


def test_the_question_has_the_plan_and_the_deadline() -> None:
    unit = RestorePointsUnit(key=manifest().key, name="movies", repositories=(),
                             target="http://a:6333", missing=True)  # fmt: skip
    found = Surveyed(counts=Counter(create=3), first=[("create", 7)])
    asked = question([PointsPlan("movies@1", unit, surveyed=found)], "ana", until=NOW)
    assert f"{NOW:%Y-%m-%d %H:%M} UTC" in asked
    assert "every point that is missing" in asked
    assert "1. create 3 points" in asked
    assert "first: create 7" in asked
    assert "Without a name it is a no" in asked
