"""What `up` has written on the server, kept there: what differs was changed by an operator.

One variable for each cluster: Prefect's hold 5,000 characters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.schema_tools import validate

from deployments import prefect_yaml
from deployments.prefect_yaml import Entry
from qdrant_dr.config import Config

FORMER_VARIABLE = "qdrant_dr_schedules"
"""Of the version whose deployments had the same names for every cluster: schedules alone."""
PARAMETERS = ""
"""Their place among the slugs of a deployment's schedules."""
REPOSITORIES = "repositories"
"""Beside the names of deployments: what tells clusters of one name apart. Nobody shares one."""


def variable(cluster: str) -> str:
    """Return the name of a cluster's variable."""
    return f"qdrant-dr-{cluster}"


def written(entry: Entry) -> dict[str, Any]:
    """Return what is written into the schedules of a deployment, by slug, and its parameters."""
    schedules = {slug: prefect_yaml.written(s) for slug, s in entry.schedules.items()}
    given = entry.meant.get("parameters") or {}
    return schedules | {PARAMETERS: {k: v for k, v in given.items() if k != "config"}}


class Written:
    """What we wrote into the schedules and parameters of each deployment, as the server remembers
    it for us.

    What is not as we wrote it was changed by an operator since, and stays theirs.
    """

    def __init__(self, client: SyncPrefectClient, config: Config) -> None:
        self._client = client
        self._name = variable(config.cluster.name)
        self._mine = sorted(str(r.id) for r in config.repositories)
        self._before = _read(client, self._name)
        self._former = _read(client, FORMER_VARIABLE) or {}
        self._known: dict[str, Any] = copy.deepcopy(self._before or {})

    @property
    def by_a_namesake(self) -> bool:
        """Say whether another cluster of this name wrote it."""
        theirs = set(self._known.get(REPOSITORIES) or ())
        return bool(theirs) and not theirs & set(self._mine)

    def of(self, name: str) -> dict[str, Any]:
        """Return what was written for one deployment, by slug."""
        return dict(self._known.get(name) or self._former.get(name) or {})

    def chosen(self, entry: Entry, there: DeploymentResponse | None) -> dict[str, Any]:
        """Return the parameters that an operator has set since they were written, without the
        configuration. What the flow no longer takes is left out."""
        if there is None or (wrote := self.of(entry.name).get(PARAMETERS)) is None:
            return {}
        return {
            name: value
            for name, value in there.parameters.items()
            if name != "config"
            and (name not in wrote or wrote[name] != value)
            and _taken(entry, name, value)
        }

    def remember(self, entry: Entry, slugs: Iterable[str], theirs: Iterable[str] = ()) -> None:
        """Remember that these schedules are now as the file has them, and all parameters but
        theirs."""
        now, before = written(entry), self.of(entry.name)
        parameters = {k: v for k, v in now[PARAMETERS].items() if k not in theirs}
        parameters |= {k: v for k, v in before.get(PARAMETERS, {}).items() if k in theirs}
        schedules = {k: v for k, v in before.items() if k in entry.schedules}
        schedules |= {slug: now[slug] for slug in slugs}
        self._known[entry.name] = {**schedules, PARAMETERS: parameters}

    def rename(self, old: str, entry: Entry) -> None:
        """Remember of the new name what was written under the old one. Where nobody kept that, it
        was what the file says now: it did not change with the names."""
        self._known[entry.name] = written(entry) | self.of(old)

    def save(self) -> None:
        """Keep it on the server, unless it is there already."""
        self._known[REPOSITORIES] = self._mine
        if self._known == self._before:
            return
        body = {"value": self._known}
        if self._before is None:
            self._client.request("POST", "/variables/", json={"name": self._name, **body})
        else:
            self._client.request("PATCH", f"/variables/name/{self._name}", json=body)  # type: ignore[arg-type]
        self._before = copy.deepcopy(self._known)


def _taken(entry: Entry, name: str, value: object) -> bool:
    """Whether the flow takes this: a version may have other parameters, or other values."""
    schema = entry.flow.parameters.model_dump_for_openapi()
    return name in schema["properties"] and not validate(
        {name: value}, schema, raise_on_error=False, ignore_required=True
    )


def _read(client: SyncPrefectClient, name: str) -> dict[str, Any] | None:
    found = client.read_variable_by_name(name)
    return dict(found.value) if found and isinstance(found.value, dict) else None
