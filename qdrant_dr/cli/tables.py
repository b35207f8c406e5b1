"""Lay out rows for people: a table if it fits the terminal; else without columns that can be spared
and with wrapped cells, or as a list, whichever is shorter.

No cell is cut off: ids and commands are there to be copied.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qdrant_dr.cli.session import Column, Row
from qdrant_dr.text import printable

ABSENT = "-"
GAP = "  "
READABLE = 12
"""A cell of several words is not wrapped into less."""


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is; None for a file or a pipe, where `grep`
    and `awk` want a line per row."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(rows: Sequence[Row], columns: Sequence[Column], width: int | None = None) -> str:
    """Lay out columns two spaces apart, in lines of at most `width` where one is given."""
    if width is None:
        grid = _Grid.of(rows, columns)
        return grid.written(grid.wanted)
    shown = list(columns)
    grid = _Grid.of(rows, shown)
    if not rows:
        return grid.written(grid.wanted)
    while _sum(grid.least) > width and len(shown) > 1 and (spare := [c for c in shown if c.spare]):
        shown.remove(min(spare, key=lambda c: c.spare))
        grid = _Grid.of(rows, shown)
    as_list = _as_list(rows, columns, width)
    if _sum(grid.least) > width:
        return as_list
    text = grid.written(grid.shared(width))
    if _sum(grid.wanted) > width and as_list.count("\n") < text.count("\n"):
        return as_list
    if away := [c.heading for c in columns if c not in shown]:
        note = f"no room for {', '.join(away)}: `--json` has everything"
        text += "".join(f"{line}\n" for line in wrap(note, width))
    return text


def _as_list(rows: Sequence[Row], columns: Sequence[Column], width: int) -> str:
    heads, *cells = _Grid.of(rows, columns).lines
    return "\n".join(listed(list(zip(heads, row, strict=True)), width) for row in cells)


@dataclass(frozen=True)
class _Grid:
    """The cells of a table, the headings first."""

    columns: Sequence[Column]
    lines: Sequence[Sequence[str]]

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Sequence[Column]) -> _Grid:
        cells = [[_cell(row.get(c.key), c) for c in columns] for row in rows]
        return cls(columns, [[c.heading for c in columns], *cells])

    @cached_property
    def wanted(self) -> list[int]:
        """Return the widths in which no cell is wrapped."""
        return [max(map(_wide, column)) for column in zip(*self.lines, strict=True)]

    @cached_property
    def least(self) -> list[int]:
        """Return the widths below which a cell is hard to read; figures are never wrapped."""
        words = [max(map(_least, column)) for column in zip(*self.lines, strict=True)]
        pairs = zip(self.columns, self.wanted, words, strict=True)
        return [wanted if c.right else least for c, wanted, least in pairs]

    def shared(self, width: int) -> list[int]:
        """Give what is left above the least to the narrowest columns that want more."""
        widths = list(self.least)
        for _ in range(width - _sum(widths)):
            short = [i for i, wide in enumerate(widths) if wide < self.wanted[i]]
            if not short:
                break
            widths[min(short, key=widths.__getitem__)] += 1
        return widths

    def written(self, widths: Sequence[int]) -> str:
        written = []
        for line in self.lines:
            wrapped = [list(wrap(text, wide)) for text, wide in zip(line, widths, strict=True)]
            for n in range(max(map(len, wrapped))):
                parts = [part[n] if n < len(part) else "" for part in wrapped]
                written.append(GAP.join(map(_pad, parts, widths, self.columns)).rstrip())
        return "\n".join(written) + "\n"


def listed(facts: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Lay out one fact a line, its name in front, in lines of at most `width`."""
    margin = max((_wide(name) for name, _ in facts), default=0) + len(GAP)
    written = []
    for name, words in facts:
        room = None if width is None else max(width - margin, 1)
        for n, part in enumerate(wrap(words, room) if room else [words]):
            head = name + " " * (margin - _wide(name)) if n == 0 else " " * margin
            written.append((head + part).rstrip())
    return "\n".join(written) + "\n"


def wrap(text: str, width: int) -> Iterator[str]:
    """Break between words; a word that is wider than all the room, within it."""
    if _wide(text) <= width:
        yield text
        return
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if _wide(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *full, line = _chopped(word, width)
        yield from full
    yield line


def _cell(value: Any, column: Column) -> str:
    return ABSENT if value is None else printable(column.write(value))


def _least(text: str) -> int:
    """Count the columns below which this cell would be hard to read."""
    longest = max(map(_wide, text.split(" ")))
    return max(longest, min(_wide(text), READABLE))


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _pad(text: str, width: int, column: Column) -> str:
    blank = " " * (width - _wide(text))
    return blank + text if column.right else text + blank


def _wide(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _chopped(word: str, width: int) -> list[str]:
    parts = [""]
    for character in word:
        if parts[-1] and _wide(parts[-1] + character) > width:
            parts.append("")
        parts[-1] += character
    return parts
