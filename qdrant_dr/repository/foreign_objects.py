"""What lies in a repository and is not ours: never damage, never read, never deleted.

What storages and desktops make by themselves is known and not even listed. Of anything else it is
told that it is there, and a deletion stops in the folder of the backup that it lies in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdrant_dr.text import printable

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Stranger:
    """An object that is not ours."""

    repository: str
    path: str
    size_bytes: int = 0


def stranger_remarks(strangers: Sequence[Stranger]) -> list[str]:
    """Say how many foreign objects each repository has, and name the first."""
    found: dict[str, list[str]] = {}
    for stranger in strangers:
        found.setdefault(stranger.repository, []).append(stranger.path)
    return [
        f"{name}: {strangers_in_words(paths)}; nothing of it is read or deleted: look who put it "
        "there, and remove it"
        for name, paths in sorted(found.items())
    ]


def strangers_in_words(paths: Iterable[str]) -> str:
    """Name them: `2 objects are not ours: notes.txt, old.zip`."""
    every = sorted(map(printable, paths))
    many = "1 object is not ours" if len(every) == 1 else f"{len(every)} objects are not ours"
    return f"{many}: {', '.join(every[:_NAMED])}{', ...' * (len(every) > _NAMED)}"
