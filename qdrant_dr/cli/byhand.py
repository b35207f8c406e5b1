"""How to restore a backup with nothing but curl and the provider's own tool."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from urllib.parse import quote

from qdrant_dr.config import Config
from qdrant_dr.records import Location, Manifest, Part
from qdrant_dr.repository import Backup, Copy, names
from qdrant_dr.repository.location import location_of


def by_hand(config: Config, backup: Backup) -> list[str]:
    """Lines of shell: fetch every part of the first usable copy, check it, upload it, look."""
    usable = [c for c in backup.copies if c.committed and c.state == "present" and not c.lacks]
    if not usable:
        return ["# no copy is whole: run `qdrant-dr replicate` first"]
    manifest = backup.manifest
    steps = [
        "# to another name if the collection still exists: an upload replaces what is there",
        f"TARGET={shlex.quote(config.cluster.nodes[0])}",
        f"NAME={shlex.quote(quote(manifest.collection, safe=''))}",
    ]
    key = ' -H "api-key: $QDRANT_API_KEY"' if config.cluster.api_key else ""
    for part in manifest.parts:
        steps += ["", *_fetch(config, usable[0], manifest, part), *_upload(part, key)]
    return [*steps, "", *_look(backup, key)]


def _fetch(config: Config, copy: Copy, manifest: Manifest, part: Part) -> Iterator[str]:
    """One part into the working folder, and its SHA-256 compared."""
    cfg = config.repository(copy.repository)
    assert cfg is not None, "a copy lies in a configured repository"
    location = location_of(cfg)
    path = f"{location.prefix}/{names.in_backup(manifest.key, part.file)}".lstrip("/")
    yield f"# {part.file} from {copy.repository}, {part.size_bytes} bytes"
    yield _download(location, path, part.file)
    yield f"echo {part.sha256}  {part.file} | sha256sum --check"


def _download(location: Location, path: str, file: str) -> str:
    if location.protocol == "s3":
        endpoint = f" --endpoint-url https://{location.endpoint}" if location.endpoint else ""
        return f"aws s3 cp{endpoint} {shlex.quote(f's3://{location.bucket}/{path}')} {file}"
    if location.protocol == "gs":
        return f"gcloud storage cp {shlex.quote(f'gs://{location.bucket}/{path}')} {file}"
    if location.protocol == "az":
        account = location.endpoint.rpartition("/")[2].partition(".")[0]
        return (
            f"az storage blob download --account-name {shlex.quote(account)} "
            f"--container-name {shlex.quote(location.bucket)} --name {shlex.quote(path)} "
            f"--file {file}"
        )
    return f"cp {shlex.quote(f'/{path}')} {file}"


def _upload(part: Part, key: str) -> Iterator[str]:
    """Checksum and priority are always said: without them Qdrant neither checks nor prefers."""
    where = '"$TARGET/collections/$NAME'
    where += f"/shards/{part.shards[0]}" if part.kind == "shard" else ""
    query = f"priority=snapshot&checksum={part.sha256}"
    yield f'curl --fail-with-body -X POST{key} {where}/snapshots/upload?{query}" \\'
    yield f"  -F snapshot=@{part.file}"


def _look(backup: Backup, key: str) -> Iterator[str]:
    """A green 200 is no proof: count, compare the indexes, then move the aliases."""
    manifest = backup.manifest
    points = f"must be {backup.seal.points}" if backup.seal else "was never read: not sealed"
    yield f"# wait for `update_queue.length: 0`; the count {points}"
    yield f'curl --fail-with-body{key} "$TARGET/collections/$NAME"'
    yield (
        f'curl --fail-with-body -X POST{key} "$TARGET/collections/$NAME/points/count" '
        "-H 'content-type: application/json' -d '{\"exact\": true}'"
    )
    schema = json.loads(manifest.collection_info).get("payload_schema") or {}
    if schema:
        fields = ", ".join(f"{name} ({what.get('data_type')})" for name, what in schema.items())
        yield f"# payload_schema must list {len(schema)} indexes: {fields}"
    else:
        yield "# payload_schema must be empty: there was no payload index"
    for alias in manifest.aliases:
        action = {"create_alias": {"collection_name": manifest.collection, "alias_name": alias}}
        body = shlex.quote(json.dumps({"actions": [action]}, ensure_ascii=False))
        yield (
            f'curl --fail-with-body -X POST{key} "$TARGET/collections/aliases" '
            f"-H 'content-type: application/json' -d {body}"
        )
