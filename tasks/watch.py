"""Tell the Prefect server what is new and what is over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_table_artifact
from prefect.client.schemas import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from qdrant_dr.records import Found, RunEnd, Watched
from qdrant_dr.report.findings.acknowledged import ended
from tasks.announce import log, publish
from tasks.server import reachable
from tasks.states import SHOWN

WATCHED = "qdrant-dr.cluster.watched"
CHANGED = "qdrant-dr.findings.changed"
APPEARED = "qdrant-dr.finding.appeared"
CLEARED = "qdrant-dr.finding.cleared"
RED = "Red"
"""State of a look that found a broken promise. It is of type Failed, under another name: what is
named Failed did not look, and that is announced by itself, at each look."""
LISTED = 20
"""Findings that one message has room for."""


def announce_changes(end: RunEnd, watched: Watched) -> bool:
    """Send the events of a watch; False if people could not be told of a change.

    One event for each finding, for machines; one for all of them, for people.
    """
    if not reachable():
        log.warning("the Prefect API does not answer: the next watch announces what changed")
        return False
    cluster = end.start.cluster
    for name, every in ((APPEARED, watched.appeared), (CLEARED, watched.cleared)):
        for finding in every:
            _emit_one(name, cluster, finding)
    told = True
    if watched.appeared or watched.cleared:
        told = _emit(
            CHANGED,
            cluster,
            subject=subject(cluster, watched),
            text=text(watched),
            appeared=len(watched.appeared),
            cleared=len(watched.cleared),
        )
        publish("table of findings", lambda: _table(cluster, watched.findings))
    _emit(WATCHED, cluster, verdict=end.verdict, run_id=end.start.run_id)
    return told


def subject(cluster: str, watched: Watched) -> str:
    """Build the subject: `prod: 2 new findings, 1 over, 1 acknowledged`."""
    new = len(watched.appeared)
    known = sum(f.acknowledged is not None for f in watched.cleared)
    over = len(watched.cleared) - known
    said = [f"{new} new finding{'s' * (new != 1)}"] if new else []
    said += [f"{over} over"] if over else []
    said += [f"{known} acknowledged"] if known else []
    return f"{cluster}: {', '.join(said)}"


def text(watched: Watched) -> str:
    """List what appeared with its next command, then what is over; worst first."""
    new = [
        f"{f.severity}: {f.scope}: {f.what}\n  affected: {f.blast_radius}\n  next: {f.next_command}"
        for f in watched.appeared
    ]
    over = [ended(f) for f in watched.cleared]
    return "\n".join([*_shortened(new), *_shortened(over)])


def watch_state(end: RunEnd) -> State[Any]:
    """Build a state as red as the worst finding that stands."""
    watched = next((o.detail for o in end.outcomes if isinstance(o.detail, Watched)), None)
    if watched is None:
        return Failed(message="; ".join(end.reasons) or "nothing was looked at")
    loud = [f for f in watched.findings if f.severity != "notice"]
    said = [f"{f.severity}: {f.scope}: {f.what}" for f in loud[:SHOWN]]
    if len(loud) > SHOWN:
        said.append(f"and {len(loud) - SHOWN} more: `qdrant-dr watch` lists them")
    message = "; ".join([*(said or end.reasons), *watched.unsent]) or "nothing is wrong"
    if loud:
        message += f". Next: {loud[0].next_command}"
    if end.verdict == "ok":
        return Completed(message=message)
    if end.verdict == "degraded":
        return Completed(name="Degraded", message=message)
    if not any(f.severity == "critical" for f in loud):
        return Failed(message=message)  # no finding tells of it: no repository took the record
    return Failed(name=RED, message=message)


def _shortened(lines: Sequence[str]) -> list[str]:
    more = len(lines) - LISTED
    return [*lines[:LISTED], *[f"and {more} more"] * (more > 0)]


def _emit(event: str, cluster: str, **payload: Any) -> bool:
    resource = {
        "prefect.resource.id": f"qdrant-dr.cluster.{cluster}",
        "prefect.resource.name": cluster,
    }
    return publish(event, lambda: emit_event(event, resource=resource, payload=payload))


def _emit_one(event: str, cluster: str, f: Found) -> None:
    resource = {
        "prefect.resource.id": f"qdrant-dr.finding.{cluster}.{f.code}.{slug(f.scope)}",
        "prefect.resource.name": f"{f.code}: {f.scope}",
        "qdrant-dr.cluster": cluster,
        "qdrant-dr.severity": f.severity,
    }
    payload = f.model_dump(mode="json")
    publish(event, lambda: emit_event(event, resource=resource, payload=payload))


def slug(scope: str) -> str:
    """Make a text fit for the id of a resource; two scopes never share one."""
    plain = re.sub(r"[^a-z0-9]+", "-", scope.lower()).strip("-")[:60]
    return plain if plain == scope else f"{plain}-{hashlib.sha256(scope.encode()).hexdigest()[:8]}"


def _table(cluster: str, findings: Sequence[Found]) -> Any:
    rows = [f.model_dump(mode="json") for f in findings]
    return create_table_artifact(
        rows or [{"severity": "", "what": "nothing is wrong"}],
        key=f"qdr-watch-{cluster}",
        description=f"what is wrong with {cluster}, worst first",
    )
