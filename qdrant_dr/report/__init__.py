"""From records to evidence, from evidence to frames, findings and the page to be signed."""

from qdrant_dr.report.assessment import Assessment
from qdrant_dr.report.evidence import Evidence
from qdrant_dr.report.frames import build_frames
from qdrant_dr.report.gather import gather
from qdrant_dr.report.html import render
from qdrant_dr.report.schema import FRAMES, frames_json
from qdrant_dr.report.write import FORMATS, Written, write

__all__ = [
    "FORMATS",
    "FRAMES",
    "Assessment",
    "Evidence",
    "Written",
    "build_frames",
    "frames_json",
    "gather",
    "render",
    "write",
]
