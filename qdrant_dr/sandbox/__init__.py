"""A small Qdrant-compatible server for the demo and the tests. It is not Qdrant.

On loopback, on Qdrant's own storage engine (`qdrant-edge-py`). It speaks the part of
Qdrant's REST interface that this project and `qdrant-client` need, with the status codes, headers
and error texts measured on Qdrant 1.18.3, quirks included, and it writes and restores collection
archives in Qdrant's layout. `GET /` says what it is, so that records made from it are labelled
`source_kind: sandbox`.

Several of them can play the nodes of one cluster (`peers`), without a consensus: what one is told
it repeats to the others.

It does not misbehave. For servers that do, see `tests/support`: `replay.py` (faults on demand),
`spy.py` (a call held or lost), `scripted.py` (what stores answer) and `later_server.py`.

What it does not do: partial snapshots, a background optimizer (`PATCH /collections/{c}` runs the
engine's optimizer once), and persistence across restarts: its data directory is storage, not state.

    http       envelope and errors          access     keys and who may do what
    settings   collection configuration     translate  points, filters, queries to the engine
    shard      one engine shard             collection shards behind one name
    ring       which shard a point is in    placement  which node a shard is on
    node       collections, snapshots       reads      over all shards, put together
    peers      the other nodes              consensus  what all nodes are told
    tar        GNU tar with sparse members  archive    Qdrant's archives of collections and shards
    upload     one file out of a multipart  recovery   where a recovery takes its archive from
    files      snapshot files on disk       restoring  recovery of collections and shards
    routes     the REST interface           startup    recovery before the port opens
    main       the process                  seed       believable data over HTTP
"""

from __future__ import annotations

from qdrant_dr.sandbox.main import serve
from qdrant_dr.sandbox.startup import EXIT_CODE, StartupError

__all__ = ["EXIT_CODE", "StartupError", "serve"]
