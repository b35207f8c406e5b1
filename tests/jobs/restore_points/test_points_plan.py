"""What a plan of a restore of points says, in words."""

from __future__ import annotations

from collections import Counter

import pytest

from qdrant_dr.jobs.restore_points.compare_with_live import Surveyed
from qdrant_dr.jobs.restore_points.plan import PointsPlan, room_reasons
from qdrant_dr.jobs.run.units import RestorePointsUnit
from tests.support.records import manifest


def plan(**counts: int) -> PointsPlan:
    unit = RestorePointsUnit(
        key=manifest().key, name="movies", repositories=(), target="http://a:6333", ids="x/lost",
        only="vector:text",
    )  # fmt: skip
    surveyed = Surveyed(counts=Counter(counts), first=[("overwrite", n) for n in range(10)])
    return PointsPlan("movies@1", unit, surveyed=surveyed, size_bytes=2048, repositories=("aws",))


def test_a_plan_says_what_is_kept_written_and_left_alone() -> None:
    made = plan(create=2, overwrite=30, equal=4, changed=1, lacking=1)
    assert made.title == (
        "movies@1 (the points named in lost, only vector:text) into movies on http://a:6333"
    )
    keep, write, prove = made.steps
    assert keep == "keep what 32 points are now, as an undo record in aws"
    assert write.startswith("create 2 points, overwrite 30 points (2.00 KiB)")
    assert "read every one of them back" in prove
    first, equal, changed, lacking = made.remarks
    assert first.endswith("overwrite 9, ...")
    assert equal.startswith("4 points are as they are to be")
    assert "--overwrite-changed" in changed
    assert "not live" in lacking


def test_a_plan_with_nothing_to_do_says_so() -> None:
    assert plan(equal=4).steps == ("nothing: every point is as it is to be",)


@pytest.mark.parametrize(("size", "space", "refused"), [(10, None, 0), (10, 20, 0), (11, 20, 1)])
def test_room_on_a_node(size: int, space: int | None, refused: int) -> None:
    assert len(room_reasons(plan().unit, size, space)) == refused
