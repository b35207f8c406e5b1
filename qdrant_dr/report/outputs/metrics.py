"""Export the standing of every collection as Prometheus metrics, for alerts elsewhere.

What was not measured has no sample; it is never 0. So also alert on absence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdrant_dr.report.evidence.standing import Standing
from qdrant_dr.report.findings.assessment import Assessment

Sample = tuple[Mapping[str, str], float | None]
STATUSES = ("protected", "degraded", "unproven", "unprotected", "excluded", "gone")


def prometheus(assessment: Assessment) -> str:
    """Write the text format 0.0.4: gauges only, durations in seconds, times as Unix seconds."""
    evidence = assessment.evidence
    cluster = {"cluster": evidence.config.cluster.name}
    wanted = [s for s in assessment.standings if s.status != "excluded"]

    def each(read: str) -> list[Sample]:
        return [({**cluster, "collection": s.collection}, _value(s, read)) for s in wanted]

    severities = [p.severity for p in assessment.problems]
    return "".join(
        (
            _metric("as_of_timestamp_seconds", "when the records were read",
                    [(cluster, evidence.as_of.timestamp())]),
            _metric("collection_status", "1 for the status that each collection has", [
                ({**cluster, "collection": s.collection, "status": status},
                 float(s.status == status))
                for s in assessment.standings for status in STATUSES
            ]),
            _metric("collection_rpo_seconds", "age of the newest proven backup", each("rpo")),
            _metric("collection_rpo_objective_seconds", "recovery point objective",
                    each("rpo_objective")),
            _metric("collection_proof_timestamp_seconds", "when that backup was last proven",
                    each("proof")),
            _metric("collection_rto_seconds", "newest recovery time measured on a real server",
                    each("rto")),
            _metric("collection_rto_objective_seconds", "recovery time objective",
                    each("rto_objective")),
            _metric("collection_copies", "copies of it that count", each("copies")),
            _metric("collection_domains", "failure domains of those copies", each("domains")),
            _metric("repository_readable", "0 if it could not be read", [
                ({**cluster, "repository": r.name, "domain": r.domain}, float(r.error is None))
                for r in evidence.repositories
            ]),
            _metric("unreadable_records", "records that exist but cannot be believed",
                    [(cluster, float(len(evidence.unreadable)))]),
            _metric("findings", "findings by severity", [
                ({**cluster, "severity": severity}, float(severities.count(severity)))
                for severity in ("critical", "warning", "notice")
            ]),
        )
    )  # fmt: skip


def _value(s: Standing, what: str) -> float | None:
    if what == "rpo":
        return s.rpo.total_seconds() if s.rpo is not None else None
    if what == "rpo_objective":
        return s.rpo_objective.total_seconds()
    if what == "rto_objective":
        return s.rto_objective.total_seconds()
    if what == "rto":
        measured = s.rto.rto if s.rto else None
        return measured.total_seconds() if measured is not None else None
    if what == "proof":
        return s.proof.ended_at.timestamp() if s.proof else None
    return float(len(s.safe_copies if what == "copies" else s.domains))


def _metric(name: str, meaning: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP qdrant_dr_{name} {meaning}", f"# TYPE qdrant_dr_{name} gauge"]
    for labels, value in samples:
        if value is None:
            continue
        told = ",".join(f'{k}="{_escaped(v)}"' for k, v in labels.items())
        lines.append(f"qdrant_dr_{name}{{{told}}} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
