"""Export the standing of every collection as Prometheus metrics, for alerts elsewhere.

What was not measured has no sample; it is never 0. So also alert on absence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.forecast import DAY
from qdrant_dr.report.evidence.vaults import stored_there
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.outputs.last_runs import ENDINGS, last_runs

Sample = tuple[Mapping[str, str], float | None]
STATUSES = ("protected", "degraded", "unproven", "unprotected", "excluded", "gone")


def prometheus(assessment: Assessment) -> str:
    """Write gauges only, durations in seconds, times as Unix seconds.

    The text is valid both as Prometheus's format 0.0.4 and as OpenMetrics 1.0.
    """
    return "".join(_metric(g, assessment) for g in GAUGES) + "# EOF\n"


@dataclass(frozen=True)
class Gauge:
    """One metric: its name after `qdrant_dr_`, what it means, and how its samples are found."""

    name: str
    meaning: str
    samples: Callable[[Assessment], Iterable[Sample]]


def _of_cluster(read: Callable[[Assessment], float]) -> Callable[[Assessment], Iterable[Sample]]:
    return lambda a: [({}, read(a))]


def _each(
    read: Callable[[Standing, Assessment], float | None],
) -> Callable[[Assessment], Iterable[Sample]]:
    """Return one sample for every collection that is not excluded."""
    return lambda a: [
        ({"collection": s.collection}, read(s, a)) for s in a.standings if s.status != "excluded"
    ]


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _statuses(a: Assessment) -> Iterator[Sample]:
    for s in a.standings:
        for status in STATUSES:
            yield {"collection": s.collection, "status": status}, float(s.status == status)


def _full(a: Assessment) -> Iterator[Sample]:
    """Tell forecasts only. A limit that is not reached within ten years is reached never."""
    for s in a.series:
        if (left := s.forecast.days_left) is not None and s.limit_name is not None:
            for bound, found in (("expected", left.expected), ("soonest", left.low)):
                labels = {"collection": s.subject, "limit": s.limit_name, "bound": bound}
                yield labels, math.inf if found is None else found * DAY.total_seconds()


def _stored(a: Assessment) -> Iterator[Sample]:
    for r in a.evidence.repositories:
        if r.error is None:  # of one that could not be read nobody knows what it holds
            labels = {"repository": r.name, "domain": r.domain}
            yield labels, float(stored_there(a.evidence.catalog, r.name))


def _endings(a: Assessment) -> Iterator[Sample]:
    for run in last_runs(a.evidence):
        for ending in ENDINGS:
            yield {"verb": run.verb, "verdict": ending}, float(run.ending == ending)


GAUGES: tuple[Gauge, ...] = (
    Gauge("as_of_timestamp_seconds", "when the records were read",
          _of_cluster(lambda a: a.evidence.as_of.timestamp())),
    Gauge("collection_status", "1 for the status that each collection has", _statuses),
    Gauge("collection_rpo_seconds", "age of the newest proven backup",
          _each(lambda s, _: _seconds(s.rpo))),
    Gauge("collection_recovery_point_timestamp_seconds", "when that backup was captured",
          _each(lambda s, _: _unix(s.proven.manifest.captured_at if s.proven else None))),
    Gauge("collection_rpo_objective_seconds", "recovery point objective",
          _each(lambda s, _: _seconds(s.rpo_objective))),
    Gauge("collection_proof_timestamp_seconds", "when that backup was last proven",
          _each(lambda s, _: _unix(s.proof.ended_at if s.proof else None))),
    Gauge("collection_drill_timestamp_seconds", "when the last drill that passed began",
          _each(lambda s, _: _unix(s.last_drill))),
    Gauge("collection_drill_due_timestamp_seconds", "when the next drill is due",
          _each(lambda s, a: _unix(s.drill_due(a.evidence.config.objectives.drill_every)))),
    Gauge("collection_rto_seconds", "newest recovery time measured on a real server",
          _each(lambda s, _: _seconds(s.rto.rto if s.rto else None))),
    Gauge("collection_rto_objective_seconds", "recovery time objective",
          _each(lambda s, _: _seconds(s.rto_objective))),
    Gauge("collection_copies", "copies of it that count",
          _each(lambda s, _: float(len(s.safe_copies)))),
    Gauge("collection_domains", "failure domains of those copies",
          _each(lambda s, _: float(len(s.domains)))),
    Gauge("collection_full_in_seconds", "forecast of when its size reaches a limit, +Inf if never",
          _full),
    Gauge("repository_readable", "0 if it could not be read",
          lambda a: [({"repository": r.name, "domain": r.domain}, float(r.error is None))
                     for r in a.evidence.repositories]),
    Gauge("repository_stored_bytes", "bytes of the backups in it", _stored),
    Gauge("run_timestamp_seconds", "when the last run of a verb ended, or began if it crashed",
          lambda a: [({"verb": r.verb}, r.at.timestamp()) for r in last_runs(a.evidence)]),
    Gauge("run_ok_timestamp_seconds", "when the last run of a verb with verdict ok ended",
          lambda a: [({"verb": r.verb}, _unix(r.ok_at)) for r in last_runs(a.evidence)]),
    Gauge("run_verdict", "1 for the verdict of the last run of a verb", _endings),
    Gauge("unreadable_records", "records that exist but cannot be believed",
          _of_cluster(lambda a: float(len(a.evidence.unreadable)))),
    Gauge("findings", "findings by severity",
          lambda a: [({"severity": worth}, float(sum(p.severity == worth for p in a.problems)))
                     for worth in ("critical", "warning", "notice")]),
)  # fmt: skip
"""Every metric there is; `docs/monitoring.md` and the samples in `deployments/monitoring` use these
names."""


def _metric(gauge: Gauge, assessment: Assessment) -> str:
    name = f"qdrant_dr_{gauge.name}"
    lines = [f"# HELP {name} {gauge.meaning}", f"# TYPE {name} gauge"]
    cluster = {"cluster": assessment.evidence.config.cluster.name}
    for labels, value in gauge.samples(assessment):
        if value is None:
            continue
        told = ",".join(f'{k}="{_escaped(v)}"' for k, v in {**cluster, **labels}.items())
        lines.append(f"{name}{{{told}}} {'+Inf' if value == math.inf else format(value, '.15g')}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
