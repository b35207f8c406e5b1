"""Whoever opens a form of Prefect finds every field explained, and every deployment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
ENTRYPOINTS = sorted({d["entrypoint"] for d in DEPLOYMENTS})
WITHOUT_FLOW = {"__init__", "parameters"}


def test_every_flow_is_deployed() -> None:
    flows = {p.stem for p in (ROOT / "flows").glob("*.py")} - WITHOUT_FLOW
    assert flows == {e.split(".")[1] for e in ENTRYPOINTS}


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_parameter_of_a_flow_is_described(entrypoint: str) -> None:
    flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    assert flow.description
    fields = flow.parameters.properties
    assert fields
    for name, field in fields.items():
        assert field["title"] == name
        text = field.get("description", "")
        assert text.endswith("."), f"{name} of {flow.name}: {text!r}"
        assert text[0].isupper() or text.startswith("NAME")


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint']}-{d['name']}")
def test_every_deployment_is_described(deployment: dict[str, str]) -> None:
    assert deployment["description"].endswith(".")
