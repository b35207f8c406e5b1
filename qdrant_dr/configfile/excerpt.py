"""Show a line of the configuration with a mark below it, without anything that may be a secret."""

from __future__ import annotations

import re

from qdrant_dr.configfile.plaintext import is_secret_key
from qdrant_dr.text import printable

WIDTH = 100
HIDDEN = "..."
_KEY = re.compile(r"([\w.-]+)[\"']?[ \t]*:")
_DOUBTFUL = re.compile(
    r"\S*@\S*"  # a user in a URL, or part of one
    r"|[?&]\S*=\S*|[\w-]+=\S+"  # a query, a connection string
    r"|[^\s\"'\[\]{},:/.]{24,}"  # a key in the wrong place
)


def excerpt(lines: list[str], line: int, column: int) -> str:
    """Return two lines: the line (from 1), cut to terminal width, and a mark below the column.

    Empty if there is nothing to show.
    """
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    shown = printable(_without_secrets(lines, line - 1, text).replace("\t", " ")).rstrip()
    if not shown:
        return ""
    at = min(column - 1, len(shown))
    begin = max(0, at - WIDTH // 2) if len(shown) > WIDTH else 0
    return f"    {shown[begin : begin + WIDTH]}\n    {' ' * (at - begin)}^"


def _without_secrets(lines: list[str], index: int, text: str) -> str:
    """Leave out every value of a secret key, and whatever looks like a secret."""
    if not _KEY.search(text) and _continues_a_secret(lines, index):
        return text[: len(text) - len(text.lstrip())] + HIDDEN
    for key in _KEY.finditer(text):
        if is_secret_key(key[1]):
            text = f"{text[: key.end()]} {HIDDEN}"
            break
    return _DOUBTFUL.sub(HIDDEN, text)


def _continues_a_secret(lines: list[str], index: int) -> bool:
    """Say whether the nearest key above is that of a secret, whose value may continue here."""
    for line in reversed(lines[:index]):
        if keys := _KEY.findall(line):
            return any(is_secret_key(key) for key in keys)
    return False
