"""Paths of the ledger."""

from __future__ import annotations

from qdrant_dr.layout.names import ENTRIES_PER_FOLDER, EVIDENCE, PROBES, WATCHES
from qdrant_dr.layout.shapes import is_ours


def ledger_folder(number: int) -> str:
    """The folder of the entry of this number, and of its neighbours."""
    return f"{EVIDENCE}/{number // ENTRIES_PER_FOLDER:07d}"


def ledger_entry(number: int) -> str:
    """The path of the entry of this number; its signature and timestamp lie beside it."""
    return f"{ledger_folder(number)}/{number:010d}.json"


def entry_number(path: str) -> int | None:
    """The number of the entry that lies at this path; None if none may."""
    name = path.rpartition("/")[2].removesuffix(".json")
    if not (path.endswith(".json") and name.isdecimal()):
        return None
    return number if path == ledger_entry(number := int(name)) else None


def number_beside(path: str) -> int | None:
    """The number of the entry that lies at this path, or beside it; None if none may."""
    return entry_number(path.partition(".json")[0] + ".json")


def in_ledger(path: str) -> bool:
    """Whether the ledger names it: every record of ours but for the ledger itself, and for looks of
    `watch`, from which nothing is derived."""
    top, file = path.partition("/")[0], path.rpartition("/")[2]
    return top not in (EVIDENCE, PROBES, WATCHES) and file.endswith(".json") and is_ours(path)
