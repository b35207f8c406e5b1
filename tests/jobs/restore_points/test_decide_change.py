"""What is to become of each point: laws, against plain dictionaries."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster.scroll import id_order
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.restore_points.change_file import ChangeFile, absent_ids
from qdrant_dr.jobs.restore_points.decide_change import Change, Place, decide
from qdrant_dr.jobs.restore_points.look import (
    Live,
    unlike_then,
    without_the_run,
)
from qdrant_dr.jobs.restore_points.options import ids_of, parsed_filter
from qdrant_dr.jobs.restore_points.others import Around, judge_others
from qdrant_dr.jobs.restore_points.point_states import (
    combined,
    digest_of,
    only_rounded,
    same,
)
from qdrant_dr.jobs.restore_points.undo import formers
from qdrant_dr.records import UndoFile, UndoPart, UndoRecord
from qdrant_dr.records.undo import ABSENT, TargetThen

IDS = st.one_of(st.integers(0, 2**64 - 1), st.uuids().map(str))
# whole numbers as Qdrant has them: what is larger it gives as floats
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
PAYLOADS = st.dictionaries(st.text(max_size=3), VALUES, max_size=3)
FLOATS = st.floats(-8, 8, width=32)
VECTORS = st.fixed_dictionaries(
    {},
    optional={
        "a": st.lists(FLOATS, min_size=3, max_size=3),
        "b": st.lists(FLOATS, min_size=2, max_size=2),
    },
)
COSINE = frozenset({"b"})
ONLY = st.sampled_from([None, "payload", "vector:a", "vector:b"])


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    return {"id": 5, "payload": draw(PAYLOADS), "vector": draw(VECTORS)}


@given(st.sets(IDS, max_size=30), st.sets(IDS, max_size=30))
def test_ids_that_are_not_live(ids: set[int | str], live: set[int | str]) -> None:
    found = absent_ids(sorted(ids, key=id_order), sorted(live, key=id_order))
    assert list(found) == sorted(ids - live, key=id_order)


@given(points(), st.none() | points(), ONLY)
def test_a_change_leads_to_what_was_given_and_touches_nothing_else(
    given_: dict[str, Any], there: dict[str, Any] | None, only: str | None
) -> None:
    what, change = decide(5, given_, there, only=only, missing=False, cosine=COSINE)
    if only is not None and there is None:
        assert (what, change) == ("lacking", None)
        return
    after = combined(there, given_, only)
    assert after is not None
    assert same(after, given_, only, frozenset())
    if only is not None and there is not None:
        name = only.removeprefix("vector:")
        assert only == "payload" or after["payload"] == there["payload"]
        kept = {n: v for n, v in after["vector"].items() if only == "payload" or n != name}
        was = {n: v for n, v in there["vector"].items() if only == "payload" or n != name}
        assert kept == was
    assert (change is None) == same(after, there, only, COSINE) == (what == "equal")
    if change is not None:
        assert change.before == digest_of(there, only)
        assert change.kind == what == ("create" if there is None else "overwrite")
        # and back: the former state is what an undo gives
        back, undone = decide(5, there, change.after, only=only, missing=False, cosine=COSINE)
        assert back == ("delete" if there is None else "overwrite")
        assert undone is not None
        assert same(undone.after, there, only, frozenset())


@given(points(), points(), ONLY)
def test_digests_tell_states_apart(
    one: dict[str, Any], other: dict[str, Any], only: str | None
) -> None:
    if digest_of(one, only) == digest_of(other, only):
        assert same(one, other, only, frozenset())
    assert digest_of(one, only) != ABSENT


def test_only_cosine_vectors_may_differ_in_their_last_bits() -> None:
    point: dict[str, Any] = {
        "id": 5,
        "payload": {"n": 1},
        "vector": {"a": [0.5, 0.25, 0.0], "b": [0.6, 0.8], "s": {"indices": [1], "values": [0.5]}},
    }
    near = {"a": [0.5, 0.25, 5e-7], "b": [0.6, 0.8000005],
            "s": {"indices": [1], "values": [0.5000005]}}  # fmt: skip
    for name, value in near.items():
        other = {**point, "vector": {**point["vector"], name: value}}
        what, change = decide(5, point, other, only=None, missing=False, cosine=COSINE)
        assert what == ("equal" if name in COSINE else "overwrite"), name
        assert (change is None) == (name in COSINE)
        assert same(point, other, "payload", COSINE)
        assert same(point, other, f"vector:{name}", COSINE) == (name in COSINE)
    for far in ([0.6, 0.800002], [0.6], None):
        vectors = {n: v for n, v in {**point["vector"], "b": far}.items() if v is not None}
        assert not same(point, {**point, "vector": vectors}, None, COSINE)
    assert same(point, {**point, "payload": {"n": 1}}, None, COSINE)
    assert not same(point, {**point, "payload": {"n": 1.0}}, None, COSINE)


@given(st.none() | points())
def test_only_missing_points(there: dict[str, Any] | None) -> None:
    what, change = decide(5, {"id": 5, "payload": {}, "vector": {}}, there, only=None,
                          missing=True, cosine=COSINE)  # fmt: skip
    assert what == ("create" if there is None else "present")
    assert (change is None) == (there is not None)


@given(st.lists(st.tuples(IDS, st.none() | points(), st.none() | st.integers(0, 2)), max_size=40))
def test_changes_come_out_of_the_file_in_order(
    rows: list[tuple[int | str, dict[str, Any] | None, int | None]],
) -> None:
    changes = [Change(i, ABSENT, after, ABSENT, key, key) for i, after, key in rows]
    with TemporaryDirectory() as name, ChangeFile(Path(name) / "changes") as file:
        for change in changes:
            file.add(change)
        batches = list(file.batches())
        assert [c for batch in batches for c in batch] == changes
        assert all(len({c.shard_key for c in batch}) == 1 for batch in batches)
        assert [i for _, i in file.places()] == [c.id for c in changes]


def test_a_rounded_float_is_told_from_another_value() -> None:
    def point(payload: dict[str, Any], **vectors: Any) -> dict[str, Any]:
        return {"id": 5, "payload": payload, "vector": {"a": [1.0], "b": [0.5], **vectors}}

    def rounded(other: dict[str, Any] | None, only: str | None = None) -> bool:
        return only_rounded(one, other, only, COSINE)

    one = point({"a": [0.1, {"b": 1}]})
    near = {"a": [0.1000000000000001, {"b": 1}]}
    assert rounded(point(near))
    assert rounded(point(near, b=[0.5000001]))  # normalised by the server
    assert not rounded(point({"a": [0.11, {"b": 1}]}))
    assert not rounded(point({"a": [0.1, {"b": 1.0}]}))
    assert not rounded(None)
    # somebody wrote a vector of it
    assert not rounded(point(near, a=[1.5]))
    assert rounded(point(near, a=[1.5]), "payload")
    assert not rounded(point(near), "vector:a")


def test_an_undo_part_gives_each_point_with_what_was_left_of_it() -> None:
    part = UndoPart(
        run_id="r", cluster="c", collection="m", number=1, absent=(1,),
        present=('{"id": 2, "payload": {}, "vector": {}}',), after=("a" * 64, "b" * 64),
    )  # fmt: skip
    absent, present = formers(part, {2: {"d" * 64}})
    assert (absent.id, absent.before, absent.left) == (1, None, frozenset({"a" * 64}))
    assert (present.id, present.left) == (2, frozenset({"b" * 64, "d" * 64}))


SAMPLE: dict[Place, str] = {(None, 1): "a", (None, 2): "b"}


@pytest.mark.parametrize(
    ("after", "operations", "equal", "faults"),
    [
        (Around(103, (12,), SAMPLE), 2, True, 0),
        (Around(102, (12,), SAMPLE), 2, False, 1),
        (Around(103, (12,), {(None, 1): "a"}), 2, False, 1),
        (Around(103, (12,), {(None, 1): "a", (None, 2): "x"}), 2, False, 1),
        (Around(104, (13,), {(None, 1): "a", (None, 2): "x"}), 2, None, 0),  # somebody else wrote
        (Around(104, None, SAMPLE), 2, None, 0),
    ],
)
def test_what_else_was_touched(
    after: Around, operations: int, equal: bool | None, faults: int
) -> None:
    before = Around(100, (10,), SAMPLE)
    judged = judge_others(before, after, operations=operations, created=3, deleted=0)
    assert (judged.equal, len(judged.faults)) == (equal, faults)
    assert bool(judged.notes or judged.doubts) == (equal is None)


def test_a_change_that_others_may_have_made_or_not_is_a_doubt() -> None:
    before = Around(100, (10, 10), SAMPLE)
    for after in (Around(102, None, SAMPLE), Around(103, (11, 12), {(None, 1): "a"})):
        judged = judge_others(before, after, operations=2, created=3, deleted=0)
        assert judged.equal is None
        assert not judged.faults
        (said,) = judged.doubts
        assert "not known whether others wrote" in said
    told = judge_others(before, Around(103, None, SAMPLE), operations=2, created=3, deleted=0)
    assert told.notes
    assert not told.doubts


@pytest.mark.parametrize(
    ("now", "fallen", "nothing_since"),
    [
        ({"operations": {0: 7, 1: 4}}, False, True),
        ({"operations": {0: 7, 1: 5}}, False, False),
        ({"operations": {0: 6, 1: 9}}, True, False),
        ({"operations": {0: 9, 1: None}}, False, False),
        ({"operations": {0: 6, 1: 4}, "peer": 2}, False, False),  # numbers of two nodes
        ({"operations": {0: 9, 1: 9}, "peer": 3, "peers": (3,)}, True, False),
        ({"operations": {0: 9}, "shard_number": 1}, True, False),
    ],
)
def test_the_collection_that_a_run_wrote_into(
    now: dict[str, Any], fallen: bool, nothing_since: bool
) -> None:
    then = TargetThen(peer_id=1, peers=(1, 2), shard_number=2, operations={0: 7, 1: 4})
    record = UndoRecord(
        run_id="r", cluster="c", collection="m", made_at="2026-11-30T00:00:00.000000Z", target="t",
        source="m@b", only=None, params="{}", absent=1, present=0, then=then,
        parts=(UndoFile(file="part-1.json", points=1, sha256="0" * 64),),
    )  # fmt: skip
    assert UndoRecord.from_bytes(record.to_bytes(), where="here") == record
    facts = SimpleNamespace(
        collection="m", info={"config": {"params": {}}}, peer_id=now.get("peer", 1),
        replicas=[SimpleNamespace(peer_id=p) for p in now.get("peers", (1, 2))],
        operations=now["operations"], shard_ids=frozenset(now["operations"]),
        shard_number=now.get("shard_number", 2),
    )  # fmt: skip
    live: Any = Live(SimpleNamespace(url="http://a:6333"), facts)  # type: ignore[arg-type]
    assert bool(unlike_then(live, record, another_incarnation=False)) == fallen
    assert unlike_then(live, record, another_incarnation=True) == []
    assert (without_the_run(live, record) is not None) == nothing_since
    older = record.model_copy(update={"then": None})
    assert unlike_then(live, older, another_incarnation=False) == []
    assert without_the_run(live, older) is None


def test_ids_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    uuid = str(UUID(int=5))
    file.write_text(f'7\n\n"{uuid.upper()}"\n{{"id": 3, "payload": {{}}}}\n7\n{2**64 - 1},\n')
    assert list(ids_of(str(file))) == [3, 7, 2**64 - 1, uuid]
    for text, words in (("7\nmovie\n", "line 2"), (f"{2**64}", "line 1"), (" \n", "has no id")):
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            ids_of(str(file))
    with pytest.raises(UsageError, match="cannot be read"):
        ids_of(str(tmp_path / "none"))


@pytest.mark.parametrize("text", ["{", "[]", "{}", "7"])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(UsageError, match="filter"):
        parsed_filter(text)
