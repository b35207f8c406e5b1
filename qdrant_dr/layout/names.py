"""Folders, files and ids: the words that paths in a repository are made of."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

REPOSITORY = "repository.json"
INTENT = "intent.json"
ANSWER = "snapshot.json"
MANIFEST = "manifest.json"
SEAL = "seal.json"
BACKUPS = "backups"
PACKS = "packs"
KEYS = "keys"
PROOFS = "proofs"
RUNS = "runs"
WATCHES = "watches"
HOLDS = "holds"
EXPIRED = "expired"
RUN_RECORDS = (".start.json", ".end.json")
ACKNOWLEDGED = "acknowledged"
UNDO = "undo"
UNDO_RECORD = "undo.json"
BUNDLES = "bundles"
PROBES = "probes"
EVIDENCE = "evidence"
ALLOWED_SIGNERS = f"{EVIDENCE}/allowed_signers"
"""For convenience: the file that counts is the auditor's own."""
ENTRIES_PER_FOLDER = 256
SIGNATURE, TIMESTAMP = ".sig", ".tsr"
"""What lies beside an entry."""
CALL_FILE = re.compile(r"^(intent|snapshot)(?:-([1-9]\d{0,5}))?\.json$")
ID = re.compile(r"^(\d{8}T\d{6}Z)-[0-9a-f]{6}$")
SAFE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")
PACK_FILE = re.compile(r"^(\d{8}T\d{6}Z-[0-9a-f]{6})-([1-9]\d{0,6})\.pack$")


def new_id(now: datetime) -> str:
    """An id of a backup or proof: its second in UTC and 6 random hex digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def time_of(identifier: str) -> datetime:
    """The second that an id was made in. Raise ValueError if it is no id."""
    try:
        if match := ID.match(identifier):
            return datetime.fromisoformat(match[1][:-1]).replace(tzinfo=UTC)  # a ledger has many
    except ValueError:  # the 13th month
        pass
    raise ValueError(f"{identifier!r} is not an id like 20261122T101530Z-7f3a9c")


def time_if_id(identifier: str) -> datetime | None:
    """The same; None if it is no id."""
    return time_of(identifier) if ID.match(identifier) else None


def checked(name: str) -> str:
    """The name, if it is safe as one step of a path. Raise ValueError if it is not."""
    if not SAFE_NAME.match(name):
        raise ValueError(f"{name!r} cannot be part of a path in a repository")
    return name
