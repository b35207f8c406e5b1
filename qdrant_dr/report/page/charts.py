"""Draw inline SVG by hand: no script, no font, and only colours that are variables of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from qdrant_dr.quantities import format_size, how_long

HOUR = 3600
WIDTH = 960
LABEL = 200
ROW = 30


@dataclass(frozen=True)
class Dot:
    """A measured restore. `kind`: `rto` for a drill on a real server, `real` for a real restore,
    `restore` for one on the sandbox."""

    seconds: float
    kind: str
    title: str


@dataclass(frozen=True)
class Strip:
    """One collection's restores on a line, with its objective and a note at the end."""

    label: str
    objective: float
    dots: tuple[Dot, ...]
    note: str


@dataclass(frozen=True)
class Line:
    """Sizes of one collection's backups over time."""

    label: str
    points: tuple[tuple[datetime, int], ...]


@dataclass(frozen=True)
class Trend:
    """Measured sizes, the line through them with its band up to `end`, and a limit, in bytes.

    `line` and `band` hold (moment, bytes) and (moment, low, high); empty: not measured.
    `tone` colours the note: `bad`, `warn` or nothing.
    """

    label: str
    note: str
    tone: str
    points: tuple[tuple[datetime, int], ...]
    line: tuple[tuple[datetime, float], ...]
    band: tuple[tuple[datetime, float, float], ...]
    limit: int | None


@dataclass(frozen=True)
class Cell:
    """One cell. `level`: 0-3 fresh to nearly too old, `due` with time left, `late`, `bad`,
    `none`."""

    text: str
    level: str
    title: str


def _svg(height: float, label: str, body: Sequence[Markup], width: int = WIDTH) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {w} {h:.0f}" width="{w}" height="{h:.0f}" role="img" aria-label="{l}">'
        "{b}</svg>"
    ).format(w=width, h=height, l=label, b=Markup("").join(body))


def _text(x: float, y: float, words: str, css: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, css, anchor, words
    )


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(
        x1, y1, x2, y2, css
    )


def _short(name: str, room: int = 24) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"


def _label(y: float, name: str) -> Markup:
    return Markup("<g><title>{}</title>{}</g>").format(name, _text(0, y, _short(name), "name"))


_TICKS = (0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)


def restores(strips: Sequence[Strip]) -> Markup:
    """Draw restore seconds against the objective on a logarithmic axis, one row per collection."""
    values = [d.seconds for s in strips for d in s.dots] + [s.objective for s in strips]
    low = max((t for t in _TICKS if t <= min(values)), default=_TICKS[0])
    high = min((t for t in _TICKS if t >= max(values) and t > low), default=_TICKS[-1])
    left, right, top = LABEL, WIDTH - 120, 24

    def x(seconds: float) -> float:
        share = math.log(max(seconds, low) / low) / math.log(high / low)
        return left + min(share, 1) * (right - left)

    bottom = top + ROW * len(strips)
    body = []
    for tick in (t for t in _TICKS if low <= t <= high):
        body += [
            _line(x(tick), top - 6, x(tick), bottom, "grid"),
            _text(x(tick), top - 11, how_long(timedelta(seconds=tick)), "tick", "middle"),
        ]
    for n, strip in enumerate(strips):
        y = top + ROW * n + ROW / 2
        goal = x(strip.objective)
        body += [
            _label(y + 4, strip.label),
            _line(left, y, right, y, "rail"),
            _line(goal, y - 10, goal, y + 10, "goal"),
            _text(right + 14, y + 4, strip.note, "tick"),
        ]
        for dot in strip.dots:
            late = " late" if dot.seconds > strip.objective else ""
            body.append(
                Markup(
                    '<circle cx="{:.1f}" cy="{:.1f}" r="5" class="dot {}">'
                    "<title>{}</title></circle>"
                ).format(x(dot.seconds), y, dot.kind + late, dot.title)
            )
    return _svg(bottom + 8, "restore seconds against the objective", body)


