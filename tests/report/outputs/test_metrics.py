"""The metrics: valid for Prometheus and OpenMetrics, no number that nobody measured."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.outputs.metrics import GAUGES, prometheus
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, good

Key = tuple[str, ...]
G = 2**30


def samples(of: Evidence, parse: Any = openmetrics) -> dict[str, dict[Key, float]]:
    """Values by metric, then by the values of all labels but the cluster, in order of label."""
    found: dict[str, dict[Key, float]] = {}
    for family in parse(prometheus(Assessment.of(of))):
        assert family.type == "gauge"
        assert family.documentation
        values = found.setdefault(family.name.removeprefix("qdrant_dr_"), {})
        for sample in family.samples:
            assert sample.labels["cluster"] == of.config.cluster.name
            key = tuple(v for k, v in sorted(sample.labels.items()) if k != "cluster")
            assert key not in values, "one sample per series"
            values[key] = sample.value
    return found


def age(value: float) -> float:
    return NOW.timestamp() - value


def test_both_formats_read_the_same() -> None:
    assert samples(good(), openmetrics) == samples(good(), text_format)
    assert list(samples(good())) == [g.name for g in GAUGES]
    assert prometheus(Assessment.of(good())).endswith("\n# EOF\n")


@given(st.text(min_size=1, max_size=20).filter(str.isprintable))
def test_any_name_of_a_collection_comes_back(name: str) -> None:
    m = r.manifest(name)
    found = samples(evidence({"aws": [m], "gcp": [m]}))
    assert set(found["collection_copies"]) == {(name,)}


def test_ages_of_proof_and_drill_and_the_recovery_point() -> None:
    found = samples(good())
    assert age(found["collection_recovery_point_timestamp_seconds"]["movies",]) == 7200
    assert found["collection_rpo_seconds"]["movies",] == 7200
    assert 0 < age(found["collection_proof_timestamp_seconds"]["movies",]) < 7200
    drilled = found["collection_drill_timestamp_seconds"]["movies",]
    every = good().config.objectives.drill_every.total_seconds()
    assert found["collection_drill_due_timestamp_seconds"]["movies",] == drilled + every


def test_what_was_never_done_has_no_sample_but_its_due_time() -> None:
    m = r.manifest()
    found = samples(evidence({"aws": [m], "gcp": []}))
    for name in ("proof_timestamp_seconds", "drill_timestamp_seconds", "rpo_seconds",
                 "recovery_point_timestamp_seconds", "full_in_seconds"):  # fmt: skip
        assert found[f"collection_{name}"] == {}, name
    assert found["run_timestamp_seconds"] == {}
    due = found["collection_drill_due_timestamp_seconds"]["movies",]
    assert due == (m.captured_at + r.config().objectives.drill_every).timestamp()


def test_a_failed_drill_is_no_drill() -> None:
    m = r.manifest()
    bad = r.run_end(
        r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m, verdict="failed"),)
    )
    assert samples(good(ends=[bad]))["collection_drill_timestamp_seconds"] == {}


def test_bytes_stored_per_repository_and_unknown_if_unreadable() -> None:
    m = r.manifest()
    found = samples(evidence({"aws": [m], "gcp": []}))["repository_stored_bytes"]
    assert found == {("domain-aws", "aws"): m.size_bytes, ("domain-gcp", "gcp"): 0}
    lost = samples(evidence({"aws": [m], "gcp": [m]}, unreachable=["gcp"]))
    assert set(lost["repository_stored_bytes"]) == {("domain-aws", "aws")}
    assert lost["repository_readable"]["domain-gcp", "gcp"] == 0


def runs(*told: tuple[str, float, str], **fields: Any) -> dict[str, dict[Key, float]]:
    """Metrics after runs of these verbs, which ended so many hours ago with this verdict."""
    ends = [
        r.run_end(r.run_start(verb, NOW - hours(ago), run_id=f"run-{n}"), verdict=verdict,
                  ended_at=NOW - hours(ago))
        for n, (verb, ago, verdict) in enumerate(told)
    ]  # fmt: skip
    return samples(evidence(ends=ends, **fields))


def test_the_last_run_of_each_verb() -> None:
    found = runs(("backup", 30, "ok"), ("backup", 3, "failed"), ("verify", 2, "degraded"))
    assert age(found["run_timestamp_seconds"]["backup",]) == 3 * 3600
    assert age(found["run_ok_timestamp_seconds"]["backup",]) == 30 * 3600
    assert set(found["run_ok_timestamp_seconds"]) == {("backup",)}
    verdicts = {key for key, value in found["run_verdict"].items() if value}
    assert verdicts == {("backup", "failed"), ("verify", "degraded")}
    assert len(found["run_verdict"]) == 8


def test_a_crash_after_a_good_run_is_not_hidden_by_it() -> None:
    found = runs(("backup", 30, "ok"), starts=[r.run_start("backup", NOW - hours(7))])
    assert found["run_verdict"]["backup", "crashed"] == 1
    assert found["run_verdict"]["backup", "ok"] == 0
    assert age(found["run_timestamp_seconds"]["backup",]) == 7 * 3600
    still = runs(("backup", 30, "ok"), starts=[r.run_start("backup", NOW - hours(1))])
    assert still["run_verdict"]["backup", "ok"] == 1, "it may be under way"


def test_a_typing_error_is_no_run_of_its_verb() -> None:
    start = r.run_start("verify", NOW - hours(1), trigger="cli", parameters={"backup": "movie@l"})
    slip = r.run_end(start, verdict="failed", error=r.error("backup-not-found"))
    assert samples(evidence(ends=[slip]))["run_timestamp_seconds"] == {}


@pytest.mark.parametrize(("sizes", "reached"), [([1, 2, 3, 4, 5, 6], True), ([5] * 6, False)])
def test_days_until_full(sizes: list[int], reached: bool) -> None:
    last = len(sizes) - 1
    made = [
        r.manifest(at=NOW - days(last - n) - hours(2), size_bytes=s * G)
        for n, s in enumerate(sizes)
    ]
    config = r.config(capture={"spool": {"max": "16GiB"}})
    found = samples(evidence({"aws": made, "gcp": made}, config=config))
    full = found["collection_full_in_seconds"]
    assert set(full) == {(b, "movies", "capture.spool.max") for b in ("expected", "soonest")}
    for value in full.values():
        assert value == (pytest.approx((10 - 1 / 12) * 86400, rel=1e-6) if reached else math.inf)


def test_an_excluded_collection_has_a_status_and_nothing_else() -> None:
    rule = {"exclude": [{"match": "movies", "reason": "rebuilt nightly"}]}
    found = samples(good(config=r.config(collections=rule)))
    of_it = {n for n, values in found.items() if any("movies" in k for k in values)}
    assert of_it == {"collection_status"}


def test_every_name_follows_the_rules_of_prometheus() -> None:
    for gauge in GAUGES:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", gauge.name), gauge.name
        assert not gauge.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
