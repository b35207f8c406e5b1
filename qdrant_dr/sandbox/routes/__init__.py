"""The REST interface, one module per topic."""

from __future__ import annotations

from fastapi import APIRouter

from qdrant_dr.sandbox.routes import cluster, collections, points, service, shards, snapshots

router = APIRouter()
for _topic in (service, cluster, collections, points, shards, snapshots):
    router.include_router(_topic.router)
