"""Durations and sizes, as a configuration writes them (`26h`) and people read them (`1 d 2 h`)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
          "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}  # fmt: skip
_DURATION = r"^\d+(\.\d+)?[smhdw]$"
_SIZE = r"^\d+(\.\d+)?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$"


def parse_duration(text: object) -> timedelta:
    """`90s`, `30m`, `26h`, `8d`, `2w`. Raise ValueError without a unit."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.match(_DURATION, text):
        raise ValueError(f"{_named(text)} is not a duration: give a number and s, m, h, d or w")
    try:
        return timedelta(seconds=float(text[:-1]) * _SECONDS[text[-1]])
    except OverflowError:
        raise ValueError("is longer than any duration can be") from None


def cost_a_month(cost: float) -> str:
    """Write a cost in whatever currency; what costs something is never said to cost 0.00."""
    return f"{cost:.2f} a month" if cost == 0 or cost >= 0.005 else "less than 0.01 a month"


def format_duration(span: timedelta) -> str:
    """As a configuration writes it, in the largest whole unit: `26h`, `8d`."""
    seconds = span.total_seconds()
    for unit, size in reversed(_SECONDS.items()):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:.3f}s".replace(".000s", "s")


def how_long(length: timedelta | float) -> str:
    """A length of time, or so many seconds, as people read it: `3 d 4 h`, `12 min`, `8.4 s`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 0:
        return f"-{how_long(-length)}"
    if seconds < 60:
        return (
            f"{seconds:.1f}".rstrip("0").rstrip(".") + " s" if seconds < 10 else f"{seconds:.0f} s"
        )
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        rest = int(seconds % 60)
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min" if hours < 10 and minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if days < 10 and hours % 24 else f"{days} d"


def parse_size(text: object) -> int:
    """`200GiB`, `8MB`: bytes. A bare integer is refused: sizes have units."""
    if isinstance(text, int) and not isinstance(text, bool):
        raise ValueError(  # noqa: TRY004  pydantic turns it into an error with its place
            f"{text} has no unit: write {text}B, or KiB, MiB, GiB, TiB"
        )
    if not isinstance(text, str) or not (match := re.match(_SIZE, text)):
        raise ValueError(f"{_named(text)} is not a size: give a number and B, KiB, MiB, GiB or TiB")
    unit = match.group(2)
    try:
        return int(float(text[: -len(unit)]) * _BYTES[unit])
    except OverflowError:
        raise ValueError("is larger than any size can be") from None


def _named(value: object) -> str:
    """A value as it is written, if it is short; what has no plain form is called this."""
    if isinstance(value, bool):
        return str(value).lower()
    plain = isinstance(value, str | int | float) and len(str(value)) <= 40
    return repr(value) if plain else "this"


def format_size(size: int | float) -> str:
    """Binary units, three digits: `1.38 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"


def format_share(part: float) -> str:
    """Whole percent, rounded down: only all of it is `100 %`."""
    return f"{int(part * 100)} %"


def _size(value: object) -> int:
    return value if isinstance(value, _Parsed) else _Parsed(parse_size(value))


class _Parsed(int):
    """An integer that went through the door already."""


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["90s", "26h", "8d"]}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(lambda n: f"{int(n)}B", return_type=str),
    WithJsonSchema({"type": "string", "pattern": _SIZE, "examples": ["8MiB", "200GiB"]}),
]
