"""How moments, spans and answers are written in tables."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """The two largest units: `3d 4h`, `12m 5s`."""
    left = int(abs(seconds))
    words: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size or words:
            words.append(f"{left // size}{unit}")
            left %= size
    return ("-" if seconds < 0 else "") + (" ".join(words[:2]) or "0s")


def yes(value: bool) -> str:
    return "yes" if value else "NO"
