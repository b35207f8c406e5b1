"""Explain a figure: the records that it was computed from, by the rows of the frames. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdrant_dr.errors import NothingSelected, UsageError
from qdrant_dr.records import Record
from qdrant_dr.report.frames.columns import FrameSchema
from qdrant_dr.report.frames.provenance import Made, is_configured, records_of
from qdrant_dr.report.frames.schema import BY_NAME

SUMMARY: Final[Mapping[str, tuple[str, ...]]] = {
    "protected": ("collections.status",),
    "rpo": ("collections.rpo",),
    "rto": ("collections.rto",),
    "quorum": ("collections.copies_proven", "collections.domains_proven"),
}
"""The figures of the summary, by the columns that they are the worst or the number of."""


@dataclass(frozen=True)
class Cell:
    """One cell: its value, and the records that it was computed from. `configured`: no record tells
    it, the configuration does."""

    frame: str
    column: str
    key: tuple[str, ...]
    value: Any
    records: tuple[Record, ...]
    configured: bool

    @property
    def name(self) -> str:
        """Write it as it can be asked for again: `collections.rpo_seconds:movies`."""
        return f"{self.frame}.{self.column}:{','.join(self.key)}"


def explain(figure: str, rows: Mapping[str, Sequence[Made]]) -> tuple[Cell, ...]:
    """Return the cells of a figure: one of the summary, or FRAME.COLUMN, or FRAME.COLUMN:KEY.

    COLUMN is a column or the beginning of several (`collections.rpo`), KEY is one or more of the
    values by which the row is known, with commas (`movies` or `movies,aws`). Raise UsageError for
    a figure that is not known, NothingSelected if no row is meant.
    """
    name, _, key = figure.partition(":")
    columns = [c for each in SUMMARY.get(name, (name,)) for c in _columns(each)]
    cells = tuple(_cells(columns, key, rows))
    if not cells:
        frame = columns[0][0]
        known = [",".join(_key(frame, m)) for m in rows[frame.name]]
        raise NothingSelected(
            f"no row of `{frame.name}` is called {key!r}" if key else f"`{frame.name}` has no row",
            f"choose from {', '.join(known[:10])}{', ...' * (len(known) > 10)}."
            if known
            else "give another figure, or a longer --period.",
        )
    return cells


def _cells(
    columns: Sequence[tuple[FrameSchema, str]], key: str, rows: Mapping[str, Sequence[Made]]
) -> Iterator[Cell]:
    for frame, column in columns:
        for made in rows[frame.name]:
            found = _key(frame, made)
            if key and key not in found and not set(key.split(",")) <= set(found):
                continue
            yield Cell(
                frame.name,
                column,
                found,
                made.row[column],
                records_of(frame.name, column, made),
                is_configured(frame.name, column),
            )


def _key(frame: FrameSchema, made: Made) -> tuple[str, ...]:
    return tuple(str(made.row[name]) for name in frame.key)


def _columns(name: str) -> list[tuple[FrameSchema, str]]:
    """Return the columns that a name means: that column, else all that begin with it."""
    frame_name, _, wanted = name.partition(".")
    if (frame := BY_NAME.get(frame_name)) is None or not wanted:
        raise UsageError(
            f"there is no figure {name!r}",
            f"give {', '.join(SUMMARY)}, or FRAME.COLUMN of docs/frames.md, such as "
            "`collections.rpo_seconds:movies`.",
        )
    columns = [c.name for c in frame.columns]
    found = [wanted] if wanted in columns else [c for c in columns if c.startswith(f"{wanted}_")]
    if not found:
        raise UsageError(
            f"frame `{frame_name}` has no column {wanted!r}", f"choose from {', '.join(columns)}."
        )
    return [(frame, column) for column in found]
