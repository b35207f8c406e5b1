"""What a node says about itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from qdrant_dr.sandbox import facts
from qdrant_dr.sandbox.http import ok
from qdrant_dr.sandbox.routes.common import Found, TheNode

router = APIRouter()


@router.get("/")
def root() -> Response:
    return JSONResponse(facts.ROOT)


@router.get("/healthz")
@router.get("/livez")
def healthz() -> Response:
    return PlainTextResponse("healthz check passed")


@router.get("/readyz")
def readyz() -> Response:
    return PlainTextResponse("all shards are ready")


@router.get("/cluster")
def cluster(node: TheNode) -> Response:
    return ok(node.peers.cluster() if node.peers else {"status": "disabled"})


@router.get("/issues")
def issues() -> Response:
    return ok({"issues": []})


@router.get("/telemetry")
def telemetry(node: TheNode) -> Response:
    return ok(facts.telemetry(node))


@router.get("/metrics")
def metrics(node: TheNode) -> Response:
    return PlainTextResponse(facts.metrics(node))


@router.get("/collections/{collection}/cluster")
def collection_cluster(found: Found, node: TheNode) -> Response:
    return ok(node.collection_cluster(found))


@router.get("/collections/{collection}/optimizations")
def optimizations(found: Found, wanted: Annotated[str, Query(alias="with")] = "") -> Response:
    """Report that nothing runs: the sandbox optimizes within the request that asks for it."""
    idle = sum(found.info(number)["segments_count"] for number in found.local_shards())
    counts = {"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0}
    with_ = wanted.split(",")
    asked: dict[str, list[str]] = {n: [] for n in ("queued", "completed") if n in with_}
    return ok({"summary": {**counts, "idle_segments": idle}, "running": [], **asked})


@router.get("/collections/{collection}/memory")
def memory(found: Found) -> Response:
    return ok(facts.memory(found))
