"""The entries of prefect.yaml, and in what a deployment of the server differs from its entry. Pure.

What prefect.yaml says wins, but for what an operator switches and sets while things run: whether
a deployment is paused, whether a schedule is on, and how many runs a deployment has at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from qdrant_dr import project
from qdrant_dr.errors import UsageError
from qdrant_dr.version import __version__
from tasks.deployment_names import cluster_tag

OURS = f"{project.__name__}.{project.pull.__name__}"
"""Our pull step, as prefect.yaml calls it."""
CLUSTER = "QDR_CLUSTER"
"""The variable with the name of the cluster."""
VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")
COMPARED = {
    "name", "entrypoint", "description", "tags", "parameters", "schedules", "concurrency_limit",
    "work_pool", "paused", "pull", "enforce_parameter_schema", "version",
}  # fmt: skip
"""What we can tell to be equal. An entry with more than that is deployed each time."""
Schedule = CronSchedule | IntervalSchedule | RRuleSchedule
KINDS: Mapping[str, type[Schedule]] = {
    "cron": CronSchedule,
    "interval": IntervalSchedule,
    "rrule": RRuleSchedule,
}


@dataclass(frozen=True)
class Entry:
    """One entry of `deployments`: as it stands in the file, and as it means with variables."""

    raw: dict[str, Any]
    meant: dict[str, Any]
    flow: Any
    pull: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """Return FLOW/DEPLOYMENT, as Prefect's commands take it."""
        return f"{self.flow.name}/{self.meant['name']}"

    def with_parameters(self, chosen: Mapping[str, Any]) -> Entry:
        """Return it with other values for some parameters."""
        raw, meant = ({**e, "parameters": {**(e.get("parameters") or {}), **chosen}}
                      for e in (self.raw, self.meant))  # fmt: skip
        return Entry(raw, meant, self.flow, self.pull) if chosen else self

    @property
    def schedules(self) -> dict[str, dict[str, Any]]:
        """Return the schedules by their slug. Raise UsageError for one without: it could not be
        found again."""
        listed = self.meant.get("schedules") or []
        if nameless := [s for s in listed if not s.get("slug")]:
            raise UsageError(
                f"a schedule of {self.name} has no `slug`: {nameless[0]}",
                "give it one in prefect.yaml: that is how a second `qdrant-dr up` finds it again.",
            )
        return {schedule["slug"]: schedule for schedule in listed}


def read(file: Path) -> dict[str, Any]:
    """Read the file. Raise UsageError if it is not a file of deployments."""
    try:
        spec = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as e:
        raise UsageError(f"{file} cannot be read: {e}", "restore it from the checkout.") from None
    if not isinstance(spec, dict) or not spec.get("deployments"):
        raise UsageError(f"{file} has no `deployments`", "restore it from the checkout.")
    return spec


def texts_of(value: object) -> Iterator[str]:
    """Yield every text in it, at any depth; keys do not count."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from texts_of(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from texts_of(below)


def variables(spec: object) -> set[str]:
    """Return the environment variables that it refers to as `{{ $NAME }}`; comments do not
    count."""
    return {name for text in texts_of(spec) for name in VARIABLE.findall(text)}


def filled(value: Any, environ: Mapping[str, str]) -> Any:
    """Put the variables in, as deploying does. Prefect's own filling asks its process only."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda m: environ[m.group(1)], value)
    if isinstance(value, Mapping):
        return {k: filled(v, environ) for k, v in value.items()}
    return [filled(v, environ) for v in value] if isinstance(value, list) else value


def entries(spec: Mapping[str, Any], environ: Mapping[str, str]) -> list[Entry]:
    """Return every entry with its flow, tagged with its cluster. The variables must be set: Prefect
    makes an unset one empty."""
    found = []
    for listed in spec["deployments"]:
        tags = [*(listed.get("tags") or []), cluster_tag(environ[CLUSTER])]
        raw = {**listed, "tags": list(dict.fromkeys(tags))}
        meant = filled(raw, environ)
        pull = of_this_version(raw["pull"] if "pull" in raw else spec.get("pull"))
        flow: Flow[..., Any] = load_flow_from_entrypoint(
            meant["entrypoint"], use_placeholder_flow=False
        )
        found.append(Entry(raw, meant, flow, filled(pull, environ)))
    return found


