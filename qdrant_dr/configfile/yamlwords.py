"""Explain YAML errors in words for people who do not know the grammar.

The parser says what it expected where it noticed the error, often a line too late, and quotes the
text, which may be a secret. So we take only the kind of error from its message; the place, the
words and what to write instead are ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import yaml

Place = tuple[int, int]
"""Line and column, from 0."""

_INDENT = "its indentation matches no line above: begin it in the same column as the keys beside it"
_QUOTE = 'put the whole value in quotes: "..."'
_OPENS = re.compile(r"(?:(?<=[\s:,\[{-])|^)([\"'])|(?:(?<=\s)|^)(#)")
_CLOSES = {'"': re.compile(r'(?:[^"\\]|\\.)*"'), "'": re.compile(r"(?:[^']|'')*'(?!')")}
_UNKNOWN = (
    "this cannot be read, unlike the lines above: check its indentation, colons, quotes and "
    "brackets"
)


@dataclass(frozen=True)
class _Met:
    """The text, and the places that the parser named: the error, and the start of its context."""

    lines: list[str]
    at: Place
    since: Place | None

    def line(self, place: Place) -> str:
        return self.lines[place[0]] if place[0] < len(self.lines) else ""

    def above(self, place: Place) -> tuple[int, str]:
        """Return the nearest line above that is not empty, and its number."""
        for i in reversed(range(place[0])):
            if line := self.lines[i].partition("#")[0].rstrip():
                return i, line
        return 0, ""

    def char(self, place: Place) -> str:
        return self.line(place)[place[1] : place[1] + 1]


Said = tuple[Place, str]


def explained(error: yaml.MarkedYAMLError, text: str) -> Said:
    """Say where the error is, and what to do there."""
    mark, context = error.problem_mark, error.context_mark
    at = (mark.line, mark.column) if mark else (0, 0)
    met = _Met(text.splitlines(), at, (context.line, context.column) if context else None)
    if (opened := _open_quote(met)) is not None:
        return opened, "the quote that is opened here is not closed on its line"
    said = f"{error.context or ''} {error.problem or ''}"
    place, words = next((say(met) for hint, say in _KINDS if hint in said), (at, _UNKNOWN))
    return _inside(place, met.lines), words


def _open_quote(met: _Met) -> Place | None:
    """Find an unclosed quote: the parser continues to the next quote, lines below, and fails
    there."""
    for i, line in enumerate(met.lines[: met.at[0] + 1]):
        if (column := _opened_in(line)) is not None:
            return i, column
    return None


def _opened_in(line: str) -> int | None:
    """Find a value that begins with a quote which its line does not close."""
    at = 0
    while match := _OPENS.search(line, at):
        if match[2]:
            return None
        if (closed := _CLOSES[match[1]].match(line, match.end())) is None:
            return match.start(1)
        at = closed.end()
    return None


def _inside(place: Place, lines: list[str]) -> Place:
    """Return the end of the last line that is not empty, for what is missing at the end of the
    file."""
    if place[0] < len(lines) and (place[1] or lines[place[0]].strip()):
        return place
    written = [i for i, line in enumerate(lines[: place[0] + 1]) if line.strip()]
    return (written[-1], len(lines[written[-1]].rstrip())) if written else (0, 0)


def _character(met: _Met) -> Said:
    if met.char(met.at) == "\t":
        return met.at, "there is a tab here: indent with spaces"
    return met.at, f"a value cannot begin with this character: {_QUOTE}"


def _no_colon(met: _Met) -> Said:
    at = met.since or met.at
    line = met.line(at)
    if match := re.match(r"\s*(?:-\s+)?[\w.-]+:(?=\S)", line):
        return (at[0], match.end()), "a space is missing after the colon: write `key: value`"
    if "\t" in line[: at[1]]:
        return (at[0], line.index("\t")), "there is a tab here: indent with spaces"
    return at, "this is not `key: value`: a colon and a space are missing after the key"


def _two_colons(met: _Met) -> Said:
    line = met.line(met.at)
    before = line[: met.at[1]]
    number, last = met.above(met.at)
    if last and not re.search(r":(\s|$)", last) and not last.lstrip().startswith("- "):
        return _no_colon(replace(met, at=(number, len(last) - len(last.lstrip())), since=None))
    if re.search(r":\s", before):
        return met.at, (
            "a second colon on a line that can hold one key: put a value that has `: ` in it in "
            "quotes"
        )
    if len(line) - len(line.lstrip()) > len(last) - len(last.lstrip()):
        begin = len(line) - len(line.lstrip())
        return (met.at[0], begin), (
            "this line is indented deeper than the one above, which has a value of its own: begin "
            "both in the same column"
        )
    return met.at, f"a colon cannot stand here: {_QUOTE} if it belongs to a value"


def _list_here(met: _Met) -> Said:
    return met.at, (
        "a list cannot begin on the line of its key: put each `- entry` on a line of its own "
        "below it, or write `[a, b]`"
    )


def _not_closed(met: _Met) -> Said:
    at = met.since or met.at
    kind = {"[": "]", "{": "}"}.get(met.char(at))
    if kind is None:
        return met.at, _UNKNOWN
    return at, (
        f"what is opened here is not closed with `{kind}`, or a comma is missing between two of "
        "its entries"
    )


def _quoted(met: _Met) -> Said:
    return met.since or met.at, "the quote that is opened here is never closed"


def _block(met: _Met) -> Said:
    line = met.line(met.at)
    before = line[: met.at[1]].rstrip()
    if match := re.match(r"\s*[\w.-]+(?=\s+[\[{])", line):
        return (met.at[0], match.end()), "a colon is missing after the key: write `key: value`"
    if before.endswith(('"', "'")):
        return met.at, (
            "there is text after a closing quote: put the whole value in one pair of quotes, and "
            "double a quote within it ('')"
        )
    if before.endswith(("]", "}")):
        return met.at, "there is text after a closing bracket: remove it, or put it in quotes"
    return met.at, _closing(met) or _INDENT


def _closing(met: _Met) -> str | None:
    if met.char(met.at) == ",":
        return "a value is missing before this comma: write one, or remove the comma"
    if met.char(met.at) in ("]", "}"):
        return "this closes or continues nothing that is open: remove it, or put it in quotes"
    return None


def _value(met: _Met) -> Said:
    end = met.line(met.at)[: met.at[1]].rstrip()
    if end.endswith(("[", "{")) and not met.char(met.at):
        return _not_closed(replace(met, since=(met.at[0], len(end) - 1)))
    return met.at, _closing(met) or "a value is missing here"


def _says(words: str) -> Callable[[_Met], Said]:
    return lambda met: (met.at, words)


def _since(words: str) -> Callable[[_Met], Said]:
    return lambda met: (met.since or met.at, words)


_KINDS: tuple[tuple[str, Callable[[_Met], Said]], ...] = (
    ("cannot start any token", _character),
    ("could not find expected ':'", _no_colon),
    ("mapping values are not allowed", _two_colons),
    ("sequence entries are not allowed", _list_here),
    ("mapping keys are not allowed", _says("a key cannot begin here: put it on a line of its own")),
    ("while scanning a quoted scalar", _quoted),
    (
        "while scanning a double-quoted scalar",
        _says(
            "a backslash in double quotes begins an escape: double it, or use single quotes, as "
            r"in 'C:\backups'"
        ),
    ),
    (
        "while scanning an a",  # an alias, an anchor
        _since(
            "`*` or `&` at the beginning of a value refers to another one: put it in quotes, as in "
            '["*"]'
        ),
    ),
    ("found undefined alias", _says(
        "this refers by `*` to a value that no `&` names: put it in quotes if it is text"
    )),
    ("found duplicate anchor", _says("two values have the same `&` name: rename one")),
    ("tag", _since("`!` at the beginning of a value has a special meaning: put it in quotes")),
    ("while scanning a directive", _since(f"a line cannot begin with `%`: {_QUOTE}")),
    ("block scalar", _says("nothing may follow `|` or `>`: put the text on the lines below")),
    ("another document", _says("`---` begins a second document: remove it, one file holds one")),
    ("expected the node content", _value),
    ("did not find expected", _value),
    ("while parsing a flow", _not_closed),
    ("while parsing a block", _block),
    ("expected '<document start>'", _block),
)  # fmt: skip
"""What a parser message contains, and what it means; the first match counts."""
