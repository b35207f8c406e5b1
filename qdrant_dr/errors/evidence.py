"""Errors of the ledger, its keys and its signatures."""

from __future__ import annotations

from qdrant_dr.errors.base import DRError
from qdrant_dr.errors.usage import UsageError


class EvidenceError(DRError):
    default_hint = "see docs/evidence.md, then run `qdrant-dr evidence verify`."


class SigningKeyUnusable(EvidenceError, UsageError):
    default_hint = "`qdrant-dr signing init` makes a key; docs/evidence.md says how to replace one."


class SignatureInvalid(EvidenceError):
    default_hint = (
        "find out who changed the file or its signature, then run `qdrant-dr evidence verify`."
    )


class LedgerBroken(EvidenceError):
    default_hint = "run `qdrant-dr evidence verify`: it says which entry is wrong, and since when."


class LedgerBehind(LedgerBroken):
    default_hint = (
        "entries are gone: put them back from the versions that the bucket keeps, and run "
        "`qdrant-dr evidence verify`."
    )


class TimestampFailed(EvidenceError):
    default_hint = "set another `signing.timestamp_url`, or remove it; nothing else depends on it."
