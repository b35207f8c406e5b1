"""`init` and `schema`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.errors import UsageError

if TYPE_CHECKING:
    from qdrant_dr.config import RepositoryConfig
    from qdrant_dr.records import Record


def init(*, url: str = "http://localhost:6333", session: Given) -> Reply:
    """Write an annotated configuration that works on localhost.

    The file is written to the path of -c, else to ./qdrant-dr.yaml. An existing file is never
    touched.

    Parameters
    ----------
    url
        REST URL of a node.
    """
    from qdrant_dr import configfile

    path = Path(session.reference or configfile.DEFAULT)
    address = node_address(url)
    configfile.init(path, address)
    taken = [f"{url} was read as {address}"] if address != url else []
    return Reply(
        rows=[{"path": str(path)}],
        text=f"wrote {path}",
        remarks=[
            *taken,
            *doubts_of(address),
            *(layout_advice(r) for r in configfile.load(path).repositories),
            "next: qdrant-dr repository create --save; qdrant-dr check; qdrant-dr backup",
            "docs/choose-a-layout.md: `--layout chunked` stores each night only what changed",
        ],
    )


def layout_advice(repository: RepositoryConfig) -> str:
    """Recommend a layout: object stores are paid by the byte, and what reads a disk at the start of
    a server wants archives."""
    if "://" in repository.url and not repository.url.startswith("file://"):
        return (
            f"layout of {repository.name}: chunked, since each block is stored once there: "
            f"`qdrant-dr repository create {repository.name} --layout chunked --save`"
        )
    return (
        f"layout of {repository.name}: plain, so that a restore at start-up reads archives from "
        "this disk; in an object store take `repository create NAME --layout chunked`"
    )


REST_PORT, GRPC_PORT = 6333, 6334


def node_address(url: str) -> str:
    """Complete what people type or paste, such as `localhost:6333` or the address of the dashboard.
    Raise UsageError if it is no address. The message omits an address that may hold a password."""
    text = url.strip().partition("#")[0].rstrip("/").removesuffix("/dashboard")
    if re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\])(:\d+)?", text):
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        good = good and (parts.port or 1) > 0 and not (parts.username or parts.query or " " in text)
    except ValueError:  # the port is not valid
        good = False
    if not good:
        said = "" if "@" in url or "?" in url else f" {url!r}"
        raise UsageError(
            f"--url{said} is not the address of a server",
            "write it like http://localhost:6333; put keys into the file, as references.",
        )
    return parts.geturl()


def doubts_of(address: str) -> list[str]:
    """Return remarks on addresses that are often a mistake."""
    parts = urlsplit(address)
    if parts.port == GRPC_PORT:
        return [f"{address}: {GRPC_PORT} is usually the gRPC port; REST is on {REST_PORT}"]
    if parts.port is None and parts.scheme == "http":
        return [f"{address}: this means port 80; a Qdrant server listens on {REST_PORT}"]
    return []


def schema(what: Literal["config", "manifest", "run", "frames"], /) -> Reply:
    """Print a JSON Schema, or the meaning of the report's frames.

    Parameters
    ----------
    what
        The configuration, the record of a backup, the record of a run, or the frames of a report.
    """
    body = _schema(what)
    return Reply(rows=[body], text=json.dumps(body, indent=2, ensure_ascii=False))


def _schema(what: str) -> dict[str, Any]:
    if what == "config":
        from qdrant_dr import configfile

        found: dict[str, Any] = json.loads(configfile.schema())
        return found
    if what == "frames":
        from qdrant_dr.report.frames.schema import frames_json

        return frames_json()
    from qdrant_dr.records import Manifest, RunEnd, RunStart

    if what == "manifest":
        return _record(Manifest)
    return {"anyOf": [_record(RunStart), _record(RunEnd)]}


def _record(model: type[Record]) -> dict[str, Any]:
    """Return the schema of a record's file: the model's fields, and those of every record."""
    body = model.model_json_schema(mode="serialization")
    body["properties"] |= {
        "format": {"const": model.FORMAT},
        "kind": {"const": model.KIND},
        "sha256": {"type": "string", "description": "of the canonical JSON of all other fields"},
    }
    body["required"] = [*body.get("required", []), "format", "kind", "sha256"]
    return body
