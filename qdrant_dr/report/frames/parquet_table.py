"""Write frames as Parquet that `pandas.read_parquet` reads back as they were."""

from __future__ import annotations

import io
import json
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qdrant_dr.report.frames.columns import FrameSchema


def parquet_bytes(frame: pd.DataFrame, schema: FrameSchema) -> bytes:
    """Write the types, units and meanings of the schema, and what pandas needs to build the same
    frame: its types, the values of its categories in their order, its `attrs`."""
    table = pa.Table.from_pandas(frame, schema=schema.arrow(), preserve_index=False)
    if frame.empty:
        table = table.cast(_with_values(table.schema, schema))
    own = {"frame": frame.attrs["frame"], "as_of": frame.attrs["as_of"]}
    table = table.replace_schema_metadata({**table.schema.metadata, **own})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _with_values(arrow: pa.Schema, schema: FrameSchema) -> pa.Schema:
    for place, column in enumerate(schema.columns):
        if isinstance(column.type, tuple):
            arrow = arrow.set(place, arrow.field(place).with_type(NoneOf(column.type)))
    return arrow


class NoneOf(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """An ordered category in a frame without rows.

    Parquet stores the values of a category beside the rows, so nowhere if there are none: this type
    carries them. Readers that do not know it see text.
    """

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values
        super().__init__(pa.string(), "qdrant_dr.category")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps(self.values).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Self:
        return cls(tuple(json.loads(serialized)))

    def to_pandas_dtype(self) -> Any:
        return _Category(self.values)


class _Category(pd.CategoricalDtype):
    """What Arrow asks to build the column; the column itself has pandas' own type."""

    def __init__(self, values: tuple[str, ...]) -> None:
        super().__init__(pd.Index(values, dtype="str"), ordered=True)

    def __from_arrow__(self, array: pa.ChunkedArray) -> pd.Categorical:
        same = pd.CategoricalDtype(self.categories, ordered=True)
        return pd.Categorical(array.to_pylist(), dtype=same)


pa.register_extension_type(NoneOf(()))
