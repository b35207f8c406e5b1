"""How far a long step is, how fast, and how long it still takes: in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdrant_dr.quantities import format_size, how_long

What = Literal["bytes", "points"]


@dataclass(slots=True)
class Pace:
    """One step at a time: other things, another total or less done than before begin the next.

    `now` is a time of any one clock, in seconds."""

    what: What = "bytes"
    done: int = 0
    total: int = 0
    _began: float = 0.0
    _first: int = 0
    _last: float = 0.0

    def note(self, done: int, total: int, what: What, now: float) -> None:
        """Take note of what is done by now, of how much in all."""
        if (what, total) != (self.what, self.total) or done < self.done:
            self._began, self._first = now, done
        self.what, self.done, self.total, self._last = what, done, total, now

    @property
    def percent(self) -> float:
        return 100.0 * self.done / self.total if self.total else 0.0

    def words(self) -> str:
        """Say it: `1.20 GiB of 4.00 GiB, 120.00 MiB/s, 23 s left`; of a step that is over, the
        total."""
        if self.done >= self.total:
            return self._amount(self.total)
        said = f"{self._number(self.done)} of {self._amount(self.total)}"
        elapsed, moved = self._last - self._began, self.done - self._first
        if elapsed <= 0 or moved <= 0:
            return said
        rate = moved / elapsed
        left = (self.total - self.done) / rate
        return f"{said}, {self._number(rate)}/s, {how_long(left)} left"

    def _number(self, number: float) -> str:
        return format_size(number) if self.what == "bytes" else f"{number:,.0f}"

    def _amount(self, number: float) -> str:
        return format_size(number) if self.what == "bytes" else f"{number:,.0f} points"
