"""What a shard is asked: within which tenants, by which names, and what is no answer at all."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.proof import prove
from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.payloads import fits, in_turn, values_at
from qdrant_dr.proof.tenants import tenant_fields, tenant_vectors
from qdrant_dr.proof.unpack import LaidShard
from qdrant_dr.records import Manifest, Seal
from tests.support import records
from tests.support.archives import backup


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "engine", EngineLimits()) as running:
        yield running


def manifest_of(info: Mapping[str, Any]) -> Manifest:
    return records.manifest("c", collection_info=json.dumps(info))


TENANT_ONLY = {"m": 0, "payload_m": 16}


@pytest.mark.parametrize(
    ("common", "vectors", "within"),
    [
        ({"m": 16}, {"size": 4}, set()),
        (TENANT_ONLY, {"size": 4}, {""}),
        ({"m": 0, "payload_m": None}, {"size": 4}, set()),
        ({"m": 0}, {"size": 4}, set()),
        ({"m": 16, "payload_m": 16}, {"size": 4}, set()),
        ({"m": 16}, {"a": {"size": 4, "hnsw_config": TENANT_ONLY}, "b": {"size": 4}}, {"a"}),
        (TENANT_ONLY, {"a": {"size": 4, "hnsw_config": {"m": 8}}, "b": {"size": 4}}, {"b"}),
        ({"m": 16, "payload_m": 8}, {"size": {"size": 4, "hnsw_config": {"m": 0}}}, {"size"}),
        (TENANT_ONLY, {"a": {"size": 4, "hnsw_config": {"m": None, "on_disk": True}}}, {"a"}),
        ({}, {}, set()),
    ],
)
def test_tenants_are_told_by_the_configuration_of_each_vector(
    common: Mapping[str, Any], vectors: Mapping[str, Any], within: set[str], tmp_path: Path
) -> None:
    info = {"config": {"params": {"vectors": vectors}, "hnsw_config": common}}
    assert tenant_vectors(LaidShard(0, tmp_path), manifest_of(info)) == within


def test_tenants_are_told_by_the_graphs_that_are_there(tmp_path: Path) -> None:
    """A configuration may be newer than the segments, or older: both are used in their time."""
    for index, hnsw in (("vector_index-a", TENANT_ONLY), ("vector_index-b", {"m": 16}),
                        ("vector_index", {"m": 0, "payload_m": 0})):  # fmt: skip
        folder = tmp_path / "segments" / "one" / index
        folder.mkdir(parents=True)
        (folder / "hnsw_config.json").write_text(json.dumps(hnsw))
    broken = tmp_path / "segments" / "two" / "vector_index-c"
    broken.mkdir(parents=True)
    (broken / "hnsw_config.json").write_text("{")
    assert tenant_vectors(LaidShard(0, tmp_path), manifest_of({})) == {"a"}


def test_fields_of_tenants_are_those_whose_values_have_graphs() -> None:
    schema = {
        "a": {"data_type": "keyword", "params": {"type": "keyword"}},
        "b": {"data_type": "integer"},
        "c": {"data_type": "integer", "params": {"lookup": False}},
        "d": {"data_type": "uuid", "params": {"enable_hnsw": False}},
        "e": {"data_type": "float", "params": {"is_principal": True}},
        "f": {"data_type": "bool"},
    }
    assert tenant_fields(manifest_of({"payload_schema": schema})) == {
        "a": "keyword",
        "b": "integer",
    }
    schema["g"] = {"data_type": "keyword", "params": {"is_tenant": True}}
    assert tenant_fields(manifest_of({"payload_schema": schema})) == {"g": "keyword"}
    assert tenant_fields(manifest_of({})) == {}


VALUES = st.one_of(st.sampled_from(["x", "y", "z"]), st.integers(0, 3), st.none(), st.booleans())
PAYLOADS = st.lists(
    st.dictionaries(st.sampled_from(["k", "n"]), st.one_of(VALUES, st.lists(VALUES, max_size=3)))
)


@given(PAYLOADS)
def test_every_tenant_has_its_turn(payloads: list[dict[str, Any]]) -> None:
    """Each point once at most, within a tenant of its own, and no tenant a second time while
    another that has points left waits for its first."""
    fields = {"k": "keyword", "n": "integer"}
    turns = in_turn(payloads, fields)
    assert len({place for place, _ in turns}) == len(turns)
    for place, condition in turns:
        (value,) = condition["match"]["any"]
        assert value in values_at(payloads[place], condition["key"])
        assert fits(fields[condition["key"]], value)
    members = {
        place
        for place, payload in enumerate(payloads)
        if any(fits(kind, v) for field, kind in fields.items() for v in values_at(payload, field))
    }
    assert {place for place, _ in turns} == members
    rounds: Counter[str] = Counter()
    last = 1
    for _, condition in turns:
        rounds[json.dumps(condition)] += 1
        assert rounds[json.dumps(condition)] >= last
        last = rounds[json.dumps(condition)]


def points(**vectors: Callable[[int], Any]) -> edge.UpdateOperation:
    made = [edge.Point(n, {name: of(n) for name, of in vectors.items()}, {}) for n in range(40)]
    return edge.UpdateOperation.upsert_points(made)


def flat(n: int) -> list[float]:
    return [float(n), 1.0]


def deep(n: int) -> list[float]:
    return [1.0, 2.0, 3.0, float(n)]


def words(n: int) -> edge.SparseVector:
    return edge.SparseVector([n % 3, 7], [1.0, 2.0])


DENSE = edge.UpdateOperation.create_dense_vector("b", 4, edge.Distance.Euclid)
SPARSE = edge.UpdateOperation.create_sparse_vector("b")
GONE = edge.UpdateOperation.delete_vector_name("b")


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize(
    "logged",
    [
        [GONE, DENSE, points(a=flat, b=deep)],
        [GONE, SPARSE, points(a=flat, b=words)],
        [GONE, SPARSE, points(a=flat, b=words), GONE, DENSE, points(a=flat, b=deep)],
        [points(a=flat, b=flat)],
    ],
    ids=["made again", "made sparse", "made again twice", "not touched"],
)
def test_a_vector_that_the_log_made_again_is_asked_by_its_name(
    logged: list[edge.UpdateOperation], engine: Engine, tmp_path: Path, *, flushed: bool
) -> None:
    """The archive of a busy server: a log, and segments of before, or `flushed` with all of it."""
    params = edge.EdgeVectorParams(2, edge.Distance.Dot)
    source = edge.EdgeShard.create(
        str(tmp_path / "source"), edge.EdgeConfig(vectors={"a": params, "b": params})
    )
    source.update(points(a=flat, b=flat))
    source.flush()
    if not flushed:
        shutil.copytree(tmp_path / "source" / "segments", tmp_path / "archive" / "segments")
    for operation in logged:
        source.update(operation)
    shutil.copytree(tmp_path / "source" / "wal", tmp_path / "archive" / "wal")
    source.close()
    if flushed:
        shutil.copytree(tmp_path / "source" / "segments", tmp_path / "archive" / "segments")
    loaded = engine.load(tmp_path / "archive")
    assert (loaded.points, loaded.operation) == (40, len(logged)), "the log was not replayed"
    engine.ask("read")
    fingerprint, _ = engine.wait_read()
    engine.ask("choose", ids=[3, 4], names={"a": 0, "b": 0}, each=3, tenants={})
    answers = engine.wait()
    assert Counter(a["vector"] for a in answers) == {"a": 3, "b": 3}
    assert all(a["hits"] == a["top"] or {*a["hits"]} & {*a["top"]} for a in answers)
    engine.ask("answer", queries=[{**a, "odd": 0} for a in answers])
    assert [a["hits"] for a in engine.wait()] == [a["hits"] for a in answers]
    engine.ask("read")
    assert engine.wait_read()[0] == fingerprint, "asking changed what is read"


def test_an_engine_that_cannot_be_asked_is_no_finding(
    sealed: Callable[[str], Seal], scratch: Path
) -> None:
    first, *rest = sealed("basic").golden
    other = first.model_copy(update={"vector": "of no name that this engine knows"})
    seal = sealed("basic").model_copy(update={"golden": (*rest, other)})
    manifest, reader = backup("basic")
    result = prove(manifest, reader, depth="search", folder=scratch, seal=seal)
    assert (result.findings, result.reached, result.passed) == ((), "content", False)
    (words,) = result.unasked
    assert words.startswith("shard 0 could not be searched here: the engine failed")
