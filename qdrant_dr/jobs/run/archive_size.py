"""How much larger than the last one the next archive may be, and what it takes on its node."""

from __future__ import annotations

from collections.abc import Mapping

from qdrant_dr.records.manifest import Method

SMALLEST = 4096
"""No archive of Qdrant is smaller: a place with less is full, whatever is guessed."""


GROWTH = 1.2
"""A backup may be larger than the last one by a fifth before the estimate is wrong."""


ON_NODE: Mapping[Method, tuple[int, int]] = {
    "collection": (1, 1),
    "shard": (1, 1),
    "stream": (0, 0),
    "full": (2, 3),
}
"""Archive sizes that a create call needs on the node at its peak, at least and at most: a full
snapshot lies there beside the archives it is made of (measured on Qdrant 1.18.3)."""
