"""What makes a copy believable: archive structure, fingerprints, the engine, depths, the seal."""

from qdrant_dr.proof.blocks import SAMPLE_BLOCK, BlockDigests, SampleRequest
from qdrant_dr.proof.compare import (
    TOLERANCE,
    Comparison,
    compare_replayed,
    compare_served,
    compare_with_seal,
)
from qdrant_dr.proof.depths import Examination, ProofLimits, Reader, prove
from qdrant_dr.proof.encoding import digest_point
from qdrant_dr.proof.engine import EngineLimits, engine_covers, engine_version, require_engine
from qdrant_dr.proof.fingerprint import Fingerprinter, add, differences, fingerprint, subtract
from qdrant_dr.proof.layout import LaidOut, Limits, lay_out
from qdrant_dr.proof.readback import ReadBack, ShardReading, read_shards
from qdrant_dr.proof.seal import LiveSample, plan_seal

__all__ = [
    "SAMPLE_BLOCK",
    "TOLERANCE",
    "BlockDigests",
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
    "compare_replayed",
    "compare_served",
    "compare_with_seal",
    "differences",
    "digest_point",
    "engine_covers",
    "engine_version",
    "fingerprint",
    "lay_out",
    "plan_seal",
    "prove",
    "read_shards",
    "require_engine",
    "subtract",
]
