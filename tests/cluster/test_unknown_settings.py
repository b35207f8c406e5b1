"""Settings that no client model knows pass through capture, restore and comparison untouched."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster import creation_body, differences
from qdrant_dr.cluster.collection_config import index_body
from qdrant_dr.cluster.facts import same_vectors, vectors_text
from qdrant_dr.raw_settings import dense_vectors
from qdrant_dr.records import Manifest
from tests.support import records as made
from tests.support.later_server import body_to_info
from tests.support.replay import expected

RICH: dict[str, Any] = expected()["sets"]["rich"]["facts"]["info"]
Path = tuple[str, ...]

keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).map(lambda k: f"new {k}")
scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(st.characters(codec="utf-8"), max_size=5)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)


def sections(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every object in a description."""
    if isinstance(value, dict):
        yield path
        for key, below in value.items():
            yield from sections(below, (*path, key))


def names_vectors_or_fields(path: Path) -> bool:
    """Whether the keys of this object are names that users gave."""
    return path in {
        ("config", "params", "vectors"), ("config", "params", "sparse_vectors"),
        ("payload_schema",),
    }  # fmt: skip


PLACES = sorted(
    path
    for path in sections({k: RICH[k] for k in ("config", "payload_schema")})
    if path and not names_vectors_or_fields(path)
)


def at(info: Any, path: Path) -> dict[str, Any]:
    for key in path:
        info = info[key]
    found: dict[str, Any] = info
    return found


def with_more(place: Path, key: str, value: Any) -> dict[str, Any]:
    info = copy.deepcopy(RICH)
    at(info, place)[key] = value
    return info


def captured(info: Mapping[str, Any]) -> Manifest:
    """A manifest of it, as it is read again from its bytes."""
    manifest = made.manifest().model_copy(update={"collection_info": json.dumps(info)})
    return Manifest.from_bytes(manifest.to_bytes(), where="here")


@given(place=st.sampled_from(PLACES), key=keys, value=values)
def test_an_unknown_setting_survives_and_its_loss_is_told(
    place: Path, key: str, value: Any
) -> None:
    """Anywhere: from the server's answer over the manifest into the calls that make it again."""
    info = with_more(place, key, value)
    kept = captured(info).info
    assert kept == info
    body = creation_body(kept, replication_factor=None, clustered=True)
    indexes = [index_body(field, entry) for field, entry in kept["payload_schema"].items()]
    of_params = [key] if place == ("config", "params") else []
    again = body_to_info(body, indexes, of_params)
    assert differences(kept, again) == ()
    assert at(again, place)[key] == value
    for less in (RICH, with_more(place, key, ["another"])):
        if value != ["another"] or less is RICH:
            assert any(key in said for said in differences(kept, less)), place
            assert any(key in said for said in differences(less, kept)), place


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ({"binary": {}}, None),
        ({"turbo": {}}, {"binary": {}}),
        ({"turbo": {"bits": "bits4"}}, {"turbo": {}}),
        ({"of 2027": {"always_ram": None}}, None),
    ],
)
def test_a_quantization_with_its_defaults_is_a_setting(was: Any, now: Any) -> None:
    """A server tells them as an empty object: lost, that must be seen."""
    before, after = (with_more(("config",), "quantization_config", q) for q in (was, now))
    assert differences(before, after)
    assert differences(after, before)
    assert not differences(before, before)


def test_one_and_true_are_two_settings() -> None:
    before, after = (with_more(("config", "params"), "new", value) for value in (1, True))
    assert differences(before, after) == ("params.new is true, was 1",)


def test_settings_whose_names_hold_dots_are_not_taken_for_each_other() -> None:
    before = with_more(("config",), "metadata", {"a.b": 1, "a": {"b": 2}})
    after = with_more(("config",), "metadata", {"a.b": 2, "a": {"b": 2}})
    assert differences(before, after) == ("metadata.a.b is 2, was 1",)


@pytest.mark.parametrize(
    ("place", "key"),
    [
        (("config", "params", "vectors", "text"), "hnsw_config"),
        (("config", "params", "sparse_vectors", "words"), "index"),
        (("config",), "strict_mode_config"),
        (("config",), "metadata"),
    ],
)
def test_a_known_section_without_settings_is_none(place: Path, key: str) -> None:
    assert differences(with_more(place, key, {"x": None}), with_more(place, key, None)) == ()


def test_what_an_index_tells_beside_its_parameters_is_no_lost_index() -> None:
    """It may be a figure of a later server: said, and no reason to call a restore wrong."""
    before, after = (with_more(("payload_schema", "kw"), "bytes", n) for n in (1, 2))
    assert differences(before, after) == ("payload_schema.kw.bytes is 2, was 1",)


@pytest.mark.parametrize("words", [{"languages": ["b", "a"], "mode": 3}, ["b", "a"], 7])
def test_stopwords_of_another_form(words: Any) -> None:
    params = {"type": "text", "stopwords": words}
    told = with_more(("payload_schema", "txt"), "params", params)
    assert differences(told, told) == ()
    assert differences(told, RICH)


def test_vectors_are_the_same_whatever_is_null() -> None:
    """A target of the next minor version may tell more keys."""
    params = RICH["config"]["params"]
    more = copy.deepcopy(params)
    more["vectors"]["text"]["memory"] = None
    assert same_vectors(vectors_text(params), vectors_text(more))
    more["vectors"]["text"]["memory"] = "cold"
    assert not same_vectors(vectors_text(params), vectors_text(more))


def test_a_vector_may_be_called_size() -> None:
    only = {"size": 4, "distance": "Dot"}
    assert dense_vectors({"vectors": only}) == {"": only}
    assert dense_vectors({"vectors": {"size": only}}) == {"size": only}
    assert dense_vectors({}) == {}
