"""OSCAL assessment results: the fields that every 1.1.2 to 1.2.x requires, none that it forbids."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.outputs.oscal import NS, oscal_bytes
from tests.support.report_ledgers import TRUSTED, chain, read
from tests.support.worlds import evidence, good

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "oscal" / "assessment-results.json").read_text()
)


def written(of: Evidence) -> bytes:
    assessment = Assessment.of(of)
    return oscal_bytes(assessment, build_frames(assessment))


def results(of: Evidence) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(written(of))["assessment-results"]
    return body


def with_ledgers() -> Evidence:
    return replace(good(), ledgers=(read("aws", chain("aws")), read("gcp", ())), signers=TRUSTED)


@pytest.mark.parametrize("world", [good, evidence, with_ledgers])
def test_it_is_valid(world: Any) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(written(world())))


def test_the_schema_refuses_what_oscal_refuses() -> None:
    """Each of these was refused by the schema of NIST, too."""
    validator = Draft202012Validator(SCHEMA)
    for change in ("uuid", "import-ap", "state", "empty", "unknown", "spaces", "time"):
        body = json.loads(written(with_ledgers()))
        found = body["assessment-results"]
        result = found["results"][0]
        match change:
            case "uuid":
                found["uuid"] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
            case "import-ap":
                del found["import-ap"]
            case "state":
                result["findings"][0]["target"]["status"]["state"] = "met"
            case "empty":
                result["observations"][0]["props"] = []
            case "unknown":
                result["observations"][0]["figures"] = "12"
            case "spaces":
                result["observations"][0]["props"][0]["value"] = " a"
            case "time":
                result["start"] = "2026-11-22T12:00:00"
        with pytest.raises(ValidationError):
            validator.validate(body)


def test_equal_evidence_gives_equal_bytes_and_ids_are_unique() -> None:
    assert written(with_ledgers()) == written(with_ledgers())
    text = written(with_ledgers()).decode()
    found = results(with_ledgers())
    observed = [o["uuid"] for o in found["results"][0]["observations"]]
    assert len(set(observed)) == len(observed)
    for finding in found["results"][0]["findings"]:
        assert finding["related-observations"][0]["observation-uuid"] in observed
    assert found["import-ap"]["href"].removeprefix("#") in text


def test_every_control_is_an_observation_and_only_whole_answers_are_satisfied() -> None:
    result = results(good())["results"][0]
    props = [
        {p["name"]: p["value"] for p in o["props"] if p["ns"] == NS} for o in result["observations"]
    ]
    assert {p["framework"] for p in props} >= {"SOC 2", "DORA", "NIST SP 800-53", "CIS Controls"}
    states = {p["control"]: (p["state"], p["covers"]) for p in props}
    satisfied, refused = set(), set()
    for finding in result["findings"]:
        control = finding["title"].removeprefix("NIST SP 800-53 ").partition(":")[0]
        good_state = finding["target"]["status"]["state"] == "satisfied"
        (satisfied if good_state else refused).add(control)
    nist = {p["control"] for p in props if p["framework"] == "NIST SP 800-53"}
    assert satisfied == {c for c in nist if states[c] == ("met", "figures")}
    assert refused == {c for c in nist if states[c][0] == "not met"}
    assert satisfied
    assert refused


def test_the_evidence_is_the_last_entry_of_each_ledger_with_its_hash() -> None:
    found = results(with_ledgers())
    last = chain("aws")[-1].entry
    (resource,) = [r for r in found["back-matter"]["resources"] if "rlinks" in r]
    (link,) = resource["rlinks"]
    assert link["href"] == "aws/evidence/0000000/0000000003.json"
    assert link["hashes"] == [{"algorithm": "SHA-256", "value": last.sha256}]
    for observation in found["results"][0]["observations"]:
        assert observation["relevant-evidence"][0]["href"] == f"#{resource['uuid']}"
    assert "relevant-evidence" not in results(good())["results"][0]["observations"][0]
