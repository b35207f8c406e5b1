"""Write the controls as OSCAL assessment results (JSON): equal frames give equal bytes.

Only NIST SP 800-53 has identifiers in OSCAL; all others are observations whose `props` name them.
A finding says `satisfied` only where figures are the whole answer; where nothing was looked at, or
figures are a part of it, there is an observation and no finding that would say too much.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid5

import pandas as pd

from qdrant_dr import layout
from qdrant_dr.records import format_time
from qdrant_dr.report.controls.table import CONTROLS
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.text import visible
from qdrant_dr.version import __version__

OSCAL_VERSION: Final = "1.1.2"
"""Every field written here is valid in 1.1.2 to 1.2.x."""
NS: Final = "urn:qdrant-dr:controls"
"""Whose names the `props` are."""
_IDS: Final = UUID("6a1c6a52-6d0c-5f0e-9c2f-0b7d3c2f8e11")

Row = Mapping[str, Any]


def oscal_bytes(assessment: Assessment, frames: Mapping[str, pd.DataFrame]) -> bytes:
    """Return the document. Ids are made of what they stand for, the time is that of the report."""
    evidence = assessment.evidence
    at, cluster = format_time(evidence.as_of), evidence.config.cluster.name
    controls, ledgers = plain_rows(frames["controls"]), plain_rows(frames["ledger"])
    resources = [_plan(cluster), *_heads(ledgers)]
    observations = [_observation(cluster, at, c, resources[1:]) for c in controls]
    findings = list(_findings(cluster, at, controls))
    ids = [{"control-id": c.oscal} for c in CONTROLS if c.oscal]
    result = {
        "uuid": _id("result", cluster, at, str(evidence.period)),
        "title": f"Backups of {cluster}",
        "description": "Computed by qdrant-dr from the records in the repositories alone.",
        "start": format_time(evidence.since),
        "end": at,
        "props": [_prop("source-kind", assessment.source_kind or "unknown")],
        "reviewed-controls": {"control-selections": [{"include-controls": ids}]},
        "observations": observations,
        **({"findings": findings} if findings else {}),
    }
    document = {
        "assessment-results": {
            "uuid": _id("document", cluster, at, str(evidence.period)),
            "metadata": {
                "title": f"Recovery of {cluster}: assessment by records",
                "last-modified": at,
                "version": at,
                "oscal-version": OSCAL_VERSION,
                "props": [_prop("tool-version", __version__)],
            },
            "import-ap": {"href": f"#{resources[0]['uuid']}"},
            "results": [result],
            "back-matter": {"resources": resources},
        }
    }
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    return (visible(text) + "\n").encode()


def _observation(cluster: str, at: str, c: Row, heads: Sequence[Row]) -> dict[str, Any]:
    proof = [{"href": f"#{h['uuid']}", "description": h["title"]} for h in heads]
    return {
        "uuid": _observed(cluster, at, c),
        "title": f"{c['framework']} {c['control']}",
        "description": f"{c['asks']}: {c['figures']}",
        "props": [
            _prop("framework", c["framework"]),
            _prop("control", c["control"]),
            _prop("state", c["state"]),
            _prop("covers", c["covers"]),
            *([_prop("computed-from", c["computed_from"])] if c["computed_from"] else []),
        ],
        "methods": ["TEST"],
        "types": ["control-objective"],
        "collected": at,
        **({"relevant-evidence": proof} if proof else {}),
        "remarks": f"A person must add: {c['add']}.",
    }


def _findings(cluster: str, at: str, controls: Sequence[Row]) -> Iterator[dict[str, Any]]:
    known = {(c.framework, c.id): c.oscal for c in CONTROLS if c.oscal}
    for c in controls:
        oscal = known.get((c["framework"], c["control"]))
        whole = c["state"] == "met" and c["covers"] == "figures"
        if oscal is None or not (whole or c["state"] == "not met"):
            continue
        yield {
            "uuid": _id("finding", cluster, at, c["framework"], c["control"]),
            "title": f"{c['framework']} {c['control']}: {c['state']}",
            "description": c["figures"],
            "target": {
                "type": "objective-id",
                "target-id": f"{oscal}_obj",
                "status": {"state": "satisfied" if whole else "not-satisfied"},
            },
            "related-observations": [{"observation-uuid": _observed(cluster, at, c)}],
        }


def _plan(cluster: str) -> dict[str, Any]:
    return {
        "uuid": _id("plan", cluster),
        "title": "Objectives of the configuration",
        "description": "There is no assessment plan: what is checked is the table of controls of "
        "qdrant-dr, against the objectives that are configured.",
    }


def _heads(ledgers: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the last entry of each ledger: every record of the repository hangs on it."""
    for row in ledgers:
        if row["head_number"] is None:
            continue
        number, digest = int(row["head_number"]), row["head_sha256"]
        path = f"{quote(row['repository'])}/{layout.ledger_entry(number)}"
        yield {
            "uuid": _id("entry", row["repository"], str(number), digest),
            "title": f"Ledger of {row['repository']}, entry {number} ({row['state']})",
            "rlinks": [{"href": path, "hashes": [{"algorithm": "SHA-256", "value": digest}]}],
        }


def _observed(cluster: str, at: str, c: Row) -> str:
    return _id("observation", cluster, at, c["framework"], c["control"])


def _id(*of: str) -> str:
    return str(uuid5(_IDS, "\n".join(of)))


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NS, "value": value}