def of_this_version(pull: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the pull steps; ours gets the version of who deploys, to compare it on the worker."""
    return [
        {name: {"version": __version__, **(said or {})} if name == OURS else said}
        for step in pull or ()
        for name, said in step.items()
    ]


def differences(entry: Entry, there: DeploymentResponse) -> list[str]:
    """Say in what a deployment differs from its entry, schedules and switches apart."""
    meant, flow = entry.meant, entry.flow
    if beyond := sorted(set(meant) - COMPARED):
        return [f"{key}, which cannot be compared" for key in beyond]
    if any("prefect." in text for t in texts_of(meant) for text in re.findall(r"\{\{.*?\}\}", t)):
        return ["a template that only Prefect can fill"]
    pool = meant["work_pool"]
    limit = meant.get("concurrency_limit") or {}
    options = there.concurrency_options.model_dump(mode="json") if there.concurrency_options else {}
    schema = parameter_schema(flow).model_dump(mode="json", exclude_unset=True)
    pairs: dict[str, tuple[object, object]] = {
        "entrypoint": (meant["entrypoint"], there.entrypoint),
        "version": (version(meant), there.version),
        "description": (meant.get("description") or flow.description, there.description),
        "tags": (sorted(meant.get("tags") or []), sorted(there.tags)),
        "parameters": (meant.get("parameters") or {}, there.parameters),
        "parameter schema": (schema, there.parameter_openapi_schema),
        "schema enforced": (
            meant.get("enforce_parameter_schema", True), there.enforce_parameter_schema
        ),
        "pull": (entry.pull, there.pull_steps or []),
        "work pool": (pool["name"], there.work_pool_name),
        "work queue": (pool.get("work_queue_name") or "default", there.work_queue_name),
        "job variables": (pool.get("job_variables") or {}, there.job_variables or {}),
    }  # fmt: skip
    if isinstance(limit, dict):
        pairs["collision strategy"] = (
            limit.get("collision_strategy", "ENQUEUE"), options.get("collision_strategy", "ENQUEUE")
        )  # fmt: skip
    return [what for what, (ours, theirs) in pairs.items() if ours != theirs]


def version(raw: Mapping[str, Any]) -> str:
    """Return the version of the entry, else of the package, which is what a worker runs. Without
    it, Prefect takes the commit of whatever checkout it is called in."""
    return str(raw.get("version") or __version__)


def wanted_limit(entry: Entry) -> int | None:
    """Return how many runs the file allows at a time."""
    limit = entry.meant.get("concurrency_limit")
    return limit.get("limit") if isinstance(limit, dict) else limit


def when(schedule: Mapping[str, Any]) -> Schedule:
    """Build the schedule as Prefect knows it. Raise UsageError for one without cron, interval,
    rrule."""
    for kind, model in KINDS.items():
        if kind in schedule:
            given = {k: v for k, v in schedule.items() if k in model.model_fields}
            if isinstance(given.get("interval"), int | float):
                given["interval"] = timedelta(seconds=given["interval"])
            return model.model_validate(given)
    raise UsageError(
        f"schedule {schedule.get('slug')!r} has neither cron nor interval nor rrule",
        "say when, in prefect.yaml.",
    )


def same_schedule(schedule: Mapping[str, Any], there: Any) -> bool:
    """Say whether a schedule of the server is as the file says; what the file does not say may be
    anything."""
    ours, theirs = when(schedule), there.schedule
    return (
        type(ours) is type(theirs)
        and all(getattr(ours, k) == getattr(theirs, k) for k in ours.model_fields_set)
        and (schedule.get("parameters") or {}) == (there.parameters or {})
    )


def written(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schedule of the file as it is written to the server."""
    return {
        "schedule": when(schedule).model_dump(mode="json", exclude_unset=True),
        "parameters": dict(schedule.get("parameters") or {}),
    }


def as_written(ours: Mapping[str, Any], there: Any) -> bool:
    """Say whether a schedule of the server is still as it was written."""
    return same_schedule({**ours["schedule"], "parameters": ours["parameters"]}, there)


def told(schedule: Mapping[str, Any]) -> str:
    """Say when, in a few words: `cron 15 2 * * * (UTC)`."""
    kind = next(k for k in KINDS if k in schedule)
    zone = schedule.get("timezone")
    return f"{kind} {schedule[kind]}" + (f" ({zone})" if zone else "")
