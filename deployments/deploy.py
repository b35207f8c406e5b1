"""prefect.yaml to the server: only what differs, and never against what an operator has chosen.

`prefect deploy` alone un-pauses what was paused, puts limits back, and leaves a schedule that is no
longer in the file. Here a deployment is compared first; one that is equal is not touched.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse

from deployments import prefect_yaml
from deployments.automations import TAG, WATCH_TAG
from deployments.inputs import Asked
from deployments.prefect_yaml import Entry
from deployments.takeover import COPY, of_cluster, read, switch_on_orphan, takeovers
from deployments.upcoming import schedule_now
from deployments.written import Written
from qdrant_dr.errors import SetupFailed, UsageError
from tasks.config import is_file

ROOT = Path(__file__).parents[1]
DEPLOY_SECONDS = 300.0


def deploy(client: SyncPrefectClient, asked: Asked, environ: Mapping[str, str]) -> list[str]:
    """Deploy, and return what was done, a line each. Raise UsageError, SetupFailed with what
    Prefect said."""
    wanted = prefect_yaml.entries(asked.spec, environ)
    ours = Written(client, asked.config)
    former = {t.entry.name: t for t in takeovers(client, asked, wanted)}
    for one in former.values():
        if not one.retired and one.copy():
            ours.rename(one.old_name, one.entry)
    before = {e.name: read(client, e.name) for e in wanted}
    chosen = {e.name: ours.chosen(e, before[e.name]) for e in wanted}
    wanted = [e.with_parameters(chosen[e.name]) for e in wanted]
    changed = {e.name: _changes(e, before[e.name]) for e in wanted}
    began = datetime.now(UTC)
    to_deploy = [_to_deploy(e, there) for e in wanted
                 if (there := before[e.name]) is None or changed[e.name]]  # fmt: skip
    if to_deploy:
        _run_prefect_deploy(asked.spec, to_deploy, environ)
    said = []
    for entry in wanted:
        if before[entry.name] is None:
            said.append(f"deployment {entry.name}: created")
            ours.remember(entry, entry.schedules)
            continue
        there = _again(client, entry)  # what `prefect deploy` left of it
        schedules, kept = _align_schedules(client, entry, there, ours.of(entry.name))
        ours.remember(entry, set(entry.schedules) - set(kept), chosen[entry.name])
        ours.save()  # before its former name goes: it says which schedules an operator changed
        did = "; ".join([*changed[entry.name], *schedules])
        said.append(f"deployment {entry.name}: {f'updated ({did})' if did else 'unchanged'}")
        there = _again(client, entry)
        if did and not there.paused:
            schedule_now(client, there.id, began)
        if takeover := former.get(entry.name):
            said.append(takeover.finish(there))
            there = _again(client, entry)
        elif switched := switch_on_orphan(client, entry, there):
            said.append(switched)
            there = _again(client, entry)
        said += [*_kept(entry, there), *kept.values()]
        if theirs := chosen[entry.name]:
            said.append(f"  parameter {', '.join(sorted(theirs))} was changed by an operator and "
                        "stays so")  # fmt: skip
    ours.save()
    return said + _not_in_file(client, asked, wanted)


def refuse_those_of_others(
    client: SyncPrefectClient, asked: Asked, environ: Mapping[str, str]
) -> None:
    """Raise UsageError, before anything is made, if the names are those of another cluster."""
    name, found = asked.config.cluster.name, {}
    for entry in prefect_yaml.entries(asked.spec, environ):
        if there := read(client, entry.name):
            found[entry.name] = of_cluster(there, asked)
    if taken := [n for n, its in found.items() if its is False]:
        raise UsageError(
            f"{len(taken)} deployments of these names are another cluster's: {', '.join(taken)}",
            "put {{ $QDR_CLUSTER }} into the names in prefect.yaml, as that of the package has it, "
            f"then run this for {name} again.",
        )
    if found and Written(client, asked.config).by_a_namesake:
        raise UsageError(
            f"this Prefect server has deployments of another cluster named {name}: it shares no "
            "repository with this configuration",
            "give one of them another `cluster.name`; if it is the same one, and everything moved, "
            f"delete them first (`prefect deployment ls` shows those that end in -{name}).",
        )


def _again(client: SyncPrefectClient, entry: Entry) -> DeploymentResponse:
    """The deployment as it is now. Raise SetupFailed if somebody has deleted it meanwhile."""
    if there := read(client, entry.name):
        return there
    raise SetupFailed(
        f"deployment {entry.name} was deleted while it was brought up to date",
        "`qdrant-dr up` again makes it.",
    )


def _changes(entry: Entry, there: DeploymentResponse | None) -> list[str]:
    return [] if there is None else prefect_yaml.differences(entry, there)


def _to_deploy(entry: Entry, there: DeploymentResponse | None) -> dict[str, Any]:
    """The entry for `prefect deploy`: what is there keeps its switches; schedules come after."""
    one = copy.deepcopy(entry.raw)
    one |= {"version": prefect_yaml.version(entry.raw), "pull": entry.pull}
    if there is None:
        return one
    # none at all keeps them; an empty list takes all away, by a setting and in releases to come
    one |= {"schedules": None, "paused": there.paused}
    if COPY in there.tags:  # until it is switched on
        one["tags"].append(COPY)
    limit = there.global_concurrency_limit
    if isinstance(one.get("concurrency_limit"), dict):
        one["concurrency_limit"]["limit"] = limit.limit if limit else None
    elif "concurrency_limit" in one:
        one["concurrency_limit"] = limit.limit if limit else None
    return one


def _run_prefect_deploy(
    spec: Mapping[str, Any], to_deploy: Sequence[dict[str, Any]], environ: Mapping[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        head = {k: v for k, v in spec.items() if k not in ("definitions", "deployments")}
        file.write_text(yaml.safe_dump({**head, "deployments": list(to_deploy)}))
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all",
             "--prefect-file", str(file)],
            cwd=ROOT, env={**environ}, capture_output=True, text=True, check=False,
            timeout=DEPLOY_SECONDS,
        )  # fmt: skip
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise SetupFailed(
            f"`prefect deploy` failed; what came before the failure stays deployed:\n{said}",
            "correct what it says, then run `qdrant-dr up` again: it goes on where it was.",
        )


def _align_schedules(
    client: SyncPrefectClient, entry: Entry, there: DeploymentResponse, ours: Mapping[str, Any]
) -> tuple[list[str], dict[str, str]]:
    """Make the schedules those of the file, but for those that an operator has changed; on or off
    stays what it was. What was done; and what was kept, by slug."""
    known = {s.slug: s for s in there.schedules if s.slug}
    base = f"/deployments/{there.id}/schedules"
    done, kept = [], {}
    for slug, schedule in entry.schedules.items():
        body: dict[str, Any] = prefect_yaml.written(schedule)
        if slug not in known:
            body |= {"slug": slug, "active": schedule.get("active", True)}
            client.request("POST", base, json=[body])  # type: ignore[arg-type]
            done.append(f"schedule {slug} is new")
        elif prefect_yaml.same_schedule(schedule, known[slug]):
            continue
        elif slug in ours and not prefect_yaml.as_written(ours[slug], known[slug]):
            kept[slug] = (
                f"  schedule {slug} was changed by an operator and stays so; prefect.yaml says "
                f"{prefect_yaml.told(schedule)} (to have that, delete it on the server first)"
            )
        else:
            client.request("PATCH", f"{base}/{known[slug].id}", json=body)  # type: ignore[arg-type]
            done.append(f"schedule {slug} changed")
    for slug in sorted(set(known) - set(entry.schedules)):
        client.delete_deployment_schedule(there.id, known[slug].id)
        done.append(f"schedule {slug}, which is not in prefect.yaml, removed")
    return done, kept


def _kept(entry: Entry, there: DeploymentResponse) -> list[str]:
    """What an operator has chosen, so that nobody wonders why nothing runs."""
    said = ["it is paused, and stays so"] if there.paused else []
    said += [
        f"schedule {s.slug or 'of an operator'} is off, and stays so"
        for s in there.schedules
        if not s.active and (s.slug in entry.schedules or not s.slug)
    ]
    limit = there.global_concurrency_limit.limit if there.global_concurrency_limit else None
    if limit != (ours := prefect_yaml.wanted_limit(entry)):
        said.append(f"runs at a time: {limit} is kept, prefect.yaml says {ours}")
    return [f"  {line}" for line in said]


def _not_in_file(client: SyncPrefectClient, asked: Asked, wanted: Sequence[Entry]) -> list[str]:
    """Deployments of this cluster on these work pools that prefect.yaml does not have (now)."""
    names = {e.name for e in wanted}
    pools = {e.meant["work_pool"]["name"] for e in wanted}
    ours = DeploymentFilter(tags=DeploymentFilterTags(any_=[TAG, WATCH_TAG]))
    flows: dict[UUID, str] = {}
    said, beside = [], set()
    for found in client.read_deployments(deployment_filter=ours, limit=200):
        if found.work_pool_name not in pools:
            continue
        flow = flows.setdefault(found.flow_id, client.read_flow(found.flow_id).name)
        if (name := f"{flow}/{found.name}") in names:
            continue
        if (its := of_cluster(found, asked)) is False:
            beside.add(str(found.parameters.get("config")))
            continue
        why = "prefect.yaml does not have it"
        if its is None:
            why = f"it reads {found.parameters.get('config')}, and whose that is, is not known here"
        said.append(f"deployment {name}: left alone, {why} (`prefect deployment delete {name}`)")
    if files := sorted(filter(is_file, beside)):
        said.append(
            f"  work pool {', '.join(sorted(pools))} serves another cluster, too: each of its "
            f"workers must find {files[0]} as well; else `qdrant-dr up --pool NAME`"
        )
    return said
