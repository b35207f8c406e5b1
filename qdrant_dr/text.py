"""Names and words come from servers, buckets and people: none may steer who looks at them.

A function for each place where they are shown. Files for machines (records, JSON, CSV, metrics)
keep every character, as their formats escape it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_IN_JSON = re.compile("[\x7f-\x9f]|[^\x00-\x7f]")


def printable(text: str) -> str:
    """One line for a terminal: what is not plainly visible becomes a replacement character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def lines(text: str) -> str:
    """Several lines for a terminal; each is `printable`, tabs stay."""
    return "\n".join("\t".join(map(printable, li.split("\t"))) for li in text.split("\n"))


def visible(text: str) -> str:
    """Text for a page, where letters of all languages may be joined and spaced as they need: only
    what controls a device, hides, or turns the direction of writing is replaced."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def json_visible(document: str) -> str:
    """A JSON document with the same value, in which everything that is not visible is escaped."""

    def escaped(match: re.Match[str]) -> str:
        c = match[0]
        if c.isprintable():
            return c
        units = c.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))

    return _IN_JSON.sub(escaped, document)


def digest(words: Iterable[str]) -> str:
    """Facts of many names, short and in any order."""
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:16]


def count(n: int, noun: str) -> str:
    """`1 copy`, `2 copies`."""
    if n == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n} {plural}"
