"""What was written as Parquet is read back by pandas as it was: types, categories, order, attrs."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from qdrant_dr.report.frames.columns import COUNT, FLAG, NUMBER, TEXT, TIME, Column, FrameSchema
from qdrant_dr.report.frames.parquet_table import parquet_bytes
from qdrant_dr.report.frames.schema import FRAMES
from tests.support.records import NOW
from tests.support.worlds import evidence, frames, good

VALUES: dict[str, Any] = {
    TEXT: lambda n: f"\u00e9 {n}",
    COUNT: lambda n: 2**62 + n,  # a float would lose its last digits
    NUMBER: lambda n: n / 3,
    FLAG: lambda n: n % 2 == 0,
    TIME: lambda n: NOW + timedelta(days=n, microseconds=n),
}


def value(column: Column, n: int) -> Any:
    return column.type[0] if isinstance(column.type, tuple) else VALUES[column.type](n)


def sample(schema: FrameSchema, rows: str) -> pd.DataFrame:
    """A frame whose every column has values, none, or both; or without rows."""
    full = [{c.name: value(c, n) for c in schema.columns} for n in range(3)]
    missing = [{name: v if name in schema.key else None for name, v in row.items()} for row in full]
    made = {"full": full, "missing": missing, "mixed": [full[0], *missing[1:]], "empty": []}
    return schema.build(made[rows], as_of=NOW)


def back(schema: FrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(parquet_bytes(frame, schema)))


@pytest.mark.parametrize("rows", ["full", "missing", "mixed", "empty"])
@pytest.mark.parametrize("schema", FRAMES, ids=lambda s: s.name)
def test_pandas_gives_back_the_frame(schema: FrameSchema, rows: str) -> None:
    frame = sample(schema, rows)
    got = back(schema, frame)
    assert_frame_equal(got, frame)
    assert got.attrs == frame.attrs == {"frame": schema.name, "as_of": NOW.isoformat()}
    for column in schema.columns:
        assert got[column.name].dtype == column.dtype
        if isinstance(column.type, tuple):
            assert tuple(got[column.name].cat.categories) == column.type
            assert got[column.name].cat.ordered


@pytest.mark.parametrize("of", [evidence(), good("a", "b")], ids=["empty", "good"])
def test_frames_of_evidence_come_back_too(of: Any) -> None:
    made = frames(of)
    for schema in FRAMES:
        assert_frame_equal(back(schema, made[schema.name]), made[schema.name])


def test_frames_of_several_reports_can_be_joined() -> None:
    """Without rows, the types would widen to objects."""
    for schema in FRAMES:
        joined = pd.concat([back(schema, sample(schema, "empty")), sample(schema, "full")])
        assert joined.dtypes.to_dict() == {c.name: c.dtype for c in schema.columns}


def test_where_this_package_was_not_imported_only_categories_without_rows_are_text(
    tmp_path: Path,
) -> None:
    for schema in FRAMES:
        for rows in ("full", "empty"):
            data = parquet_bytes(sample(schema, rows), schema)
            (tmp_path / f"{schema.name}.{rows}").write_bytes(data)
    code = (
        "import pandas as pd, pathlib, sys\n"
        "for p in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    f = pd.read_parquet(p)\n"
        "    print(p.name, *(f'{n}={t}' for n, t in f.dtypes.items()), sep='|')\n"
        "assert 'qdrant_dr' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = {line.split("|")[0]: line.split("|")[1:] for line in done.stdout.splitlines()}
    for schema in FRAMES:
        for rows, category in (("full", "category"), ("empty", "str")):
            assert told[f"{schema.name}.{rows}"] == [
                f"{c.name}={category if isinstance(c.type, tuple) else c.type}"
                for c in schema.columns
            ]
