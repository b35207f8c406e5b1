"""What a finished run tells the Prefect server: artifacts, a tag, and events for automations.

None of it is evidence (that is in the repositories) and none of it may fail a run: a server that
is gone costs the announcement only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.events import emit_event

from qdrant_dr.config import Config
from qdrant_dr.records import Captured, Outcome, Proved, Reported, RunEnd
from qdrant_dr.records.manifest import collection_slug
from qdrant_dr.records.proof import depth_rank
from tasks.deployment_names import cluster_tag
from tasks.render import markdown, unit_rows
from tasks.server import reachable

log = logging.getLogger(__name__)

PROVEN = "qdrant-dr.backup.proven"
PROTECTED = "qdrant-dr.cluster.protected"


def announce(end: RunEnd, config: Config) -> None:
    """Publish the artifacts and events of a run. Never raises for the server's sake."""
    if not reachable():
        log.warning("the Prefect API does not answer: run %s is not announced", end.start.run_id)
        return
    key = f"qdr-{end.start.job}-{end.start.cluster}"
    page = public_page(end, config)
    publish(
        "summary",
        lambda: create_markdown_artifact(
            markdown(end, page=page),
            key=key,
            description=f"{end.start.job} of {end.start.cluster}: {end.verdict}",
        ),
    )
    if page:
        publish("link to the report", partial(_link, page, end, f"{key}-page"))
    if rows := unit_rows(end):
        publish(
            "table of units",
            lambda: create_table_artifact(
                rows,
                key=f"{key}-units",
                description=f"the worst first, {len(rows)} of {len(end.outcomes)} units of run "
                f"{end.start.run_id}",
            ),
        )
    publish("tag", lambda: _tag(cluster_tag(end.start.cluster)))
    publish("events", lambda: _emit(end, config))


def public_page(end: RunEnd, config: Config) -> str | None:
    """Return where readers find the report that this run wrote: `report.url` as
    `report.public_url`.

    None without a public address, a page, or a report written to where `report.url` says.
    """
    written = (f for o in end.outcomes if isinstance(o.detail, Reported) for f in o.detail.files)
    page = next((f for f in written if f.endswith(".html")), None)
    place = f"{config.report.url.rstrip('/')}/"
    if page is None or config.report.public_url is None or not page.startswith(place):
        return None
    return f"{config.report.public_url.rstrip('/')}/{page.removeprefix(place)}"


def _link(page: str, end: RunEnd, key: str) -> None:
    create_link_artifact(
        page,
        link_text=f"report of {end.start.cluster}",
        key=key,
        description=f"written by run {end.start.run_id}",
    )


def _tag(name: str) -> None:
    """Put a tag on the flow run at hand, by which the list of runs can be filtered.

    Flow runs only: a tag on a task would cost a call, and a failed unit while the API is away.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is not None and name not in run.tags:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run.id, tags=[*run.tags, name])


def proven_captures(end: RunEnd, config: Config) -> dict[str, Outcome]:
    """Return the capture of each collection that this run both made and proved, to the promised
    depth.

    Only captures count: proving an old backup again says nothing about today's data, and must not
    quieten an alarm that waits for today's.
    """
    wanted = depth_rank(config.objectives.proven.depth)
    proved = {
        (o.collection, o.backup_id)
        for o in end.outcomes
        # degraded: the seal is suspect, and what is suspect must not quieten an alarm
        if isinstance(o.detail, Proved) and o.verdict == "ok" and o.detail.passed
        and o.detail.reached is not None and depth_rank(o.detail.reached) >= wanted
    }  # fmt: skip
    return {
        o.collection: o
        for o in end.outcomes
        if isinstance(o.detail, Captured) and o.detail.committed and o.verdict != "failed"
        and (o.collection, o.backup_id) in proved
    }  # fmt: skip


def protected(end: RunEnd, config: Config) -> bool:
    """Say whether every included and every expected collection was captured and proven in this very
    run.

    A run for some collections only, or one that saw nothing, protects no cluster; nor does a
    failed one, whatever it proved: the strictest fact decides.
    """
    if end.verdict == "failed" or not end.seen:
        return False
    due = {s.collection for s in end.seen if s.status != "excluded"}
    return bool(due) and due <= proven_captures(end, config).keys()


def _emit(end: RunEnd, config: Config) -> None:
    cluster = end.start.cluster
    facts: dict[str, Any] = {
        "run_id": end.start.run_id,
        "verdict": end.verdict,
        "source_kind": end.source_kind,
    }
    proven = proven_captures(end, config)
    for collection, outcome in sorted(proven.items()):
        assert isinstance(outcome.detail, Captured)
        emit_event(
            PROVEN,
            resource={
                "prefect.resource.id": f"qdrant-dr.backup.{cluster}.{collection_slug(collection)}",
                "prefect.resource.name": collection,
                "qdrant-dr.cluster": cluster,
            },
            payload={
                **facts,
                "backup_id": outcome.backup_id,
                "captured_at": outcome.detail.captured_at.isoformat(),
                "copies": list(outcome.detail.committed),
            },
        )
    if protected(end, config):
        emit_event(
            PROTECTED,
            resource={
                "prefect.resource.id": f"qdrant-dr.cluster.{cluster}",
                "prefect.resource.name": cluster,
            },
            payload={**facts, "collections": len(proven)},
        )


def publish(what: str, act: Callable[[], object]) -> bool:
    """Do it, or log why not. Whether it was done."""
    try:
        act()
    except Exception as error:  # noqa: BLE001  whatever a lost API raises, the run has its verdict
        log.warning("%s not published: %s: %s", what, type(error).__name__, error)
        return False
    return True
