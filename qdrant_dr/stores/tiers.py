"""Storage classes and tiers of providers, and which of them cannot be read at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Storage:
    """How a store keeps an object: class or tier in its own words; empty if it has none.

    `archived`: its bytes cannot be read until they are brought back; `thawing`: that is under way.
    `lent`: they were brought back for some days only.
    """

    name: str = ""
    archived: bool = False
    thawing: bool = False
    lent: bool = False

    @property
    def stays_readable(self) -> bool:
        """Say whether its bytes can be read, and not just for some days."""
        return not self.archived and not self.lent

    def __str__(self) -> str:
        return self.name + ", being brought back" * self.thawing


AT_HAND: Final = Storage()
