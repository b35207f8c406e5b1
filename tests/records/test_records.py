"""Records: one golden file of each kind, and nothing that was touched is ever believed."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import RecordDamaged, RecordError, RecordUnknown
from qdrant_dr.records import (
    Acknowledgement,
    Expired,
    Hold,
    Intent,
    LedgerEntry,
    ListedSnapshot,
    Manifest,
    Proof,
    Record,
    RunEnd,
    RunStart,
    Seal,
    SnapshotAnswer,
    UndoPart,
    UndoRecord,
    UndoSettled,
    base,
    canonical_json,
    format_time,
    parse_time,
)
from qdrant_dr.records.base import _without, parse_canonical
from qdrant_dr.records.evidence_bundle import EvidenceBundle
from qdrant_dr.records.export import ExportBegun, ExportManifest
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.records.repository import RepositoryRecord
from tests.support import records as made
from tests.support.thorough import examples

GOLDEN = Path(__file__).parent / "golden"
KINDS: dict[str, type[Record]] = {
    kind.KIND: kind
    for kind in (
        RepositoryRecord, Intent, SnapshotAnswer, Manifest, Seal, Proof, RunStart, RunEnd, Hold,
        Expired, Acknowledgement, KeySlot, LedgerEntry, ExportBegun, ExportManifest, EvidenceBundle,
        UndoPart, UndoRecord, UndoSettled,
    )
}  # fmt: skip


def sealed(body: dict[str, Any]) -> bytes:
    """A record with a digest that fits, whatever is in it."""
    body = {k: v for k, v in body.items() if k != "sha256"}
    return canonical_json({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()})


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> type[Record]:
    return KINDS[request.param]


@pytest.fixture
def golden(kind: type[Record]) -> bytes:
    return (GOLDEN / f"{kind.KIND}.json").read_bytes()


def test_every_kind_of_record_has_a_golden_file() -> None:
    assert {p.stem for p in GOLDEN.glob("*.json")} == set(KINDS)
    # a journal of a restore stays on its machine: it is no file of a repository
    known = {k for k in _all(Record) if k.__module__.startswith("qdrant_dr.records")}
    assert known == set(KINDS.values())


def _all(kind: type[Record]) -> set[type[Record]]:
    return {s for c in kind.__subclasses__() for s in ({c} | _all(c))}


def test_a_golden_file_is_read_and_written_again_byte_for_byte(
    kind: type[Record], golden: bytes
) -> None:
    record = kind.from_bytes(golden, where="golden")
    assert record.to_bytes() == golden
    assert record.sha256 == hashlib.sha256(golden).hexdigest()


def test_a_record_that_was_cut_is_damaged(kind: type[Record], golden: bytes) -> None:
    for length in (*range(0, len(golden), max(1, len(golden) // 200)), len(golden) - 1):
        with pytest.raises(RecordDamaged, match="golden"):
            kind.from_bytes(golden[:length], where="golden")
    with pytest.raises(RecordDamaged):
        kind.from_bytes(golden + b"\n", where="golden")


def test_a_record_with_any_byte_changed_is_refused(kind: type[Record], golden: bytes) -> None:
    for at in range(0, len(golden), max(1, len(golden) // 500)):
        for flip in (0x01, 0x20, 0x80):
            touched = golden[:at] + bytes([golden[at] ^ flip]) + golden[at + 1 :]
            with pytest.raises(RecordError, match="golden"):
                kind.from_bytes(touched, where="golden")


def test_a_newer_format_a_new_field_and_another_kind_are_unknown(
    kind: type[Record], golden: bytes
) -> None:
    body = json.loads(golden)
    for change in ({"format": 2}, {"kind": "something"}, {"a_field_of_tomorrow": 1}):
        with pytest.raises(RecordUnknown, match="golden"):
            kind.from_bytes(sealed({**body, **change}), where="golden")


def test_a_missing_field_is_damage_even_with_a_good_digest(
    kind: type[Record], golden: bytes
) -> None:
    body = json.loads(golden)
    required = [n for n, f in kind.model_fields.items() if f.is_required()]
    assert required
    for name in required:
        with pytest.raises(RecordDamaged, match=name):
            kind.from_bytes(sealed({k: v for k, v in body.items() if k != name}), where="golden")


def test_a_record_without_a_digest_or_with_a_key_twice_is_damaged(
    kind: type[Record], golden: bytes
) -> None:
    body = json.loads(golden)
    del body["sha256"]
    with pytest.raises(RecordDamaged, match="no digest"):
        kind.from_bytes(canonical_json(body), where="golden")
    with pytest.raises(RecordDamaged, match="twice"):
        kind.from_bytes(b'{"format":1,' + golden[1:], where="golden")


@pytest.mark.parametrize("other", [b"", b"[]", b"null", b"1", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_record_at_all_is_damaged(kind: type[Record], other: bytes) -> None:
    with pytest.raises(RecordDamaged):
        kind.from_bytes(other, where="golden")


def test_spaces_and_another_order_are_not_canonical(kind: type[Record], golden: bytes) -> None:
    body = json.loads(golden)
    for text in (json.dumps(body), json.dumps(dict(reversed(body.items())), separators=(",", ":"))):
        if text.encode() != golden:
            with pytest.raises(RecordDamaged, match="canonical"):
                kind.from_bytes(text.encode(), where="golden")


def test_a_manifest_has_no_floats() -> None:
    def refuse(text: str) -> object:
        raise AssertionError(f"a float: {text}")

    json.loads((GOLDEN / "manifest.json").read_bytes(), parse_float=refuse)


@pytest.mark.parametrize(
    "other",
    [
        b'{"a":NaN,"sha256":"x"}',
        b'{"a":-Infinity}',
        b'{"a":1e999,"sha256":"x"}',
        b'{"a":"\\ud800","sha256":"x"}',
        b'{"\\ud800":1,"\\ud800":2}',
        b'{"a":1,"sha256":"\\ud800"}',
        b'{"a":1,"sha256":NaN}',
        b'{"a":' + b"[" * 900 + b"]" * 900 + b',"sha256":"x"}',
    ],
)
def test_what_json_must_not_hold_is_damage(kind: type[Record], other: bytes) -> None:
    with pytest.raises(RecordDamaged) as e:
        kind.from_bytes(other, where="golden")
    str(e.value).encode()


def refused_or_read(kind: type[Record], data: bytes) -> None:
    """Whatever the bytes are: a record, or an error of the tree that can be written down."""
    try:
        kind.from_bytes(data, where="x")
    except RecordError as e:
        str(e).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["sha256", "kind", "format"]), inner)
    ),
    max_leaves=12,
)
ANY_KIND = st.sampled_from(sorted(KINDS)).map(KINDS.__getitem__)


@given(kind=ANY_KIND, data=st.binary())
def test_any_bytes_are_refused_in_words(kind: type[Record], data: bytes) -> None:
    with pytest.raises(RecordDamaged):
        kind.from_bytes(data, where="x")


@settings(max_examples=examples(200))
@given(kind=ANY_KIND, value=JSON)
def test_any_json_is_refused_in_words(kind: type[Record], value: Any) -> None:
    with pytest.raises(RecordDamaged):
        kind.from_bytes(json.dumps(value).encode(), where="x")


@settings(max_examples=examples(300))
@given(kind=ANY_KIND, data=st.data())
def test_any_value_under_a_good_digest_is_read_or_refused_in_words(
    kind: type[Record], data: st.DataObject
) -> None:
    body = json.loads((GOLDEN / f"{kind.KIND}.json").read_bytes())
    at: Any = body
    while True:  # down to a place anywhere in the record
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        below = at[key]
        if not (isinstance(below, dict | list) and below) or data.draw(st.booleans()):
            break
        at = below
    at[key] = data.draw(JSON)
    try:
        whole = sealed(body)
    except ValueError:  # it is no JSON that could have a digest
        whole = json.dumps(body).encode()
    refused_or_read(kind, whole)


TEXT = st.text(max_size=40).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t))
TIME = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1))  # noqa: DTZ001


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("sha256"), inner),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON, max_size=5), JSON)
def test_what_is_left_without_the_digest_is_what_encoding_it_again_gives(
    body: dict[str, Any], digest: Any
) -> None:
    rest = canonical_json({k: v for k, v in body.items() if k != "sha256"})
    assert _without(canonical_json({**body, "sha256": digest}), digest) in (rest, None)


NUMBERS = st.sampled_from(
    ["1", "-0", "0.0", "1.5", "1e16", "1e+16", "1E3", "9" * 19, "9" * 30, "01", "NaN", "-1", "1."]
)
WRITTEN = st.recursive(
    NUMBERS | st.sampled_from(
        ["null", '"a"', '"\\u0061"', '"\\n"',
         '"\\u000a"', '"\\u001F"', '"\\u001f"', '"\\/"', '"\x7f"',
         '"\\ud800"', '"\u2028"', '"\U0001f600"', '"\x01"', '",1.5"'],
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda x: "[" + ",".join(x) + "]")
        | st.lists(
            st.tuples(st.sampled_from(["a", "b", "\u00e9", "\uffff", "\U00010000"]), inner),
            max_size=3,
        ).map(lambda x: "{" + ",".join(f'"{k}":{v}' for k, v in x) + "}")
    ),
    max_leaves=6,
)  # fmt: skip
"""JSON as a stranger may write it: canonical only now and then, and not always JSON at all."""


def outcome(data: bytes) -> tuple[str, str]:
    """What parsing gives, with its types; or why it is refused."""
    try:
        return "parsed", repr(parse_canonical(data, where="x"))
    except RecordDamaged as e:
        return "refused", e.message


@settings(max_examples=400)
@given(WRITTEN, st.booleans())
def test_the_fast_way_to_parse_believes_nothing_that_the_slow_way_refuses(
    value: str, last: bool
) -> None:
    """A digest that fits the very bytes, so that only the form decides."""
    rest = f'{{"at":{value}}}'.encode()
    member = f'"sha256":"{hashlib.sha256(rest).hexdigest()}"'.encode()
    inside = rest[1:-1]
    data = b"{" + (inside + b"," + member if last else member + b"," + inside) + b"}"
    with pytest.MonkeyPatch.context() as patch:
        fast = outcome(data)
        patch.setattr(base, "_fast", lambda _: None)
        slow = outcome(data)
    assert fast == slow


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"unknown": 1}, RecordUnknown),
        ({"number": "seven"}, RecordDamaged),
        ({"number": 7.5}, RecordDamaged),
        ({"records": {}}, RecordDamaged),
        ({"records": [{"path": "x", "sha256": "A" * 64, "size_bytes": 1}]}, RecordDamaged),
        ({"records": [{"path": 7, "sha256": "a" * 64, "size_bytes": 1}]}, RecordDamaged),
        ({"heads": [{"repository_id": "0a0b0c0d", "number": 1}]}, RecordDamaged),
        ({"at": "2026-11-22T10:15:30Z"}, RecordDamaged),
        ({"format": 2}, RecordUnknown),
        ({"kind": "proof"}, RecordUnknown),
    ],
    ids=str,
)
def test_an_entry_whose_digest_fits_is_refused_for_what_is_in_it(
    change: dict[str, Any], error: type[RecordError]
) -> None:
    body = json.loads((GOLDEN / "ledger-entry.json").read_bytes())
    with pytest.raises(error):
        LedgerEntry.from_bytes(sealed({**body, **change}), where="x")


def test_a_digest_that_stands_there_twice_is_not_cut_out() -> None:
    digest = "b" * 64
    assert _without(canonical_json({"sha256": digest, "z": {"sha256": digest}}), digest) is None
    assert _without(canonical_json({"a": 1, "sha256": digest}), digest) == b'{"a":1}'


@pytest.mark.parametrize(
    "text",
    ["2026-11-30", "2026-11-30T10:00:00.000000+00:00", "2026-13-30T10:00:00.000000Z",
     "2026-11-30T25:00:00.000000Z", "2026-11-30T10:00:00.000000Z\n", "\u0662026-11-30T10:00:00Z"],
)  # fmt: skip
def test_another_form_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|month|hour|data"):
        parse_time(text)


@given(at=TIME)
def test_a_time_is_written_and_read_with_its_microseconds(at: datetime) -> None:
    assert parse_time(format_time(at)) == at


@settings(max_examples=examples(60))
@given(
    collection=TEXT.filter(bool),
    note=TEXT,
    doubts=st.lists(TEXT, max_size=3),
    at=TIME.filter(lambda t: t.year > 999),
    offset=st.integers(-(2**53), 2**53),
)
def test_any_manifest_survives_the_way_through_its_bytes(
    collection: str, note: str, doubts: list[str], at: datetime, offset: int
) -> None:
    plain = made.manifest()
    record = plain.model_copy(
        update={
            "collection": collection,
            "note": note,
            "doubts": tuple(doubts),
            "captured_at": at,
            "clock_offset_ms": offset,
        }
    )
    data = record.to_bytes()
    again = Manifest.from_bytes(data, where="x")
    assert again == record
    assert again.to_bytes() == data


@settings(max_examples=examples(60))
@given(
    names=st.lists(TEXT, max_size=5),
    sizes=st.integers(0, 2**62),
    at=TIME.filter(lambda t: t.year > 999),
)
def test_any_intent_survives_the_way_through_its_bytes(
    names: list[str], sizes: int, at: datetime
) -> None:
    record = Intent(
        run_id="r",
        backup_id="b",
        cluster="c",
        collection="movies",
        node="n",
        started_at=at,
        listed_before=tuple(ListedSnapshot(name=n, size_bytes=sizes) for n in names),
        tool_version="0.1.0",
    )
    assert Intent.from_bytes(record.to_bytes(), where="x") == record


def test_a_digest_is_of_the_record_that_is_asked(golden: bytes, kind: type[Record]) -> None:
    read = kind.from_bytes(golden, where="golden")
    assert read.sha256 == hashlib.sha256(golden).hexdigest()
    assert read == kind.model_validate(read.model_dump())  # one knows its digest, one does not


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_copy_with_another_value_has_another_digest(asked_before: bool) -> None:
    record = made.manifest()
    before = record.sha256 if asked_before else None
    changed = record.model_copy(update={"collection": "another"})
    assert changed.sha256 == hashlib.sha256(changed.to_bytes()).hexdigest() != before
    assert record.model_copy(deep=True).sha256 == record.sha256


@pytest.mark.parametrize(
    ("kind", "field"), [(RepositoryRecord, "layout"), (KeySlot, "locked_by")], ids=str
)
def test_a_form_of_a_later_version_is_unknown_and_not_damaged(
    kind: type[Record], field: str
) -> None:
    body = json.loads((GOLDEN / f"{kind.KIND}.json").read_bytes())
    with pytest.raises(RecordUnknown, match="of a later version"):
        kind.from_bytes(sealed({**body, field: "folded"}), where="golden")
    with pytest.raises(RecordDamaged):
        kind.from_bytes(sealed({**body, field: 7}), where="golden")
