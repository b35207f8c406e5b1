"""`init` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.errors import UsageError

if TYPE_CHECKING:
    from qdrant_dr.records import Record


def init(*, url: str = "http://localhost:6333", session: Given) -> Reply:
    """Write an annotated configuration that works on localhost.

    It goes to -c, else to ./qdrant-dr.yaml; an existing file is never touched.

    Parameters
    ----------
    url
        REST URL of a node.
    """
    from qdrant_dr import configfile

    path = Path(session.reference or configfile.DEFAULT)
    address = node_address(url)
    configfile.init(path, address)
    taken = [f"{url} was taken as {address}"] if address != url else []
    return Reply(
        rows=[{"path": str(path)}],
        text=f"wrote {path}",
        remarks=[
            *taken,
            "next: qdrant-dr repository create --save; qdrant-dr check; qdrant-dr backup",
        ],
    )


def node_address(url: str) -> str:
    """Complete what people type, such as `localhost:6333`. Raise UsageError if it is no address."""
    address = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        good = good and (parts.port or 1) > 0 and not (parts.username or parts.query or " " in url)
    except ValueError:  # a port that is none
        good = False
    if not good:
        raise UsageError(
            f"--url {url} is not the address of a server",
            "write it like http://localhost:6333; keys go into the file, as references.",
        )
    return address.rstrip("/")


def schema(what: Literal["config", "manifest", "run", "frames"], /) -> Reply:
    """Print a JSON Schema, or what the frames mean.

    Parameters
    ----------
    what
        The configuration, a record of a backup, a record of a run, or the frames of a report.
    """
    body = _schema(what)
    return Reply(rows=[body], text=json.dumps(body, indent=2, ensure_ascii=False))


def _schema(what: str) -> dict[str, Any]:
    if what == "config":
        from qdrant_dr import configfile

        found: dict[str, Any] = json.loads(configfile.schema())
        return found
    if what == "frames":
        from qdrant_dr.report.schema import frames_json

        return frames_json()
    from qdrant_dr.records import Manifest, RunEnd, RunStart

    if what == "manifest":
        return _record(Manifest)
    return {"anyOf": [_record(RunStart), _record(RunEnd)]}


def _record(model: type[Record]) -> dict[str, Any]:
    """A record as it lies in a file: the model's fields, and what every record has."""
    body = model.model_json_schema(mode="serialization")
    body["properties"] |= {
        "format": {"const": model.FORMAT},
        "kind": {"const": model.KIND},
        "sha256": {"type": "string", "description": "of the canonical JSON of all the rest"},
    }
    body["required"] = [*body.get("required", []), "format", "kind", "sha256"]
    return body