def sizes(lines: Sequence[Line], begin: datetime, end: datetime) -> Markup:
    """Draw the size of each backup over time: small panels with one time axis, each from zero."""
    columns, wide, tall, gap = 4, 222, 96, 24
    length = max((end - begin).total_seconds(), HOUR)  # seconds apart are no distance
    body = []
    for n, line in enumerate(lines):
        left, top = (n % columns) * (wide + gap), (n // columns) * (tall + gap)
        base, room = top + tall, tall - 42
        most = max(size for _, size in line.points) or 1
        places = [
            (
                left + wide - 4 - (end - at).total_seconds() / length * (wide - 8),
                base - size / most * room,
            )
            for at, size in line.points
        ]
        path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(places))
        first, last = places[0], places[-1]
        area = f"{path} L{last[0]:.1f} {base} L{first[0]:.1f} {base} Z"
        body += [
            Markup("<g><title>{}</title>{}</g>").format(
                line.label, _text(left, top + 12, _short(line.label, 24), "name")
            ),
            _text(left, top + 28, format_size(line.points[-1][1]), "tick"),
            _text(left + wide, top + 28, f"{len(places)} kept", "tick", "end"),
            Markup('<path d="{}" class="area"/><path d="{}" class="curve"/>').format(area, path),
            _line(left, base, left + wide, base, "rail"),
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3" class="end"/>').format(*last),
        ]
    rows = -(-len(lines) // columns)
    return _svg(rows * (tall + gap), "size of backups over time", body)


def forecasts(trends: Sequence[Trend], begin: datetime, now: datetime, end: datetime) -> Markup:
    """Draw sizes measured up to `now` and expected up to `end`: panels, each from zero.

    The limit is drawn if it fits into the panel; else only the note mentions it.
    """
    columns, wide, tall, gap = 3, 304, 132, 24
    length = max((end - begin).total_seconds(), 1)
    body = []
    for n, trend in enumerate(trends):
        left, top = (n % columns) * (wide + gap), (n // columns) * (tall + gap)
        base, room = top + tall, tall - 46
        most = max([size for _, size in trend.points] + [high for _, _, high in trend.band])
        near = trend.limit is not None and trend.limit <= 1.5 * most
        scale = room / (max(most, trend.limit if near and trend.limit else 0) or 1)

        def x(at: datetime, left: int = left) -> float:
            return left + 4 + (at - begin).total_seconds() / length * (wide - 8)

        def y(size: float, base: int = base, scale: float = scale) -> float:
            return base - max(size, 0) * scale

        body += [
            Markup("<g><title>{}</title>{}</g>").format(
                trend.label, _text(left, top + 12, _short(trend.label, 42), "name")
            ),
            _text(left, top + 28, trend.note, f"tick {trend.tone}".strip()),
        ]
        if trend.band:
            upper = " ".join(f"{x(at):.1f} {y(high):.1f}" for at, _, high in trend.band)
            lower = " ".join(f"{x(at):.1f} {y(low):.1f}" for at, low, _ in trend.band[::-1])
            line = " ".join(f"{x(at):.1f} {y(size):.1f}" for at, size in trend.line)
            body += [
                Markup('<path d="M{} L{} Z" class="band"/>').format(upper, lower),
                Markup('<path d="M{}" class="trend"/>').format(line),
            ]
        body += [
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.4" class="end"/>').format(x(at), y(size))
            for at, size in trend.points
        ]
        body += [
            _line(x(now), base - room, x(now), base, "grid"),
            _line(left, base, left + wide, base, "rail"),
        ]
        if near and trend.limit is not None:
            body.append(_line(left, y(trend.limit), left + wide, y(trend.limit), "limit"))
    rows = -(-len(trends) // columns)
    return _svg(rows * (tall + gap), "sizes and what they may become", body)


def proof_ages(
    columns: Sequence[tuple[str, str]], rows: Sequence[tuple[str, Sequence[Cell]]]
) -> Markup:
    """Draw the age of the newest sufficient proof, one row per collection, one column per
    repository.

    `columns` are repository and failure domain. Every cell has words; the colour only repeats them.
    """
    top, tall = 44, 30
    wide = min(150.0, (WIDTH - LABEL) / max(len(columns), 1))
    body = []
    for n, (name, domain) in enumerate(columns):
        middle = LABEL + wide * (n + 0.5)
        room = int(wide / 7)
        body += [
            Markup("<g><title>{} ({})</title>{}{}</g>").format(
                name,
                domain,
                _text(middle, 14, _short(name, room), "name", "middle"),
                _text(middle, 30, _short(domain, room), "tick", "middle"),
            )
        ]
    for r, (label, cells) in enumerate(rows):
        y = top + tall * r
        body.append(_label(y + tall / 2 + 4, label))
        for n, cell in enumerate(cells):
            x = LABEL + wide * n
            body.append(
                Markup(
                    '<g class="cell {}"><title>{}</title>'
                    '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" rx="3"/>{}</g>'
                ).format(
                    f"l-{cell.level}",
                    cell.title,
                    x + 1,
                    y + 1,
                    wide - 2,
                    tall - 2,
                    _text(x + wide / 2, y + tall / 2 + 4, cell.text, "", "middle"),
                )
            )
    width = int(LABEL + wide * len(columns))
    return _svg(top + tall * len(rows) + 2, "age of the newest proof", body, width)
