"""Concurrency limits shared by all runs of a Prefect server: politeness, not correctness.

A cluster makes few snapshots at once and a repository takes few transfers at once, whatever flows
happen to overlap. Nothing depends on it: when the server cannot be asked, the work goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.concurrency.sync import concurrency

from qdrant_dr.config import Config
from tasks.server import reachable

log = logging.getLogger(__name__)

PER_REPOSITORY = 4
"""Transfers that one repository takes at a time, until an operator sets another limit."""

LEASE_SECONDS = 60
"""How long the slots of a killed process stay taken; 60 is the least that Prefect grants."""

FRESH_SECONDS = 10.0
"""How long one answer of the API does for all units of a process: hundreds of small ones would
otherwise spend half of their calls on asking."""


def cluster_limit(cluster: str) -> str:
    return f"qdr-cluster-{cluster}"


def repository_limit(repository: str) -> str:
    return f"qdr-repository-{repository}"


def set_limits(client: SyncPrefectClient, config: Config) -> list[tuple[str, str]]:
    """Create what is missing: name, and "created", "updated" or "unchanged".

    The cluster's follows the configuration, the others the operator who changed them.
    """
    cluster = cluster_limit(config.cluster.name)
    wanted = {cluster: config.capture.parallel_collections}
    wanted |= {repository_limit(r.name): PER_REPOSITORY for r in config.repositories}
    known = {n.name: n.limit for n in client.read_global_concurrency_limits(limit=200)}
    done = []
    for name, limit in wanted.items():
        right = known.get(name) == limit if name == cluster else name in known
        if not right:
            client.upsert_global_concurrency_limit_by_name(name, limit)
        did = "unchanged" if right else "updated" if name in known else "created"
        done.append((name, did))
    return done


def ensure_limits(config: Config) -> None:
    """Set them if the server can be asked; nothing depends on them."""
    try:
        with get_client(sync_client=True) as client:
            set_limits(client, config)
    except Exception as error:  # noqa: BLE001  a lost API must not stop a backup
        log.warning("concurrency limits could not be set: %s", error)


@contextmanager
def polite(names: Sequence[str], *, within: timedelta) -> Iterator[None]:
    """Hold a slot of every limit, all taken in one call; go on without after `within`.

    Never raises for the limits' sake: only what the block raises comes out.
    """
    held = _take(list(names), within.total_seconds()) if names else ExitStack()
    try:
        yield
    finally:
        _release(held, names)


def _take(names: list[str], seconds: float) -> ExitStack:
    """What holds the slots; empty if there was no server, or no slot in time."""
    slots = ExitStack()
    if not reachable(within=FRESH_SECONDS):
        log.warning("no slot of %s: the Prefect API does not answer", ", ".join(names))
        return slots
    try:
        slots.enter_context(
            concurrency(
                names,
                timeout_seconds=seconds,
                lease_duration=LEASE_SECONDS,
                raise_on_lease_renewal_failure=False,
            )
        )
    except Exception as error:  # noqa: BLE001  time-out, refusal or no server: all the same here
        log.warning("no slot of %s, going on without: %s", ", ".join(names), error)
    return slots


def _release(held: ExitStack, names: Sequence[str]) -> None:
    try:
        held.close()
    except Exception as error:  # noqa: BLE001  the lease ends by itself
        log.warning("slots of %s were not given back: %s", ", ".join(names), error)
