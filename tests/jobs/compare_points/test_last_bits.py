"""Vectors that another machine normalised count as equal, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.jobs.compare_points.change_files import Change
from qdrant_dr.jobs.compare_points.last_bits import DoubtfulVectors
from qdrant_dr.proof.point_table import PointTable, id_key
from tests.support.thorough import examples


class Held:
    """A state of two pieces whose points are here."""

    name = "held"
    aliases: Sequence[str] = ()

    def __init__(self, vectors: dict[int, Any]) -> None:
        self.vectors, self.notes, self.info = vectors, list[str](), dict[str, Any]()

    def begin(self) -> None:
        raise NotImplementedError

    def read(self, folder: Path, buckets: Sequence[int] | None) -> list[PointTable]:
        raise NotImplementedError

    def retrieve(
        self, ids: Sequence[int | str], *, payload: bool = True, vectors: bool = True
    ) -> list[dict[str, Any]]:
        assert (payload, vectors) == (False, True)
        return [
            {"id": i, "payload": None, "vector": self.vectors[i]}
            for i in ids
            if isinstance(i, int) and i in self.vectors
        ]

    def pages(self, **_: Any) -> Iterator[list[dict[str, Any]]]:
        raise NotImplementedError

    def count(self, where: Any = None) -> int:
        raise NotImplementedError

    @contextmanager
    def piece(self, number: int) -> Iterator[Held]:
        assert number in (0, 1)
        yield self

    def pieces(self) -> Iterable[Held]:
        return [self]


def settled(
    folder: Path, one: dict[int, Any], two: dict[int, Any], changes: list[Change], cosine: set[str]
) -> tuple[list[Change], int]:
    doubtful = DoubtfulVectors(folder / "doubtful", frozenset(cosine))
    for change in changes:
        doubtful.add((change.key[-1] % 2, change.key[-1] % 3 % 2), change)
    doubtful.look(Held(one), Held(two))
    return list(doubtful.settled(iter(changes))), doubtful.within


def changed(i: int, *components: str) -> Change:
    return Change(id_key(i), "changed", components)


def test_each_component_is_judged_by_itself(tmp_path: Path) -> None:
    near, far = [0.6, 0.8 + 3e-8], [0.6, 0.8 + 2e-6]
    base = {"image": [0.6, 0.8], "text": [0.6, 0.8]}
    one = dict.fromkeys(range(1, 7), base)
    two = {
        1: {**base, "image": near},
        2: {**base, "image": far},
        3: {**base, "image": near},  # and another payload
        4: {**base, "text": near},  # not normalised: a change is a change
        5: {"text": [0.6, 0.8]},  # without it
    }  # 6 has gone since: nothing shows that it is equal
    changes = [
        changed(1, "vector:image"), changed(2, "vector:image"),
        changed(3, "payload", "vector:image"), changed(4, "vector:text"),
        changed(5, "vector:image"), changed(6, "vector:image"), Change(id_key(7), "removed"),
    ]  # fmt: skip
    found, within = settled(tmp_path, one, two, changes, {"vector:image"})
    assert within == 1
    assert found == [
        changed(2, "vector:image"), changed(3, "payload"), changed(4, "vector:text"),
        changed(5, "vector:image"), changed(6, "vector:image"), Change(id_key(7), "removed"),
    ]  # fmt: skip


@settings(max_examples=examples(40), deadline=None)
@given(moved=st.dictionaries(st.integers(0, 600), st.sampled_from([5e-7, 5e-6]), max_size=40))
def test_every_point_comes_out_once_and_in_order(
    tmp_path_factory: Any, moved: dict[int, float]
) -> None:
    folder = tmp_path_factory.mktemp("bits")
    ids = sorted(moved)
    one = {i: [0.5, 0.5] for i in ids}
    two = {i: [0.5, 0.5 + by] for i, by in moved.items()}
    found, within = settled(folder, one, two, [changed(i, "vector:") for i in ids], {"vector:"})
    far = [i for i in ids if moved[i] > 1e-6]
    assert [c.point for c in found] == far
    assert within == len(ids) - len(far)
