"""A node that does not have every shard cannot say that a collection was not written to."""

from __future__ import annotations

import pytest

from qdrant_dr.jobs.compare_points.states import _told


@pytest.mark.parametrize(
    ("operations", "known"),
    [({0: 7, 1: 9}, True), ({0: 7, 1: None}, False), ({0: 7}, False), ({}, False)],
)
def test_operations_of_every_shard_are_wanted(
    operations: dict[int, int | None], known: bool
) -> None:
    assert _told({0, 1}, operations) is known
