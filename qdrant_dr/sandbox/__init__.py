"""A small Qdrant-compatible server for the demo and the tests. It is not Qdrant.

One node on loopback, on Qdrant's own storage engine (`qdrant-edge-py`). It speaks the part of
Qdrant's REST interface that this project and `qdrant-client` need, with the status codes, headers
and error texts measured on Qdrant 1.18.3, quirks included, and it writes and restores collection
archives in Qdrant's layout. `GET /` says what it is, so that records made from it are labelled
`source_kind: sandbox`.

What it does not do: shard, stream and full snapshots, recovery from a URL, clusters, custom
sharding, a background optimizer (`PATCH /collections/{c}` runs the engine's optimizer once), and
persistence across restarts: its data directory is storage, not state.

    http       envelope and errors          access     keys and who may do what
    settings   collection configuration     translate  points, filters, queries to the engine
    shard      one engine shard             collection shards behind one name
    tar        GNU tar with sparse members  archive    Qdrant's collection archive
    upload     one file out of a multipart  node       collections, aliases, snapshot files
    routes     the REST interface           main       the process
    seed       believable data over HTTP
"""

from __future__ import annotations

from qdrant_dr.sandbox.main import serve

__all__ = ["serve"]
