"""How the deployments of prefect.yaml are named: after the flow and the cluster.

Prefect's lists show the name of a deployment without its flow, and two clusters may share a server.
When it runs is no part of the name: operators change that.
"""

from __future__ import annotations

from collections.abc import Mapping

FORMER: Mapping[str, str] = {
    "backup": "nightly",
    "replicate": "hourly",
    "drill": "daily",
    "verify": "weekly-full",
    "check": "weekly",
    "watch": "quarter-hourly",
    "restore": "approved",
    "startup": "archive",
    "expire": "daily",
    "report": "weekly",
}
"""The name of each flow's deployment up to 0.1, when it was the same for every cluster."""


def deployment_name(flow: str, cluster: str) -> str:
    """Return the name of a deployment: `backup-prod`."""
    return f"{flow}-{cluster}"


def full_name(flow: str, cluster: str) -> str:
    """Return it as Prefect's commands take it: `backup/backup-prod`."""
    return f"{flow}/{deployment_name(flow, cluster)}"


def cluster_tag(cluster: str) -> str:
    """Return the tag of a cluster's deployments and runs: whose they are, and what pages filter
    by."""
    return f"cluster:{cluster}"
