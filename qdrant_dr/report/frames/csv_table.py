"""Frames as CSV that a spreadsheet cannot be tricked with: equal frames, equal bytes."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Any

import pandas as pd

from qdrant_dr.records import format_time

# a cell that starts so is taken for a formula by spreadsheets; the wide forms by some of them too
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """As RFC 4180 has it, in UTF-8; times as RFC 3339; an empty cell was not measured.

    Text that a spreadsheet would run is preceded by an apostrophe, as it does itself.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(frame.columns)
    columns = [frame[name].astype(object).where(frame[name].notna(), None) for name in frame]
    writer.writerows([_cell(value) for value in row] for row in zip(*columns, strict=True))
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return format_time(value)
    text = str(value)
    # what cannot be seen before it does not keep a spreadsheet from taking it for a formula
    first = next((c for c in text if c.isprintable() and not c.isspace()), "")
    risky = isinstance(value, str) and (first in _FORMULA or text.startswith(_FORMULA))
    return f"'{text}" if risky else text
