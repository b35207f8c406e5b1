"""Changes on which the nodes of a cluster must agree: an error answer may only mean "not yet".

Qdrant waits for its nodes for a while, then answers 500 ("Waiting for consensus operation commit
failed") and still makes the change once they agree. A proxy or a timeout of ours may end the wait
as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from qdrant_dr.cluster.http_errors import CONSENSUS
from qdrant_dr.cluster.node import Node
from qdrant_dr.errors import ClusterError, Interrupted, NodeUnreachable, RecoverUnanswered

APPEAR_SECONDS = 30.0
"""How long we wait for a change that was requested but not confirmed."""
LOOK_SECONDS = 0.5


def change(
    node: Node,
    method: str,
    path: str,
    doing: str,
    *,
    done: Callable[[], bool],
    json: object = None,
    params: Mapping[str, str] | None = None,
    collection: str | None = None,
    stop: threading.Event | None = None,
) -> bool:
    """Request a change once; return False if it was not confirmed but is seen to be `done` now.

    Raise the error of a refusal, or of a server that failed without making the change. If the
    change was not confirmed and does not appear within `APPEAR_SECONDS`, raise NodeUnreachable if
    the node does not answer, else RecoverUnanswered: it may still appear. Raise Interrupted if
    `stop` is set."""
    try:
        node.ask(method, path, doing, json=json, params=params, write=True, collection=collection)
    except ClusterError as error:
        if not error.undecided:
            raise
        waits = isinstance(error, NodeUnreachable) or CONSENSUS in error.message
        if seen(done, APPEAR_SECONDS if waits else 0, stop or threading.Event()):
            return False
        if isinstance(error, NodeUnreachable) or not waits:
            raise
        raise RecoverUnanswered(
            f"{error.message}; it has not appeared after {APPEAR_SECONDS:.0f} s, but still may"
        ) from None
    return True


def seen(done: Callable[[], bool], seconds: float, stop: threading.Event) -> bool:
    """Wait at most this long until it is done. Raise Interrupted if `stop` is set."""
    until = time.monotonic() + seconds
    while True:
        try:
            if done():
                return True
        except NodeUnreachable:
            pass  # perhaps it is busy with the request itself
        if time.monotonic() >= until:
            return False
        if stop.wait(LOOK_SECONDS):
            raise Interrupted("asked to stop while a change was not yet confirmed")


def same_settings(wanted: Any, there: Any) -> bool:
    """Say whether everything requested is in place; additions by the server are no difference.
    Pure."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            same_settings(value, there.get(key)) for key, value in wanted.items()
        )
    return bool(wanted is None or wanted == there)
