"""Tell the Prefect API everything that deployments need: again and again, changing nothing twice.

    qdrant-dr register --config /etc/qdrant-dr.yaml --pool dr [--save-as prod]
                       [--notify slack-webhook/ops]

Work pool, concurrency limits, the configuration as a block (with --save-as), automations. An
automation that is equal is left alone: an update would restart the window of its switch, and one
that is updated often enough never fires.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound

from deployments.automations import automations
from qdrant_dr.config import Config
from qdrant_dr.configfile import loads
from qdrant_dr.errors import UsageError
from qdrant_dr.prefect_block import SLUG, ConfigBlock
from tasks.concurrency_limits import set_limits
from tasks.config import load

QUEUES = ("restore", "backup", "upkeep")
"""The work queues of the pool, the most urgent first. `prefect.yaml` says who goes where."""


NOBODY = (
    "\nNOBODY WILL BE TOLD when a backup fails, a restore waits for approval, or nothing runs: no "
    "notification block is set.\nMake one (Prefect's page, Blocks: Slack, email, PagerDuty, "
    "webhook), then `qdrant-dr up --notify TYPE/NAME`, such as slack-webhook/ops."
)


def is_told(client: SyncPrefectClient, config: Config) -> bool:
    """Say whether our automations tell anybody."""
    ours = (client.read_automations_by_name(a.name) for a in automations(config, None))
    return _told_now(a for found in ours for a in found) is not None


def register(
    reference: str, pool: str, save_as: str | None = None, notify: str | None = None
) -> list[str]:
    """Register everything, and return what was done, a line each. Raise ConfigInvalid,
    UsageError."""
    config = load(reference)
    if save_as and reference.startswith("block:"):
        raise UsageError(
            "--save-as keeps a file as a block, and --config is one already", "leave it out."
        )
    said = []
    with get_client(sync_client=True) as client:
        told = _notification(client, notify)
        said.append(f"work pool {pool}: {_pool(client, pool)}")
        said += [f"work queue {q}: {did}" for q, did in _queues(client, pool)]
        said += [f"concurrency limit {n}: {did}" for n, did in set_limits(client, config)]
        if save_as:
            said.append(f"block {SLUG}/{save_as}: {_block(reference, save_as)}")
            if loads(Path(reference).read_text(), where=reference) != config:
                said.append("  its relative paths have no file to count from in a block: write "
                            "absolute ones before a worker reads it there")  # fmt: skip
        said += [f"automation {a}: {did}" for a, did in _automations(client, config, notify, told)]
    return said


def _pool(client: SyncPrefectClient, name: str) -> str:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        return "created"
    return "unchanged"


def _queues(client: SyncPrefectClient, pool: str) -> list[tuple[str, str]]:
    """Make what is missing, in our order. Priorities that somebody changed are theirs."""
    there = {queue.name for queue in client.read_work_queues(work_pool_name=pool)}
    done = []
    for priority, name in enumerate(QUEUES, start=1):
        if name not in there:
            client.create_work_queue(name, priority=priority, work_pool_name=pool)
        done.append((name, "unchanged" if name in there else "created"))
    return done


def _block(reference: str, name: str) -> str:
    text = Path(reference).read_text()
    try:
        if cast("ConfigBlock", ConfigBlock.load(name)).text == text:
            return "unchanged"
    except ValueError:
        did = "created"
    else:
        did = "updated"
    ConfigBlock(text=text).save(name, overwrite=True)
    return did


def _notification(client: SyncPrefectClient, slug: str | None) -> UUID | None:
    if slug in (None, "none"):
        return None
    kind, _, name = str(slug).partition("/")
    try:
        if kind and name:
            return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        pass
    raise UsageError(
        f"there is no notification block {slug}",
        "make one in Prefect's UI (Blocks), then name it TYPE/NAME as `prefect block ls` does.",
    )


def _automations(
    client: SyncPrefectClient, config: Config, notify: str | None, told: UUID | None
) -> list[tuple[str, str]]:
    there = {a.name: client.read_automations_by_name(a.name) for a in automations(config, told)}
    if notify is None:  # not asked to change it: alerts must not fall silent by the way
        told = _told_now(a for found in there.values() for a in found)
    done = []
    for wanted in automations(config, told):
        if not there[wanted.name]:
            client.create_automation(wanted)
            done.append((wanted.name, "created"))
            continue
        kept, *doubles = sorted(there[wanted.name], key=lambda a: str(a.id))
        for double in doubles:
            client.delete_automation(double.id)
        if same(kept, wanted):
            done.append((wanted.name, "unchanged"))
        else:
            client.update_automation(kept.id, wanted.model_copy(update={"enabled": kept.enabled}))
            done.append((wanted.name, "updated"))
    return done


def _told_now(there: Iterable[Automation]) -> UUID | None:
    """The notification block that automations of ours use already."""
    for automation in there:
        for action in automation.actions:
            if isinstance(action, SendNotification):
                return action.block_document_id
    return None


def same(there: Automation, wanted: AutomationCore) -> bool:
    """Say whether an automation is as it should be; an operator may have switched it off."""
    ours = wanted.model_dump(mode="json", exclude={"enabled"}, exclude_none=True)
    theirs = there.model_dump(mode="json", exclude_none=True)
    return _known(ours) == _known({k: theirs.get(k) for k in ours})


def _known(value: object) -> object:
    """Without what the server adds: ids and empty settings; sets have no order."""
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items() if k != "id" and v not in (None, [], {}, "")}
    if isinstance(value, list):
        return sorted((_known(v) for v in value), key=repr)
    return value
