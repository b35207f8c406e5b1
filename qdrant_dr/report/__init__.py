"""Turn records into evidence, and evidence into findings, frames and the page to be signed.

This package exports only what works without pandas, because `status` must start quickly. Frames,
the page and files are in `frames`, `page` and `outputs`.
"""

from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment

__all__ = ["Assessment", "Evidence", "gather"]
