"""Write frames as CSV without spreadsheet formulas: equal frames give equal bytes."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Any

import pandas as pd

from qdrant_dr.records import format_time

# spreadsheets take a cell that starts like this for a formula, some also the wide forms
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Write RFC 4180 in UTF-8; times as RFC 3339; an empty cell was not measured.

    Text that a spreadsheet would run as a formula gets a leading apostrophe, its own escape.
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
    # invisible characters before it do not stop a spreadsheet from taking it for a formula
    first = next((c for c in text if c.isprintable() and not c.isspace()), "")
    risky = isinstance(value, str) and (first in _FORMULA or text.startswith(_FORMULA))
    return f"'{text}" if risky else text
