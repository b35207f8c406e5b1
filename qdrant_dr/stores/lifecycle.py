"""What rules of a bucket do to objects by and by: move them into an archive, or delete them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that reaches into a repository. `archive`: the class it moves objects to; empty: it
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
