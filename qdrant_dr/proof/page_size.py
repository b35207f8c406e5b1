"""How many points to read of an engine at once: a page of them must fit into memory. Pure."""

from __future__ import annotations

from collections.abc import Sequence

PAGE = 2000
PAGE_BYTES = 16 << 20
_FIRST = 16
"""Of a shard of which nothing is known: a point may have many megabytes."""
_LOOK = 8


class PageSize:
    """The points of the next page, by the largest of those that were looked at."""

    def __init__(self) -> None:
        self.points = _FIRST

    def places(self, count: int) -> list[int]:
        """Return which points of a page of so many to look at."""
        return list(range(0, count, max(1, count // _LOOK)))

    def saw(self, sizes: Sequence[int]) -> None:
        """Take the bytes of such points."""
        fitting = PAGE_BYTES // max(1, *sizes) if sizes else PAGE
        self.points = max(1, min(fitting, 8 * self.points, PAGE))
