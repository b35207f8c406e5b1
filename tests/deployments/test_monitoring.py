"""Alert rules and dashboard: PromQL about metrics and labels that we emit, explained in docs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from qdrant_dr.report.evidence.sizes import WARN_DAYS
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.outputs.metrics import GAUGES, prometheus
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.samples import ROOT
from tests.support.worlds import evidence

FOLDER = ROOT / "deployments" / "monitoring"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
(GROUP,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [t["expr"] for p in PANELS for t in p["targets"]]
DURATION = re.compile(r"(\d+(ms|[smhdwy]))+")
ADDED = {"alertname", "severity"}
"""Labels that Prometheus gives an alert itself."""


def emitted() -> dict[str, dict[str, set[str]]]:
    """Labels of every metric, and their values, where everything has been done once."""
    made = [
        r.manifest(at=NOW - days(6 - n) - hours(2), size_bytes=(n + 1) * 2**30) for n in range(6)
    ]
    ends = [r.run_end(r.run_start(verb, NOW - hours(3))) for verb in ("backup", "verify")]
    ends.append(
        r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(made[-1]),)),
    )
    of = evidence(
        {"aws": made, "gcp": made},
        config=r.config(capture={"spool": {"max": "16GiB"}}),
        proofs=[r.proof(m, where) for m in made for where in ("aws", "gcp")],
        ends=ends,
    )
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(prometheus(Assessment.of(of))):
        labels = found.setdefault(family.name, {})
        for sample in family.samples:
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


EMITTED = emitted()
KNOWN_VALUES = {"status", "severity", "verdict", "bound", "verb"}
"""Labels whose values are ours, and not names that a user chose."""


def selectors(expr: Any) -> Iterator[promql.VectorSelector]:
    """Every selector in a parsed expression."""
    if isinstance(expr, promql.VectorSelector):
        yield expr
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        if (inner := getattr(expr, part, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(expr, "args", None) or ():
        yield from selectors(inner)


def believed(query: str) -> None:
    """The query parses, and selects only what we emit."""
    found = list(selectors(promql.parse(query)))
    assert len(found) == len(re.findall(r"\bqdrant_dr_\w+", query)), "none is overlooked"
    for selector in found:
        assert selector.name in EMITTED, selector.name
        labels = EMITTED[selector.name]
        for m in selector.matchers.matchers:
            assert m.name in labels, f"{selector.name} has no label {m.name}"
            if m.name in KNOWN_VALUES:
                wanted = set(m.value.split("|"))
                assert wanted <= labels[m.name], f"{m.name} is never {wanted - labels[m.name]}"


@pytest.mark.parametrize(
    "query",
    ["sum(", "qdrant_dr_findingz > 0", 'qdrant_dr_findings{sevrity="critical"} > 0',
     'qdrant_dr_run_verdict{verdict=~"failed|crash"}'],
)  # fmt: skip
def test_a_wrong_query_is_not_believed(query: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        believed(query)


def test_every_metric_is_emitted_where_everything_has_been_done() -> None:
    assert set(EMITTED) == {f"qdrant_dr_{g.name}" for g in GAUGES}
    assert all(EMITTED.values()), [name for name, labels in EMITTED.items() if not labels]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_is_one_that_prometheus_loads(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"QdrantDr[A-Za-z]+", rule["alert"])
    assert DURATION.fullmatch(rule.get("for", "0s"))
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    believed(rule["expr"])


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_the_text_of_an_alert_uses_labels_that_it_has(rule: dict[str, Any]) -> None:
    first = next(selectors(promql.parse(rule["expr"]))).name
    for text in rule["annotations"].values():
        used = set(re.findall(r"\$labels\.(\w+)", text))
        assert used <= set(EMITTED[first]) | ADDED, text
        assert text.count("{{") == text.count("}}")


def test_alerts_have_names_of_their_own_and_each_is_explained() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    explained = re.findall(r"^\| `(QdrantDr\w+)` \|", PAGE, re.MULTILINE)
    assert explained == names


def test_the_first_alert_is_about_absence() -> None:
    assert "absent(" in RULES[0]["expr"]


def test_the_forecast_warns_when_our_own_finding_does() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "QdrantDrFillsUp"]
    assert f"< {WARN_DAYS:g} * 86400" in rule["expr"]


def test_limits_in_the_rules_are_the_defaults_of_the_objectives() -> None:
    promised = r.config().objectives
    by_name = {rule["alert"]: rule for rule in RULES}
    wait = by_name["QdrantDrUnprotected"]["for"]
    assert promql.parse_duration(wait) == promised.rpo
    assert f"{promised.proven.max_age.days} * 86400" in by_name["QdrantDrVerifyNotRun"]["expr"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_dashboard_finds_what_we_emit(query: str) -> None:
    assert 'cluster=~"$cluster"' in query
    believed(query)


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["uid"]
    ids = [p["id"] for p in PANELS]
    assert len(set(ids)) == len(ids)
    variables = {v["name"] for v in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "cluster"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= variables | {"__all"}
    (label_values,) = re.findall(
        r"label_values\((\w+), cluster\)", DASHBOARD["templating"]["list"][1]["definition"]
    )
    assert label_values in EMITTED


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])


def test_the_page_lists_every_metric() -> None:
    listed = re.findall(r"^\| `qdrant_dr_(\w+)` \|", PAGE, re.MULTILINE)
    assert listed == [g.name for g in GAUGES]
    for name in listed:
        labels = set(EMITTED[f"qdrant_dr_{name}"]) - {"cluster"}
        (row,) = re.findall(rf"^\| `qdrant_dr_{name}` \| ?([^|]*)\|", PAGE, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == labels, name
