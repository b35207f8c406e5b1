"""Depth `search`: the indexes of real archives, whole, broken and lost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from qdrant_dr.errors import EngineFailed, NothingChecked
from qdrant_dr.proof import Asked, Examination, judge, plan_seal, prove, recall_ppm
from qdrant_dr.proof.search import conditions, unanswerable, values_at
from qdrant_dr.records import FilterTruth, GoldenQuery, Seal
from tests.support.archives import archive, backup, edit_segments
from tests.support.records import NOW
from tests.support.replay import truth
from tests.support.thorough import thorough

ASKED = {"basic": (16, 6), "rich": (80, 20), "sharded": (48, 18), "empty": (0, 0),
         "single": (1, 0), "busy": (16, 0), "motion": (16, 0)}  # fmt: skip
"""Golden queries and filters of each set."""
VECTORS = {"rich": {"bytes", "colbert", "image", "text", "words"}}


def search(
    set_name: str, seal: Seal | None, scratch: Path, data: bytes | None = None
) -> Examination:
    changed = {} if data is None else {"collection": data}
    manifest, reader = backup(set_name, data=changed)
    return prove(manifest, reader, depth="search", folder=scratch, seal=seal)


@pytest.mark.parametrize("set_name", ASKED)
def test_what_was_sealed_is_found_again(
    set_name: str, sealed: Callable[[str], Seal], scratch: Path
) -> None:
    seal = sealed(set_name)
    assert (len(seal.golden), len(seal.filters)) == ASKED[set_name]
    assert seal.suspect == ()
    result = search(set_name, seal, scratch)
    assert (result.findings, result.reached, result.passed) == ((), "search", True)
    assert result.searched is not None
    assert (result.searched.queries, result.searched.filters) == ASKED[set_name]
    if seal.points:
        assert {q.vector for q in seal.golden} == VECTORS.get(set_name, {""})
        assert result.searched.recall_ppm is not None
        assert result.searched.recall_ppm > 900_000
        assert result.searched.latency_p50_us is not None
    else:  # nothing that an index could lose, and the proof says that it asked nothing
        assert result.searched.recall_ppm is None
    assert list(scratch.iterdir()) == []


def test_the_same_questions_whoever_seals(sealed: Callable[[str], Seal], scratch: Path) -> None:
    first = search("rich", None, scratch)
    assert first.passed, "without a seal: what is found now, against what there is"
    assert first.read_back is not None
    manifest, _ = backup("rich")
    again = plan_seal(manifest, first.read_back, None, None, drift_limit=0.5, now=NOW)
    assert again.golden == sealed("rich").golden
    assert again.filters == sealed("rich").filters


def test_no_golden_answer_came_from_an_index(sealed: Callable[[str], Seal]) -> None:
    """Exact answers equal a comparison of every pair, in plain Python."""
    points = {p["id"]: p["vector"]["words"] for p in truth("rich") if "words" in p["vector"]}
    queries = [q for q in sealed("rich").golden if q.vector == "words"]
    assert queries
    for query in queries:
        mine = dict(zip(*points[query.point].values(), strict=True))
        scores = {
            i: sum(mine.get(n, 0) * v for n, v in zip(w["indices"], w["values"], strict=True))
            for i, w in points.items()
        }
        best = sorted((s for s in scores.values() if s > 0), reverse=True)[:10]
        assert [scores[i] for i in query.top] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    ("set_name", "file", "words"),
    [
        ("basic", "vector_index/links_compressed.bin", "the index of the vectors"),
        ("rich", "vector_index-text/links_compressed.bin", "the index of vector 'text'"),
        pytest.param(
            "rich",
            "vector_index-colbert/links_compressed.bin",
            "the index of vector 'colbert'",
            marks=thorough,
        ),
        ("rich", "vector_storage-image/quantized.data", "the index of vector 'image'"),
        ("basic", "year-map/values_to_points.bin", "the integer index of 'year'"),
        pytest.param(
            "rich", "uid-map/values_to_points.bin", "the uuid index of 'uid'", marks=thorough
        ),
        ("rich", "geo-map/points_map.bin", "the geo index of 'geo'"),
    ],
)
def test_a_broken_index_is_caught_by_search_and_not_by_content(
    set_name: str, file: str, words: str, sealed: Callable[[str], Seal], scratch: Path
) -> None:
    data = edit_segments(archive(f"{set_name}/collection"), file, zero_middle)
    result = search(set_name, sealed(set_name), scratch, data)
    assert (result.reached, result.passed) == ("content", False)
    assert {f.code for f in result.findings} == {"search-differs"}
    assert words in result.findings[0].message
    assert result.searched is not None
    manifest, reader = backup(set_name, data={"collection": data})
    content = prove(manifest, reader, depth="content", folder=scratch, seal=sealed(set_name))
    assert content.passed


def zero_middle(data: bytes) -> bytes:
    quarter = len(data) // 4
    return data[:quarter] + bytes(len(data) - 2 * quarter) + data[-quarter:]


def test_a_lost_payload_index_is_named(sealed: Callable[[str], Seal], scratch: Path) -> None:
    def without_kw(data: bytes) -> bytes:
        config = json.loads(data)
        del config["indexed_fields"]["kw"], config["indexed_types"]["kw"]
        return json.dumps(config).encode()

    data = edit_segments(archive("rich/collection"), "payload_index/config.json", without_kw)
    result = search("rich", sealed("rich"), scratch, data)
    assert result.reached == "content"
    (finding,) = result.findings
    assert finding.message == "shard 0: the keyword index of 'kw' is not in 1 of 2 segments"


@pytest.mark.parametrize(
    ("file", "words", "suspect"),
    [
        ("vector_index/links_compressed.bin", "the source's own index of the vectors finds", False),
        ("year-map/values_to_points.bin", "the integer index of 'year' finds", True),
    ],
)
def test_what_was_broken_before_the_backup_is_said_of_the_source(
    file: str, words: str, suspect: bool, scratch: Path
) -> None:
    """A poor graph is no reason to doubt the points; an index that misses some is. Neither is the
    fault of a copy that has the same."""
    cut = edit_segments(archive("basic/collection"), file, lambda d: d[:64] + bytes(len(d) - 64))
    manifest, reader = backup("basic", data={"collection": cut})
    first = prove(manifest, reader, depth="content", folder=scratch)
    assert first.passed, "every point is there"
    assert first.read_back is not None
    seal = plan_seal(manifest, first.read_back, None, None, drift_limit=0.5, now=NOW)
    said = seal.suspect if suspect else seal.remarks
    assert said, "nothing was said"
    assert words in said[0]
    assert bool(seal.suspect) == suspect
    again = prove(manifest, reader, depth="search", folder=scratch, seal=seal)
    assert again.passed, again.findings
    assert set(again.remarks) >= set(said)
    after = plan_seal(manifest, first.read_back, None, seal, drift_limit=0.5, now=NOW)
    assert (after.suspect, set(after.remarks)) == ((), set(said)), "it is told once"
    unsealed = prove(manifest, reader, depth="search", folder=scratch)
    assert unsealed.passed, "it is the source that is judged before there is a seal"
    # what broke after the seal was made is the copy's, as ever
    sound = prove(*backup("basic"), depth="content", folder=scratch)
    assert sound.read_back is not None
    whole = plan_seal(manifest, sound.read_back, None, None, drift_limit=0.5, now=NOW)
    assert whole.remarks == whole.suspect == ()
    lost = prove(manifest, reader, depth="search", folder=scratch, seal=whole)
    assert (lost.reached, lost.passed) == ("content", False)


def test_an_index_that_fell_since_the_backup_before_is_remarked_on(
    examined: Callable[[str], Examination], sealed: Callable[[str], Seal]
) -> None:
    read, (manifest, _) = examined("basic").read_back, backup("basic")
    assert read is not None
    asked = read.shards[0].asked
    assert asked is not None
    worse = [q.model_copy(update={"recall_ppm": 700_000}) for q in asked.golden]
    shard = replace(read.shards[0], asked=replace(asked, golden=tuple(worse)))
    fallen = replace(read, shards=(shard,))
    seal = plan_seal(manifest, fallen, None, sealed("basic"), drift_limit=0.5, now=NOW)
    words = (
        "the source's own index of vector '' finds 70% of the nearest points, 100% in the backup "
        "before"
    )
    assert (seal.suspect, seal.remarks) == ((), (words,))
    after = plan_seal(manifest, fallen, None, seal, drift_limit=0.5, now=NOW)
    assert after.remarks == (), "it is told once"
    other = [q.model_copy(update={"condition": "{}"}) for q in sealed("basic").golden]
    within = sealed("basic").model_copy(update={"golden": tuple(other)})
    changed = plan_seal(manifest, fallen, None, within, drift_limit=0.5, now=NOW)
    assert changed.remarks == (), "other questions are no measure"


def test_a_seal_without_questions_is_no_pass(sealed: Callable[[str], Seal], scratch: Path) -> None:
    old = sealed("basic").model_copy(update={"golden": (), "filters": ()})
    with pytest.raises(NothingChecked, match="no golden query of vectors ''") as caught:
        search("basic", old, scratch)
    assert "back up again" in caught.value.hint
    half = sealed("basic").model_copy(update={"filters": ()})
    with pytest.raises(NothingChecked, match="payload indexes of 'genre', 'year'"):
        search("basic", half, scratch)
    manifest, reader = backup("basic")
    content = prove(manifest, reader, depth="content", folder=scratch, seal=old)
    assert content.passed, "the depths before are still what they were"
    assert content.searched is None


def test_a_collection_with_nothing_to_index_has_nothing_to_ask(
    sealed: Callable[[str], Seal],
) -> None:
    manifest, _ = backup("empty")
    assert unanswerable(sealed("empty"), manifest) is None


def query(recall: int, vector: str = "", point: int = 1) -> GoldenQuery:
    return GoldenQuery(
        shard=0, vector=vector, point=point, top=(1,), recall_ppm=recall, narrow_ppm=recall
    )


def asked(sealed_ppm: list[int], found_ppm: list[int], **more: object) -> Asked:
    return Asked(
        0,
        tuple(query(r, point=n) for n, r in enumerate(sealed_ppm)),
        recalls_ppm=tuple(found_ppm),
        narrow_ppm=tuple(more.pop("narrow", sealed_ppm)),  # type: ignore[call-overload]
        latencies_us=tuple(range(len(found_ppm))),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("sealed_ppm", "found_ppm", "words"),
    [
        ([900_000] * 4, [900_000] * 4, None),
        ([900_000] * 4, [1_000_000, 800_000, 900_000, 800_000], None),
        ([900_000] * 4, [800_000] * 4, "finds 80% of the nearest points of 4 queries, 90%"),
        ([1_000_000] * 20, [1_000_000] * 19 + [100_000], "lost most answers near point 19"),
        ([200_000] * 4, [160_000] * 4, None),
    ],
)
def test_recall_is_judged_with_a_tolerance_and_a_floor(
    sealed_ppm: list[int], found_ppm: list[int], words: str | None
) -> None:
    judged = judge([asked(sealed_ppm, found_ppm)])
    assert [words in f.message for f in judged.faults if words] == ([True] if words else [])
    assert len(judged.faults) == bool(words)
    poor = "the source's own index of the vectors finds 16% of the nearest points of 4 queries"
    assert judged.remarks == ((f"shard 0: {poor}",) if max(found_ppm) < 250_000 else ())
    assert judged.searched.lowest_recall_ppm == min(found_ppm)


def test_every_shard_is_judged_alone_and_every_count_exactly() -> None:
    truth = FilterTruth(shard=0, field="f", index="integer", condition="{}", points=7)
    good = asked([1_000_000] * 4, [1_000_000] * 4)
    off = Asked(1, filters=(truth,), counts=(6,))
    narrow = asked([900_000], [900_000], narrow=[500_000])
    judged = judge([good, off, narrow])
    assert [f.message for f in judged.faults] == [
        "shard 1: the integer index of 'f' finds 6 points for a condition of the seal, 7 hold it",
        (
            "shard 0: the index of the vectors finds 90% of the nearest points of 1 queries, but "
            "with `hnsw_ef` 10 only 50%, 90% when it was sealed"
        ),
    ]
    assert (judged.searched.queries, judged.searched.filters) == (5, 1)


def test_what_could_not_be_asked_is_no_fault_and_no_pass() -> None:
    silent = Asked(1, fault=EngineFailed("the engine failed: Not existing vector name error: b"))
    judged = judge([asked([1_000_000] * 4, [1_000_000] * 4), silent])
    assert judged.faults == ()
    assert judged.unasked == (
        "shard 1 could not be searched here: the engine failed: Not existing vector name error: b",
    )


def test_ties_are_as_good_as_what_they_tie_with() -> None:
    scores: list[tuple[int | str, float]] = [(n, 1.0 if n < 5 else 0.5) for n in range(20)]
    assert recall_ppm([*range(5), *range(15, 20)], scores) == 1_000_000
    assert recall_ppm([*range(4), 99], scores) == 400_000
    assert recall_ppm([], scores) == 0
    assert recall_ppm([0, 1], scores[:2]) == 1_000_000, "there are but two"
    assert recall_ppm([], []) == 0


PAYLOADS: tuple[Mapping[str, object], ...] = (
    {"kw": "a", "n": 5, "deep": [{"tag": ["x", "y"]}, {"tag": "z"}], "mixed": 1},
    {"kw": ["a", "b"], "n": 7, "mixed": 1.5},
    {"kw": None},
)


def test_conditions_come_from_what_is_there() -> None:
    fields = {"kw": "keyword", "n": "integer", "mixed": "integer", "txt": "text"}
    found = conditions(fields, PAYLOADS, most=100)
    by_field = {f: [spec for field, _, spec in found if field == f] for f in fields}
    assert by_field["kw"][0] == {"key": "kw", "match": {"any": ["a", "b"]}}
    assert {"key": "n", "range": {"gte": 7, "lte": 7}} in by_field["n"]
    empty = [{"is_empty": {"key": "mixed"}}]
    assert by_field["mixed"] == empty, "1.5 matches a range without an integer index, and not with"
    assert by_field["txt"] == [{"is_empty": {"key": "txt"}}]
    assert {field for field, _, _ in conditions(fields, PAYLOADS, most=0)} == set(fields)


def test_no_bound_lies_on_a_float() -> None:
    """Index and payload may tell the last bit of one differently; integers and times never."""
    chance = random.Random(1)
    floats = [chance.random() for _ in range(200)]
    places = [{"lon": 180 * f, "lat": -90 * f} for f in floats]
    payloads = [{"f": f, "i": 3, "p": p} for f, p in zip(floats, places, strict=True)]
    found = conditions({"f": "float", "i": "integer", "p": "geo"}, payloads, most=100)
    bounds = [
        v for field, _, s in found if field == "f" and "range" in s for v in s["range"].values()
    ]
    assert len(bounds) == 4
    assert not {*bounds} & {*floats}
    corners = [c for *_, s in found for c in s.get("geo_bounding_box", {}).values()]
    assert len(corners) == 4
    told = {v for c in corners for v in c.values()}
    assert not told & {v for place in places for v in place.values()}
    assert {"key": "i", "range": {"gte": 3, "lte": 3}} in [s for *_, s in found]


def test_values_are_found_where_paths_lead() -> None:
    assert values_at(PAYLOADS[0], "deep[].tag") == ["x", "y", "z"]
    assert values_at(PAYLOADS[1], "kw") == ["a", "b"]
    assert values_at(PAYLOADS[2], "kw") == []
    assert values_at(PAYLOADS[0], "kw.no.such") == []
