"""Records that lie in boxes are compared by their bytes; any other record by its digest, too."""

from __future__ import annotations

import hashlib

import pytest

from qdrant_dr.evidence.contents import BOX, Contents
from qdrant_dr.evidence.named import Named

UNDO = "undo/prod/movies-a941e049/20261130T231554Z-796b94/part-1.json"
SEALED = "backups/prod/movies-a941e049/20261130T231554Z-796b94/seal.json"
PROOF = "proofs/prod/movies-a941e049/20261130T231554Z-796b94/20261130T231554Z-796b95.json"


def verdict(path: str, data: bytes, named: bytes) -> str:
    contents = Contents()
    contents.take(path, Named(hashlib.sha256(named).digest(), len(named), 1), data)
    return contents.check(1).state


@pytest.mark.parametrize("path", [UNDO, SEALED])
def test_a_box_is_what_an_entry_names_or_not(path: str) -> None:
    box = BOX + b"\xf6 what only a key opens"
    assert verdict(path, box, box) == "ok"
    assert verdict(path, box[:-1] + b"!", box) == "failed"


def test_what_may_not_lie_in_a_box_is_damaged() -> None:
    box = BOX + b"\xf6 what only a key opens"
    assert verdict(PROOF, box, box) == "failed"
