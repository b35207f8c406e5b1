"""The page with every option of every command, from the commands themselves.

python -m deployments.tools.options_page > docs/options.md
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal

from cyclopts import App

from qdrant_dr.cli.app import build, with_globals
from qdrant_dr.cli.commands import EVERY_COMMAND
from qdrant_dr.cli.session import Session

HEAD = """\
# Every option

Made from the commands by `python -m deployments.tools.options_page`; a test compares it.
[Commands](commands.md) says what they do and when you need them.
"""
UNTOLD: tuple[Any, ...] = (None, False, (), [])
"""Defaults that say no more than that the option is not given."""


def page() -> str:
    """Write the page."""
    app = with_globals(build(), Session())
    parts = [HEAD, "## Global options\n\nEvery command takes them, before or after its own.\n"]
    parts.append(_table(_rows(app.meta)))
    for name, (_, does, *examples) in EVERY_COMMAND.items():
        words = name.split()
        found = app
        for word in words:
            found = found[word]
        shown = "\n".join(["```sh", *examples, "```", ""])
        parts += [f"## {name}\n\n{does}\n", shown, _table(_rows(found))]
    return "\n".join(part for part in parts if part)


def _rows(app: App) -> Iterator[tuple[str, str, str]]:
    """Give each argument and option of a command: its names, its values, its meaning."""
    for argument in app.assemble_argument_collection(parse_docstring=True):
        if not argument.show:
            continue
        names = [n for n in argument.names if n.startswith("-")]
        if argument.index is not None:
            names = [argument.name.lstrip("-").upper().replace("-", "_")]
        meaning = " ".join((argument.parameter.help or "").split())
        default = argument.field_info.default
        if default not in UNTOLD and default is not argument.field_info.empty:
            meaning += f" Default: `{default}`."
        yield ", ".join(f"`{n}`" for n in names), _values(argument.hint), meaning.strip()


def _values(hint: Any) -> str:
    """Say what an option takes; a switch takes nothing."""
    if typing.get_origin(hint) is Literal:
        return " ".join(f"`{value}`" for value in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, UnionType, tuple, list):
        inner = [h for h in typing.get_args(hint) if h not in (type(None), ...)]
        several = typing.get_origin(hint) in (tuple, list)
        return _values(inner[0]) + ", repeatable" * several
    if hint is bool:
        return ""
    return "text" if hint is str else getattr(hint, "__name__", "text").lower()


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    if not cells:
        return ""
    written = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(["| option | takes | meaning |", "|---|---|---|", *written, ""])


if __name__ == "__main__":
    print(page(), end="")
