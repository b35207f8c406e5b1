"""Packs that a new backup does not reuse, though it may: what repacking is elsewhere. Pure.

The writer has the bytes at hand, so it stores a block anew when its pack is declined: nothing is
downloaded, nothing rewritten, and the old pack goes by the law when the last backup that needs it
is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qdrant_dr.vault.box import Table

Reason = Literal["damaged", "other-key", "hardly-used"]
LEAST_USE = 1 / 3
"""A pack of which the last backup uses less is stored anew."""
SHARE = 0.05
"""At most so much of the stream a night, for what is not urgent."""


@dataclass(frozen=True, slots=True)
class PackUse:
    """How much of a pack the last backup uses, in stored bytes."""

    name: str
    size_bytes: int
    used_bytes: int
    key_id: bytes = b""

    @property
    def use(self) -> float:
        """Return the share of it that is used."""
        return self.used_bytes / self.size_bytes if self.size_bytes else 0.0


def use_of(
    name: str,
    table: Table,
    runs: Iterable[tuple[int, int]],
) -> PackUse:
    """Measure the use of a pack by runs of blocks: first and count of each. A block counts once."""
    used = np.zeros(len(table), bool)
    for first, count in runs:
        used[first : first + count] = True
    stored = table.rows["stored"].astype(np.int64)
    return PackUse(name, int(stored.sum()), int(stored[used].sum()), table.key_id)


def declined(
    packs: Iterable[PackUse],
    *,
    stream_bytes: int,
    damaged: Collection[str] = (),
    newest_key: bytes | None = None,
    least_use: float = LEAST_USE,
    share: float = SHARE,
) -> dict[str, Reason]:
    """Return the packs that a new backup stores anew, each with the reason.

    What a failed proof speaks against (`damaged`) always; what has another key than the newest,
    then what is hardly used, the emptiest first, as far as `share` of the stream goes: of these at
    least one, so that small collections do not wait for ever.
    """
    found: dict[str, Reason] = {}
    waiting: list[tuple[PackUse, Reason]] = []
    for pack in packs:
        if pack.name in damaged:
            found[pack.name] = "damaged"
        elif newest_key is not None and pack.key_id != newest_key:
            waiting.append((pack, "other-key"))
        elif pack.use < least_use:
            waiting.append((pack, "hardly-used"))
    if share <= 0:
        return found
    waiting.sort(key=lambda w: (w[1] != "other-key", w[0].use, w[0].name))
    left = share * stream_bytes
    for number, (pack, reason) in enumerate(waiting):
        left -= pack.used_bytes
        if left < 0 and number:
            break
        found[pack.name] = reason
    return found
