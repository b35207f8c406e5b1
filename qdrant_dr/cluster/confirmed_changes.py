"""Changes that the nodes of a cluster agree on: an answer that is no yes may only be a "not yet".

Qdrant waits for its nodes for a while, then answers 500 ("Waiting for consensus operation commit
failed") and does it all the same once they agree; a proxy or a time-out of ours cuts the wait, too.
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
"""How long a change is looked for that was asked for and not confirmed."""
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
    """Ask once for a change; return False if it was not confirmed, and is seen to be `done` now.

    Raise what a refusal means, also of a server that failed and has done nothing; where nothing was
    confirmed and nothing is seen within `APPEAR_SECONDS`, NodeUnreachable if the node does not
    answer, else RecoverUnanswered: it may still come. Interrupted if `stop` is set meanwhile.
    """
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
            f"{error.message}; it is not there after {APPEAR_SECONDS:.0f} s, and may still come"
        ) from None
    return True


def seen(done: Callable[[], bool], seconds: float, stop: threading.Event) -> bool:
    """Whether it is done, looked at for so long. Raise Interrupted if `stop` is set."""
    until = time.monotonic() + seconds
    while True:
        try:
            if done():
                return True
        except NodeUnreachable:
            pass  # busy with what it was asked for, perhaps
        if time.monotonic() >= until:
            return False
        if stop.wait(LOOK_SECONDS):
            raise Interrupted("asked to stop while a change was not confirmed")


def same_settings(wanted: Any, there: Any) -> bool:
    """Whether all that was asked for is so; what a server adds by itself is no difference. Pure."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            same_settings(value, there.get(key)) for key, value in wanted.items()
        )
    return bool(wanted is None or wanted == there)
