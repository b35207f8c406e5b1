"""Lifecycle rules of a bucket, which in time archive or delete objects."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that affects a repository. `archive`: the class to which it moves objects; empty: it
    deletes them."""

    name: str
    prefix: str
    when: str
    archive: str = ""

    def __str__(self) -> str:
        below = f" below {self.prefix}" if self.prefix else ""
        does = (
            f"moves objects{below} to {self.archive}" if self.archive else f"deletes objects{below}"
        )
        return f"lifecycle rule {self.name!r} {does} {self.when}"
