"""The parts of a frame: typed columns with unit and meaning, a key, and checked rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd
import pyarrow as pa

TEXT: Final = "string"
COUNT: Final = "Int64"
NUMBER: Final = "Float64"
FLAG: Final = "boolean"
TIME: Final = "datetime64[us, UTC]"

_ARROW: Final = {
    TEXT: pa.string(),
    COUNT: pa.int64(),
    NUMBER: pa.float64(),
    FLAG: pa.bool_(),
    TIME: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Column:
    """`type` is a pandas type, or the values of an ordered category, lowest first."""

    name: str
    type: str | tuple[str, ...]
    unit: str
    meaning: str

    @property
    def dtype(self) -> Any:
        if isinstance(self.type, tuple):
            return pd.CategoricalDtype(pd.Index(self.type, dtype="str"), ordered=True)
        return pd.StringDtype("pyarrow") if self.type == TEXT else self.type

    @property
    def type_name(self) -> str:
        if isinstance(self.type, tuple):
            return "category: " + " < ".join(self.type)
        return self.type

    def series(self, values: Sequence[Any]) -> pd.Series[Any]:
        """Build a typed column. Raise ValueError for a value that the category does not have."""
        if isinstance(self.type, tuple):
            foreign = {v for v in values if v is not None} - set(self.type)
            if foreign:
                raise ValueError(f"{self.name} is one of {self.type}, not {sorted(foreign)}")
        data = pd.DatetimeIndex(list(values), dtype=TIME) if self.type == TIME else list(values)
        typed: pd.Series[Any] = pd.Series(data, dtype=self.dtype, name=self.name)
        return typed


@dataclass(frozen=True)
class FrameSchema:
    """One frame: what a row stands for, its key columns, and what each column means."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def build(self, rows: Sequence[Mapping[str, Any]], *, as_of: datetime) -> pd.DataFrame:
        """Build a typed frame from rows with exactly these columns; `None` becomes NA.

        Raise ValueError for a row with other columns, or for two rows with one key.
        """
        names = [c.name for c in self.columns]
        for row in rows:
            if set(row) != set(names):
                raise ValueError(f"{self.name}: columns differ: {sorted(set(row) ^ set(names))}")
        keys = [tuple(row[k] for k in self.key) for row in rows]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.name}: two rows have the same key {self.key}")
        frame = pd.DataFrame({c.name: c.series([r[c.name] for r in rows]) for c in self.columns})
        frame.attrs |= {"frame": self.name, "as_of": as_of.isoformat()}
        return frame

    def arrow(self) -> pa.Schema:
        """Return the same types for Parquet."""
        return pa.schema(
            [
                pa.field(
                    c.name,
                    pa.dictionary(pa.int8(), pa.string(), ordered=True)
                    if isinstance(c.type, tuple)
                    else _ARROW[c.type],
                    metadata={"unit": c.unit, "meaning": c.meaning},
                )
                for c in self.columns
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `qdrant-dr schema frames` prints."""
        return {
            "name": self.name,
            "row": self.row,
            "key": list(self.key),
            "columns": [
                {
                    "name": c.name,
                    "type": "category" if isinstance(c.type, tuple) else c.type,
                    "values": list(c.type) if isinstance(c.type, tuple) else None,
                    "unit": c.unit or None,
                    "meaning": c.meaning,
                }
                for c in self.columns
            ],
        }


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame; None where nothing was measured."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def frame(name: str, row: str, key: tuple[str, ...], *columns: Column) -> FrameSchema:
    return FrameSchema(
        name,
        row,
        key,
        (
            Column("cluster", TEXT, "", "name of the cluster in the configuration"),
            Column(
                "source_kind",
                ("sandbox", "server"),
                "",
                "what was backed up: a real server, or the sandbox of the demo",
            ),
            *columns,
        ),
    )
