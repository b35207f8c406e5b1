"""Say it where points of an encrypted backup are written to a place that is not encrypted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdrant_dr.repository import Repository


def encrypted_in(opened: Mapping[str, Repository], names: Iterable[str]) -> list[str]:
    """Return which of these repositories are encrypted."""
    found = (n for n in names if n in opened and opened[n].record.key_id is not None)
    return sorted(found)


def undo_in_clear(opened: Mapping[str, Repository]) -> list[str]:
    """Warn of an undo record, which every repository gets, where only some are encrypted."""
    closed = encrypted_in(opened, opened)
    clear = sorted(opened.keys() - {*closed})
    if not closed or not clear:
        return []
    return [
        (
            f"{', '.join(clear)} is not encrypted, {', '.join(closed)} is: the undo record, "
            "payloads and vectors, lies there in clear until it goes"
        )
    ]


def export_in_clear(
    opened: Mapping[str, Repository], copies: Iterable[str], destination: str
) -> list[str]:
    """Warn of an export, which never is encrypted, of a backup that is."""
    closed = encrypted_in(opened, copies)
    if not closed:
        return []
    return [
        (
            f"the backup is encrypted in {', '.join(closed)}; the files of the export are not, and "
            f"whoever may read {destination} reads every payload and vector"
        )
    ]
