"""Lay out `--help`: text in the width there is, no defaults that say nothing, whole examples."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from cyclopts.help import DefaultFormatter, InlineText

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

SILENT = ("()", "[]", '""', "''", "False", "None", "")
"""Defaults that mean: if it is not given, nothing happens."""
INDENT = "  "
PIECE = re.compile(
    r"""-\S+(?:\ (?!-)(?:'[^']*'|\S+))?  # an option with its value
                     | '[^']*' | \S+""",
    re.VERBOSE,
)


class Formatter(DefaultFormatter):
    """The library's panels, with our words in them."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        entries = [
            entry.copy(
                default=None if entry.default in SILENT else entry.default,
                description=_flowing(entry.description),
            )
            for entry in panel.entries
        ]
        super().__call__(console, options, panel.copy(entries=entries))


def _flowing(text: object) -> object:
    """Undo the line breaks of a docstring, which were made for the source."""
    from rich.text import Text

    if not isinstance(text, InlineText) or not isinstance(text.primary_renderable, Text):
        return text
    paragraphs = text.primary_renderable.plain.split("\n\n")
    flowing = InlineText(Text("\n\n".join(" ".join(p.split()) for p in paragraphs)))
    flowing.texts = text.texts
    return flowing


def example(*lines: str) -> str:
    """Write commands that can be copied whole: a long one goes on after a backslash."""
    room = shutil.get_terminal_size().columns - len(INDENT)
    return "\n".join(["Example:", *(part for line in lines for part in _continued(line, room))])


def _continued(line: str, room: int) -> list[str]:
    if len(line) <= room:
        return [INDENT + line]
    parts = [""]
    for piece in PIECE.findall(line):
        if not parts[-1]:
            parts[-1] = piece
        elif len(f"{parts[-1]} {piece} \\") <= room:
            parts[-1] += f" {piece}"
        else:
            parts.append(INDENT + piece)
    return [f"{INDENT}{part} \\" for part in parts[:-1]] + [INDENT + parts[-1]]
