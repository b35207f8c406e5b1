"""`prefect.yaml` says what its flows accept, without a server to ask."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint

from tasks.deployment_names import FORMER, deployment_name
from tests.support.prefect_yaml import ROOT, SPEC, TEXT

DEPLOYMENTS = {d["entrypoint"].split(".")[1]: d for d in SPEC["deployments"]}
VERBS = {
    "backup", "replicate", "drill", "verify", "expire", "restore", "startup", "report", "watch",
    "check", "diff", "export",
}  # fmt: skip
KNOWN = {
    "QDRANT_DR_CONFIG": "/etc/qdrant-dr.yaml", "QDR_WORK_POOL": "dr", "QDR_CLUSTER": "shop",
}  # fmt: skip


def filled(value: Any) -> Any:
    """The parameters as deploying would fill them in."""
    if isinstance(value, dict):
        return {k: filled(v) for k, v in value.items()}
    if isinstance(value, str):
        return re.sub(r"\{\{ \$(\w+) \}\}", lambda m: KNOWN[m.group(1)], value)
    return value


@pytest.mark.parametrize(
    "verb", ["backup", "replicate", "verify", "drill", "check", "report", "watch"]
)
def test_parameters_fit_the_flow(verb: str) -> None:
    deployment = DEPLOYMENTS[verb]
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert flow.name == verb
    assert deployment["schedules"], "every deployment has a cadence"
    for schedule in deployment["schedules"]:
        parameters = {**deployment["parameters"], **schedule.get("parameters", {})}
        validated = flow.validate_parameters(filled(parameters))
        assert validated["config"] == KNOWN["QDRANT_DR_CONFIG"]
        assert set(parameters) <= set(flow.parameters.properties)
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert schedule["slug"]
        assert "active" not in schedule, "it would switch on what an operator switched off"


@pytest.mark.parametrize("verb", ["backup", "replicate", "verify", "drill", "report", "watch"])
def test_an_unset_configuration_is_refused(verb: str) -> None:
    from prefect.exceptions import ParameterTypeError

    flow = load_flow_from_entrypoint(DEPLOYMENTS[verb]["entrypoint"], use_placeholder_flow=False)
    with pytest.raises(ParameterTypeError, match="config"):
        flow.validate_parameters({"config": ""})


def test_a_restore_runs_when_somebody_says_so_and_never_by_itself() -> None:
    deployment = DEPLOYMENTS["restore"]
    assert "schedules" not in deployment
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    asked = {"backup": "movies@latest-proven", "to": "http://localhost:6333"}
    validated = flow.validate_parameters({**filled(deployment["parameters"]), **asked})
    assert not validated["into_existing"]
    assert not validated["allow_unproven"]
    assert (validated["bandwidth_mib_per_second"], validated["keep_failed"]) == (None, False)
    every = {"every": True, "of_run": "20261122T021500Z-abcdef", "to": "http://localhost:6333"}
    assert flow.validate_parameters({**filled(deployment["parameters"]), **every})["every"]


def test_a_start_up_archive_is_written_when_somebody_says_where() -> None:
    from prefect.exceptions import ParameterTypeError

    deployment = DEPLOYMENTS["startup"]
    assert "schedules" not in deployment
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    given = filled(deployment["parameters"])
    assert not flow.validate_parameters({**given, "out": "/backup/full.snapshot"})["prove"]
    with pytest.raises(ParameterTypeError, match="out"):  # a worker's folder is a temporary one
        flow.validate_parameters({**given, "out": "full.snapshot"})


def test_an_export_is_written_when_somebody_says_of_what_and_where() -> None:
    from prefect.exceptions import ParameterTypeError

    deployment = DEPLOYMENTS["export"]
    assert "schedules" not in deployment
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    given = {**filled(deployment["parameters"]), "backup": "movies@latest-proven"}
    for out in ("/backup/movies", "s3://archive/movies"):
        assert flow.validate_parameters({**given, "out": out})["form"] == "parquet"
    with pytest.raises(ParameterTypeError, match="out"):
        flow.validate_parameters({**given, "out": "movies"})


def test_runs_queue_up_and_name_their_pool() -> None:
    assert set(DEPLOYMENTS) == VERBS
    assert set(FORMER) == VERBS - {"diff", "export"}  # which came after those names
    assert len(SPEC["deployments"]) == len(VERBS)
    for verb, deployment in DEPLOYMENTS.items():
        # lists show the name alone: it tells what runs and for which cluster
        assert filled(deployment["name"]) == deployment_name(verb, KNOWN["QDR_CLUSTER"])
        # a late look is worth nothing; all else that was due is done
        looks = verb == "watch"
        late = "CANCEL_NEW" if looks else "ENQUEUE"
        # a paused run loses its slot on the server, and is ended at the next renewal for that
        limit = None if verb == "restore" else {"limit": 1, "collision_strategy": late}
        assert deployment.get("concurrency_limit") == limit
        assert deployment["work_pool"]["name"] == "{{ $QDR_WORK_POOL }}"
        assert deployment["tags"] == ["qdrant-dr-watch" if looks else "qdrant-dr"]
        assert deployment["description"]


def test_only_known_variables_are_used() -> None:
    assert set(re.findall(r"\{\{ \$(\w+) \}\}", TEXT)) == set(KNOWN)
    assert set(re.findall(r"\{\{.*?\}\}", TEXT)) == {f"{{{{ ${name} }}}}" for name in KNOWN}


def test_every_variable_is_explained() -> None:
    readme = (ROOT / "deployments/README.md").read_text()
    assert all(name in TEXT.split("name: qdrant-dr")[0] and name in readme for name in KNOWN)
