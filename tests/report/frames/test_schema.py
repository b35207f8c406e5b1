"""The declared types are those of empty and full frames, in pandas, Parquet and the docs."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qdrant_dr.report.frames.of_runs import PHASES
from qdrant_dr.report.frames.parquet_table import NoneOf, parquet_bytes
from qdrant_dr.report.frames.schema import (
    BY_NAME,
    FRAMES,
    FrameSchema,
    frames_json,
    frames_markdown,
)
from tests.support.records import NOW
from tests.support.worlds import evidence, frames, good


def test_empty_and_full_frames_have_the_same_types() -> None:
    empty, full = frames(evidence()), frames(good())
    assert list(empty) == list(full) == [f.name for f in FRAMES]
    for schema in FRAMES:
        assert list(full[schema.name]) == [c.name for c in schema.columns]
        assert full[schema.name].dtypes.to_dict() == empty[schema.name].dtypes.to_dict()
    for name in ("collections", "runs", "backups", "copies", "drills", "drill_phases"):
        assert len(full[name]) > 0


def test_every_frame_says_its_as_of_and_parquet_keeps_types_units_and_meanings() -> None:
    for name, frame in frames(good()).items():
        assert frame.attrs["as_of"] == NOW.isoformat()
        table = pq.read_table(io.BytesIO(parquet_bytes(frame, BY_NAME[name])))
        assert table.schema.metadata[b"as_of"] == NOW.isoformat().encode()
        assert table.num_rows == len(frame)
        for field, column in zip(table.schema, BY_NAME[name].columns, strict=True):
            assert field.metadata[b"unit"].decode() == column.unit
            assert field.metadata[b"meaning"]
            if isinstance(column.type, tuple):
                kept = pa.types.is_dictionary if len(frame) else lambda t: isinstance(t, NoneOf)
                assert kept(field.type)
            else:
                assert field.type == BY_NAME[name].arrow().field(field.name).type


def test_keys_are_columns_and_unique() -> None:
    for schema in FRAMES:
        assert set(schema.key) <= {c.name for c in schema.columns}
        assert not frames(good("a", "b"))[schema.name].duplicated(list(schema.key)).any()


def phases(**changes: object) -> dict[str, object]:
    body = dict.fromkeys(c.name for c in BY_NAME["drill_phases"].columns)
    return {**body, "drill_id": "d", "phase": "ready", **changes}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([phases(), phases()], "the same key"),
        ([phases(phase="nap")], "phase is one of"),
        ([{**phases(), "mood": "good"}], "mood"),
        ([{"drill_id": "d"}], "columns differ"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BY_NAME["drill_phases"].build(rows, as_of=NOW)


def test_categories_are_ordered() -> None:
    frame = BY_NAME["drill_phases"].build([phases(phase=p) for p in PHASES[::-1]], as_of=NOW)
    assert list(frame.sort_values("phase")["phase"]) == list(PHASES)


def test_the_docs_are_in_step() -> None:
    page = Path(__file__).parents[3] / "docs" / "frames.md"
    assert page.read_text() == frames_markdown(), (
        "write docs/frames.md anew: "
        "python -c 'from qdrant_dr.report.frames.schema import *; "
        'print(frames_markdown(), end="")\''
    )


def test_the_schema_as_json_has_every_column() -> None:
    told = {f["name"]: [c["name"] for c in f["columns"]] for f in frames_json()["frames"]}
    assert told == {f.name: [c.name for c in f.columns] for f in FRAMES}
    assert all(isinstance(f, FrameSchema) and f.row for f in FRAMES)
