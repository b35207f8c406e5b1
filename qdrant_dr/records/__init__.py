"""Frozen, versioned records: parsed at the door, canonical on the way out."""

from qdrant_dr.records.base import Record, canonical_json, format_time, parse_time
from qdrant_dr.records.capture import Intent, ListedSnapshot, SnapshotAnswer
from qdrant_dr.records.fingerprint import BUCKETS, Component, Fingerprint
from qdrant_dr.records.manifest import BackupKey, Manifest, Part, ShardFacts
from qdrant_dr.records.proof import DEPTHS, Depth, Finding, Location, Proof, ProvableDepth, Sample
from qdrant_dr.records.run import (
    Captured,
    Drilled,
    ErrorFacts,
    Healed,
    Outcome,
    Phase,
    Proved,
    Reported,
    RepositorySeen,
    RunEnd,
    RunStart,
    SeenCollection,
    Swept,
    Verdict,
)
from qdrant_dr.records.seal import Seal, SealedShard

__all__ = [
    "BUCKETS",
    "DEPTHS",
    "BackupKey",
    "Captured",
    "Component",
    "Depth",
    "Drilled",
    "ErrorFacts",
    "Finding",
    "Fingerprint",
    "Healed",
    "Intent",
    "ListedSnapshot",
    "Location",
    "Manifest",
    "Outcome",
    "Part",
    "Phase",
    "Proof",
    "ProvableDepth",
    "Proved",
    "Record",
    "Reported",
    "RepositorySeen",
    "RunEnd",
    "RunStart",
    "Sample",
    "Seal",
    "SealedShard",
    "SeenCollection",
    "ShardFacts",
    "SnapshotAnswer",
    "Swept",
    "Verdict",
    "canonical_json",
    "format_time",
    "parse_time",
]
