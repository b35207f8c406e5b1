"""The REST interface, one module per topic."""

from __future__ import annotations

from fastapi import APIRouter

from qdrant_dr.sandbox.routes import collections, points, service, snapshots

router = APIRouter()
for _topic in (service, collections, points, snapshots):
    router.include_router(_topic.router)
