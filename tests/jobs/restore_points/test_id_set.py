"""Ids of a file: each once, in the order of a scroll, and in little memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster.scroll import id_order
from qdrant_dr.jobs.restore_points.id_set import IdSet
from qdrant_dr.jobs.restore_points.state import asked
from qdrant_dr.jobs.run.units import RestorePointsUnit
from qdrant_dr.records.base import canonical_json

MANY = 2_000_000
MOST_MB = 110
"""A set and a list of so many integers took 280."""
READ = """
import resource, sys
from qdrant_dr.jobs.restore_points.options import ids_of
ids_of(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ids = ids_of(sys.argv[1])
print(len(ids), sum(1 for _ in ids), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

some_ids = st.lists(st.integers(0, 2**64 - 1) | st.uuids().map(str) | st.integers(0, 300))


@given(some_ids)
def test_each_id_once_in_the_order_of_a_scroll(ids: list[int | str]) -> None:
    found = IdSet.of(ids)
    assert list(found) == sorted({*ids}, key=id_order)
    assert len(found) == len({*ids})
    assert found.part(1, 3) == list(found)[1:4]


def test_two_million_ids_take_little_memory(tmp_path: Path) -> None:
    file, small = tmp_path / "ids", tmp_path / "one"
    small.write_text("7")
    with file.open("w") as out:
        out.writelines(f"{n * 7919 % MANY}\n" for n in range(MANY))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(file), str(small)],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    length, read, kilobytes = map(int, done.stdout.split())
    assert length == read == MANY
    assert kilobytes < MOST_MB * 1024, f"{kilobytes / 1024:.0f} MB"


def test_what_is_asked_is_one_digest_however_it_is_read(tmp_path: Path) -> None:
    """A run that was killed under an older version is continued."""
    file = tmp_path / "ids"
    ids = [*range(1200), str(UUID(int=5))]
    file.write_text("".join(f"{i}\n" for i in reversed(ids)))
    unit = RestorePointsUnit(
        name="movies", undoes="r", repositories=(), target="http://a", ids=str(file)
    )
    what = [str(unit.key), "r", "movies", False, None, False, None, ids]
    assert asked(unit) == hashlib.sha256(canonical_json(what)).hexdigest()
    none = unit.model_copy(update={"ids": None})
    what[-1] = None
    assert asked(none) == hashlib.sha256(canonical_json(what)).hexdigest()
