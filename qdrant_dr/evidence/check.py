"""One check of a ledger: what was found, how bad it is, and the next command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from qdrant_dr.text import count

State = Literal["ok", "not checked", "doubt", "failed"]
STATES: Final[Sequence[State]] = ("ok", "not checked", "doubt", "failed")
"""From the best to the worst. `not checked` is no fault: there was nothing to compare with."""
NAMED = 5
"""So many examples stand in a row; the others are counted."""


@dataclass(frozen=True, slots=True)
class Check:
    """A row for people: what was looked at in which repository, and what it showed."""

    name: str
    state: State
    found: str
    next_command: str | None = None


def worst(checks: Iterable[Check]) -> State:
    """Return the worst state of all; `failed` for none, because then nothing was looked at."""
    return max((c.state for c in checks), key=STATES.index, default="failed")


class Examples:
    """What is wrong, counted to the end; only the first few are kept as they stand."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, words: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self._first) < NAMED:
            self._first.append(words)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = self.count - len(self._first)
        return "; ".join([*self._first, *([f"and {more} more"] if more else [])])


def some(paths: Sequence[str], noun: str) -> str:
    """`2 records (a, b)`: counted, the first few named."""
    examples = Examples()
    for path in paths:
        examples.add(path)
    return f"{count(len(paths), noun)} ({str(examples).replace('; ', ', ')})"
