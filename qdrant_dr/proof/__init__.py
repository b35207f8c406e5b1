"""Prove copies: archive structure, fingerprints, the engine, depths, the seal.

Names are imported on first use: the engine's child process also imports this package, and starts in
half the time without what only its parent needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdrant_dr.proof.blocks import SampleRequest
    from qdrant_dr.proof.compare import (
        TOLERANCE,
        Comparison,
        compare_replayed,
        compare_served,
        compare_with_seal,
        differing_points,
    )
    from qdrant_dr.proof.depths import prove
    from qdrant_dr.proof.drift import baseline_of
    from qdrant_dr.proof.engine import EngineLimits, engine_covers, engine_version, require_engine
    from qdrant_dr.proof.fingerprint import (
        Fingerprinter,
        add,
        differences,
        fingerprint_of,
        only_ids,
        subtract,
    )
    from qdrant_dr.proof.point_encoding import digest_point
    from qdrant_dr.proof.proof_result import Examination, ProofLimits, Reader
    from qdrant_dr.proof.readback import ReadBack, ShardReading, read_shards
    from qdrant_dr.proof.seal import LiveSample, plan_seal
    from qdrant_dr.proof.search import Asked, judge, recall_ppm, unanswerable
    from qdrant_dr.proof.unpack import LaidOut, Limits, lay_out

_HOME = {
    "blocks": ("SampleRequest",),
    "compare": (
        "Comparison",
        "TOLERANCE",
        "compare_replayed",
        "compare_served",
        "compare_with_seal",
        "differing_points",
    ),
    "depths": ("prove",),
    "drift": ("baseline_of",),
    "point_encoding": ("digest_point",),
    "engine": ("EngineLimits", "engine_covers", "engine_version", "require_engine"),
    "proof_result": ("Examination", "ProofLimits", "Reader"),
    "fingerprint": (
        "Fingerprinter",
        "add",
        "differences",
        "fingerprint_of",
        "only_ids",
        "subtract",
    ),
    "unpack": ("LaidOut", "Limits", "lay_out"),
    "readback": ("ReadBack", "ShardReading", "read_shards"),
    "seal": ("LiveSample", "plan_seal"),
    "search": ("Asked", "judge", "recall_ppm", "unanswerable"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "TOLERANCE",
    "Asked",
    "Comparison",
    "EngineLimits",
    "Examination",
    "Fingerprinter",
    "LaidOut",
    "Limits",
    "LiveSample",
    "ProofLimits",
    "ReadBack",
    "Reader",
    "SampleRequest",
    "ShardReading",
    "add",
    "baseline_of",
    "compare_replayed",
    "compare_served",
    "compare_with_seal",
    "differences",
    "differing_points",
    "digest_point",
    "engine_covers",
    "engine_version",
    "fingerprint_of",
    "judge",
    "lay_out",
    "only_ids",
    "plan_seal",
    "prove",
    "read_shards",
    "recall_ppm",
    "require_engine",
    "subtract",
    "unanswerable",
]
