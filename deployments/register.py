"""Tell the Prefect API everything that deployments need: again and again, changing nothing twice.

    python -m deployments.register --config /etc/qdrant-dr.yaml --pool dr [--save-as prod]
                                   [--notify slack-webhook/ops]

Work pool, concurrency limits, the configuration as a block (with --save-as), automations. An
automation that is equal is left alone: an update would restart the window of its switch, and one
that is updated often enough never fires.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound

from deployments.automations import automations
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, UsageError
from tasks.config import ConfigBlock, load
from tasks.limits import ensure_limits


def main(arguments: Sequence[str] | None = None) -> None:
    """Register, and print a line for each thing: created, updated or unchanged."""
    parser = argparse.ArgumentParser(prog="python -m deployments.register")
    parser.add_argument("--config", required=True, help="path, URL or block:NAME")
    parser.add_argument("--pool", required=True, help="work pool; made as a process pool")
    parser.add_argument("--save-as", help="keep the configuration file as this block")
    parser.add_argument("--notify", help="notification block, TYPE/NAME such as slack-webhook/ops")
    given = parser.parse_args(arguments)
    try:
        for line in register(given.config, given.pool, given.save_as, given.notify):
            print(line)
    except DRError as e:
        sys.exit(f"{e.message}\n  {e.hint}")


def register(
    reference: str, pool: str, save_as: str | None = None, notify: str | None = None
) -> list[str]:
    """What was done, a line each. Raise ConfigInvalid, UsageError."""
    config = load(reference)
    said = []
    with get_client(sync_client=True) as client:
        said.append(f"work pool {pool}: {_pool(client, pool)}")
        ensure_limits(config)
        said.append(f"concurrency limits of {config.cluster.name}: set")
        if save_as:
            said.append(f"block {ConfigBlock._block_type_slug}/{save_as}: "  # noqa: SLF001
                        f"{_block(reference, save_as)}")  # fmt: skip
        found = _notification(client, notify) if notify else None
        said += [f"automation {a}: {did}" for a, did in _automations(client, config, found)]
    return said


def _pool(client: SyncPrefectClient, name: str) -> str:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        return "created"
    return "unchanged"


def _block(reference: str, name: str) -> str:
    if reference.startswith("block:"):
        raise UsageError(
            "--save-as keeps a file as a block, and --config is one already", "leave it out."
        )
    text = Path(reference).read_text()
    try:
        if ConfigBlock.load(name).text == text:
            return "unchanged"
    except ValueError:
        did = "created"
    else:
        did = "updated"
    ConfigBlock(text=text).save(name, overwrite=True)
    return did


def _notification(client: SyncPrefectClient, slug: str) -> UUID:
    kind, _, name = slug.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        raise UsageError(
            f"there is no notification block {slug}",
            "make one in Prefect's UI (Blocks), then name it TYPE/NAME as `prefect block ls` does.",
        ) from None


def _automations(
    client: SyncPrefectClient, config: Config, notify: UUID | None
) -> list[tuple[str, str]]:
    done = []
    for wanted in automations(config, notify):
        there = client.read_automations_by_name(wanted.name)
        if not there:
            client.create_automation(wanted)
            done.append((wanted.name, "created"))
            continue
        kept, *doubles = sorted(there, key=lambda a: str(a.id))
        for double in doubles:
            client.delete_automation(double.id)
        if same(kept, wanted):
            done.append((wanted.name, "unchanged"))
        else:
            client.update_automation(kept.id, wanted.model_copy(update={"enabled": kept.enabled}))
            done.append((wanted.name, "updated"))
    return done


def same(there: Automation, wanted: AutomationCore) -> bool:
    """Whether an automation is what it should be; an operator may have switched it off."""
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


if __name__ == "__main__":
    main()
