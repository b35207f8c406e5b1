"""What a part is made of, as one digest: its literals and the SHA-256 of its blocks, in order.

Two recipes of equal composition make equal bytes, wherever the blocks lie: so the composition that
was found when all bytes were compared with the manifest says later, block by block, what that said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from qdrant_dr.errors import BlockMissing
from qdrant_dr.vault.box import Table
from qdrant_dr.vault.recipe import Recipe

_ROW = np.dtype([("kind", "S1"), ("size", ">u4"), ("sha256", "u1", (32,))])


def composition(recipe: Recipe, table_of: Callable[[str], Table]) -> str:
    """Return the composition of a part, in hex. Raise BlockMissing if a pack lacks a block of
    it."""
    digest = hashlib.sha256(b"qdr composition 1\n")
    for step in recipe.steps():
        if isinstance(step, bytes):
            digest.update(b"L" + len(step).to_bytes(4, "big") + step)
            continue
        name = recipe.packs[step.pack]
        rows = table_of(name).rows[step.first : step.first + step.blocks]
        if len(rows) < step.blocks or not rows["size"].all():
            raise BlockMissing(f"pack {name} lacks blocks that {recipe.part} takes from it")
        said = np.zeros(len(rows), _ROW)
        said["kind"], said["size"], said["sha256"] = b"B", rows["size"], rows["sha256"]
        digest.update(said.tobytes())
    return digest.hexdigest()
