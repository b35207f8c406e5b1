"""From records to evidence, from evidence to frames, findings and the page to be signed.

Here is what needs no pandas: `status` uses no more and must start quickly. Frames, the page and
files are in `frames`, `html` and `write`.
"""

from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment

__all__ = ["Assessment", "Evidence", "gather"]
