"""Paths of what is of one backup or one cluster: records, holds, tombstones, undo records."""

from __future__ import annotations

from typing import NamedTuple

from qdrant_dr.layout.names import (
    ACKNOWLEDGED,
    ANSWER,
    BACKUPS,
    CALL_FILE,
    EXPIRED,
    HOLDS,
    ID,
    INTENT,
    PROOFS,
    SEAL,
    UNDO,
    checked,
)
from qdrant_dr.records import BackupKey
from qdrant_dr.records.manifest import collection_slug


def intent_file(number: int = 1) -> str:
    """The file of the intent of the `number`-th create call of a backup."""
    return INTENT if number == 1 else f"intent-{number}.json"


def answer_file(number: int = 1) -> str:
    """The file of what that call was answered."""
    return ANSWER if number == 1 else f"snapshot-{number}.json"


def call_of(file: str) -> tuple[str, int] | None:
    """`intent` or `snapshot` and the number of its call; None for any other file."""
    match = CALL_FILE.match(file)
    return (match[1], int(match[2] or 1)) if match else None


def backups(cluster: str, collection: str | None = None, backup_id: str | None = None) -> str:
    """The folder of all backups of a cluster, of a collection, or of one backup."""
    return folder_below(BACKUPS, cluster, collection, backup_id)


def proofs(cluster: str, collection: str | None = None, backup_id: str | None = None) -> str:
    """The folder of all proofs of a cluster, of a collection, or of one backup."""
    return folder_below(PROOFS, cluster, collection, backup_id)


def folder_below(top: str, cluster: str, collection: str | None, backup_id: str | None) -> str:
    """The folder of a cluster, a collection or one backup below a top folder."""
    folder = f"{top}/{checked(cluster)}"
    if collection is None:
        return folder
    folder += f"/{collection_slug(collection)}"
    return folder if backup_id is None else f"{folder}/{checked(backup_id)}"


def in_backup(key: BackupKey, file: str) -> str:
    """The path of a record or part of one backup."""
    checked(key.cluster)
    return f"{BACKUPS}/{key.folder}/{checked(file)}"


def proof(key: BackupKey, proof_id: str) -> str:
    """The path of one proof."""
    checked(key.cluster)
    return f"{PROOFS}/{key.folder}/{checked(proof_id)}.json"


def hold(key: BackupKey, hold_id: str) -> str:
    """The path of one hold."""
    checked(key.cluster)
    return f"{HOLDS}/{key.folder}/{checked(hold_id)}.json"


def holds(cluster: str) -> str:
    """The folder of all holds of a cluster."""
    return f"{HOLDS}/{checked(cluster)}"


def expired(key: BackupKey, run_id: str) -> str:
    """The path of the record that a run deletes a copy."""
    checked(key.cluster)
    return f"{EXPIRED}/{key.folder}/{checked(run_id)}.json"


def all_expired(cluster: str, collection: str | None = None, backup_id: str | None = None) -> str:
    """The folder of those records, of a cluster, a collection or one backup."""
    return folder_below(EXPIRED, cluster, collection, backup_id)


def acknowledgement(cluster: str, acknowledgement_id: str) -> str:
    """The path of one acknowledgement."""
    return f"{acknowledgements(cluster)}/{checked(acknowledgement_id)}.json"


def acknowledgements(cluster: str) -> str:
    """The folder of all acknowledgements of a cluster."""
    return f"{ACKNOWLEDGED}/{checked(cluster)}"


def in_undo(cluster: str, collection: str, run_id: str, file: str) -> str:
    """The path of one file of the undo record of a run."""
    return f"{undos(cluster, collection)}/{checked(run_id)}/{checked(file)}"


def undos(cluster: str, collection: str | None = None) -> str:
    """The folder of all undo records of a cluster, or of one collection."""
    return folder_below(UNDO, cluster, collection, None)


def is_boxed(path: str) -> bool:
    """Whether an encrypted repository has this record in a box: it holds values or ids of
    points."""
    top, _, _ = path.partition("/")
    return top == UNDO or (top == BACKUPS and path.endswith(f"/{SEAL}"))


class InBackup(NamedTuple):
    """What a path below `backups/` names."""

    folder: str
    cluster: str
    collection_folder: str
    backup_id: str
    file: str


def read_backup_path(path: str) -> InBackup | None:
    """Take a path below `backups/`, `proofs/` or `expired/` apart; None if it is not ours."""
    steps = path.split("/")
    if len(steps) != 5 or steps[0] not in (BACKUPS, PROOFS, EXPIRED) or not ID.match(steps[3]):
        return None
    return InBackup("/".join(steps[1:4]), *steps[1:])
