"""Which records each cell of a frame was computed from: by the objects that its row was made of.

A row keeps those objects, so a new row or column has its records without a word about it here. What
a whole row is made of may be much more than one column needs: `NARROWED` names the part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from qdrant_dr import layout
from qdrant_dr.records import (
    Acknowledgement,
    LedgerEntry,
    Manifest,
    Proof,
    Record,
    RunEnd,
    RunStart,
    Seal,
)
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.repository import key_of


@dataclass(frozen=True)
class Made:
    """One row of a frame, and the objects that it was made of, the one it stands for first."""

    row: Mapping[str, Any]
    of: tuple[object, ...]


@dataclass(frozen=True)
class Lazily:
    """Objects that are looked up only when somebody asks for the records."""

    look_up: Callable[[], Iterable[object]]


_ABOUT: Final = frozenset({"cluster", "source_kind"})
CONFIGURED: Final[Mapping[str, frozenset[str]]] = {
    "collections": frozenset(
        {
            "exclusion_reason", "owner", "criticality",
            "rpo_objective_seconds", "rto_objective_seconds",
        }
    ),
    "copies": frozenset({"repository", "domain"}),
    "drills": frozenset({"rto_objective_seconds", "rpo_objective_seconds"}),
    "forecasts": frozenset({"limit_name", "limit_bytes"}),
    "ledger": frozenset({"repository"}),
    "controls": frozenset({"framework", "control", "asks", "covers", "computed_from", "add"}),
}  # fmt: skip
"""Columns that no record tells: those of the configuration, and of the table of controls."""

NARROWED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "collections": {
        "newest_backup_id": ("newest",),
        "newest_captured_at": ("newest",),
        "newest_proven_at": ("proof",),
        "proven_depth": ("deepest",),
        "rpo_seconds": ("proven",),
        "rto_seconds": ("rto",),
        "rto_measured_at": ("rto",),
        "rto_from": ("rto",),
        "copies_proven_count": ("proven",),
        "domains_proven_count": ("proven",),
    },
}
"""The attributes of the first object that a column comes from. If they are None, that there is
nothing better comes from the whole."""

_NOT_OF_IT: Final = frozenset({"inherited"})
"""Proofs made elsewhere: they lie beside a copy and count for nothing."""


def is_configured(frame: str, column: str) -> bool:
    """Say whether no record tells this column."""
    return column in _ABOUT or column in CONFIGURED.get(frame, ())


def records_of(frame: str, column: str, made: Made) -> tuple[Record, ...]:
    """Return the records that one cell was computed from, each once, by path."""
    if is_configured(frame, column):
        return ()
    narrow = NARROWED.get(frame, {}).get(column, ())
    found = _unique(getattr(made.of[0], name) for name in narrow) if narrow else ()
    return found or _unique(made.of)


def records_of_columns(
    columns: Iterable[str], rows: Mapping[str, Sequence[Made]]
) -> Iterator[Record]:
    """Yield the records of whole columns, named `frame.column`."""
    for frame, _, column in (name.partition(".") for name in columns):
        for made in rows[frame]:
            yield from records_of(frame, column, made)


def path_of(record: Record) -> str:
    """Return where a record lies in every repository that has it. Raise TypeError for a kind that
    no report reads."""
    match record:
        case Manifest():
            return layout.in_backup(record.key, layout.MANIFEST)
        case Seal():
            return layout.in_backup(key_of(record), layout.SEAL)
        case Proof():
            return layout.proof(key_of(record), record.proof_id)
        case RunStart():
            return layout.run_start(record.run_id, record.started_at)
        case RunEnd():
            return layout.run_end(record.start.run_id, record.start.started_at)
        case Acknowledgement():
            return layout.acknowledgement(record.cluster, record.acknowledgement_id)
        case KeySlot():
            return layout.key_slot(record.key_id, record.slot_id)
        case LedgerEntry():
            return layout.ledger_entry(record.number)
    raise TypeError(f"no report is made of a {record.KIND}")


def _unique(objects: Iterable[object]) -> tuple[Record, ...]:
    found = {(path_of(r), r.sha256): r for each in objects for r in _walk(each)}
    return tuple(record for _, record in sorted(found.items(), key=lambda item: item[0]))


def _walk(value: object) -> Iterator[Record]:
    """Find every record in a value, however deep: in dataclasses, sequences and mappings."""
    if isinstance(value, Record):
        yield value
    else:
        for part in _parts(value):
            yield from _walk(part)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Lazily):
        return value.look_up()
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, f.name) for f in fields(value) if f.name not in _NOT_OF_IT]
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, tuple | list) else ()
