"""Concurrency limits shared by all runs of a Prefect server: politeness, not correctness.

A cluster makes few snapshots at once and a repository takes few transfers at once, whatever flows
happen to overlap. Nothing depends on it: when the server cannot be asked, the work goes on.
A second scheduled run while the first one is under way is another matter: the `concurrency_limit`
of its deployment in `prefect.yaml` makes it wait (ENQUEUE), or drops it (CANCEL_NEW, of the watch).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client

from qdrant_dr.config import Config
from tasks.limit_leases import limit_leases

log = logging.getLogger(__name__)

PER_REPOSITORY = 4
"""Transfers that one repository takes at a time, until an operator sets another limit."""


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
def hold_limit_slots(names: Sequence[str], *, within: timedelta) -> Iterator[None]:
    """Hold a slot of every limit, all or none; go on without after `within`.

    Never raises for the limits' sake: only what the block raises comes out.
    """
    here = limit_leases()
    held = here.take(frozenset(names), within.total_seconds()) if names else None
    try:
        yield
    finally:
        if held:
            here.put(held)
