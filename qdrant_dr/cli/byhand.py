"""Print how to restore a backup with curl and the provider's own tool alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from qdrant_dr import layout
from qdrant_dr.cluster import creation_body, shard_key_order
from qdrant_dr.cluster.collection_config import index_body
from qdrant_dr.cluster.target import FILLER
from qdrant_dr.config import Config
from qdrant_dr.errors import PlanRefused
from qdrant_dr.hints import told_with
from qdrant_dr.jobs.run.healing_steps import heal_step
from qdrant_dr.quantities import how_long
from qdrant_dr.records import Location, Manifest, Part
from qdrant_dr.repository import Backup, Copy, InArchive, LostBackup, rank_sources
from qdrant_dr.repository.open_store import location_of

TARGET = (
    "# choose the server to restore into: TARGET=http://new-server:6333",
    ': "${TARGET:?set the server to restore into, such as TARGET=http://HOST:6333}"',
)
"""Nothing is sent until TARGET is set: no printed line names a server."""


def by_hand(config: Config, backup: Backup) -> list[str]:
    """List lines of shell: fetch every part of the first usable copy, check it, upload it, compare.

    The lines name no server and a collection that does not exist yet, so pasting them unchanged
    changes nothing. A whole-collection archive brings its collection with it. For archives of
    single shards the collection is created first, with its shard keys and payload indexes, because
    such archives hold neither.
    """
    now = datetime.now(UTC)
    ranked = rank_sources(backup, now=now, promise=config.objectives.proven)
    whole = ("present", "archived")
    usable = [s.copy for s in ranked if s.copy.state in whole and not s.copy.lacks]
    # what is as it was sent needs no tool of ours
    usable.sort(key=lambda copy: (bool(copy.archived), copy.layout != "plain"))
    if not usable:
        step = heal_step(backup, backup.copies[0], now=now)
        return [f"# {told_with('no copy is whole', step)}"]
    manifest = backup.manifest
    frozen = ["# first bring it back from the archive, as below"] if usable[0].archived else []
    by_shard = any(part.kind == "shard" for part in manifest.parts)
    steps = [
        *frozen,
        *TARGET,
        "# use a name that does not exist yet: an upload into an existing collection replaces it",
        f"# with its state of {manifest.captured_at:%Y-%m-%d %H:%M:%S} UTC; later writes are lost",
        f"NAME={shlex.quote(quote(by_hand_name(manifest), safe=''))}",
    ]
    key = ' -H "api-key: $QDRANT_API_KEY"' if config.cluster.api_key else ""
    for part in manifest.parts:
        steps += ["", *_fetch(config, usable[0], manifest, part)]
    if by_shard:
        try:
            steps += ["", *_create(manifest, key), "", *_holder(key)]
        except PlanRefused as e:
            return [f"# cannot be done by hand: {e.message}", f"# {e.hint}"]
    for part in manifest.parts:
        steps += ["", *_upload(part, key)]
    return [*steps, "", *_look(backup, key)]


def bring_back(config: Config, backup: Backup) -> list[str]:
    """List, for every copy, the provider's commands that make archived objects readable again."""
    lines: list[str] = []
    for copy in (c for c in backup.copies if c.archived):
        cfg = config.repository(copy.repository)
        assert cfg is not None, "a copy lies in a configured repository"
        location = location_of(cfg)
        time = f"about {how_long(copy.restore_time)}" if copy.restore_time else "hours"
        lines.append(f"# {copy.repository}: {copy.archive}; it takes {time}")
        for frozen in copy.archived:
            if frozen.storage.thawing:
                lines.append(f"# {frozen.file} is being brought back: wait")
                continue
            path = f"{location.prefix}/{frozen.path}"
            lines.append(_thaw(location, path.lstrip("/"), frozen))
    return lines


THAWED_DAYS = 7
"""How long a copy that S3 brought back stays readable: more than a restore takes."""


def _thaw(location: Location, path: str, frozen: InArchive) -> str:
    if location.protocol == "s3":
        endpoint = f" --endpoint-url https://{location.endpoint}" if location.endpoint else ""
        request: dict[str, Any] = {"GlacierJobParameters": {"Tier": "Standard"}}
        if not frozen.storage.name.startswith("INTELLIGENT_TIERING"):  # that one stays readable
            request = {"Days": THAWED_DAYS, **request}
        return (
            f"aws s3api restore-object{endpoint} --bucket {shlex.quote(location.bucket)} "
            f"--key {shlex.quote(path)} --restore-request {shlex.quote(json.dumps(request))}"
        )
    if location.protocol == "az":
        return (
            f"az storage blob set-tier --account-name {shlex.quote(_account(location))} "
            f"--container-name {shlex.quote(location.bucket)} --name {shlex.quote(path)} "
            "--tier Hot --rehydrate-priority Standard"
        )
    return f"# {path}: use the tool of its provider"


def lost_by_hand(config: Config, lost: LostBackup) -> list[str]:
    """List what a person can do about a backup whose manifest is lost.

    No record holds the whole content of the manifest, so it cannot be written anew.
    """
    place = f"{layout.BACKUPS}/{lost.key.folder}"
    key = ' -H "api-key: $QDRANT_API_KEY"' if config.cluster.api_key else ""
    name = quote(lost.key.collection, safe="")
    steps = [
        f"# look for {place}/{layout.MANIFEST} among the versions that the bucket keeps, or in a",
        "# copy of the bucket: the right one has the SHA-256 above. Put it back, then:",
        f"qdrant-dr verify {shlex.quote(str(lost.key))}",
        "qdrant-dr replicate",
    ]
    parts = {f for of in lost.files.values() for f in of if f.endswith(".snapshot")}
    if "collection.snapshot" in parts:
        target = f"$TARGET/collections/{name}-restored/snapshots/upload?priority=snapshot"
        steps += [
            f"# or fetch {place}/collection.snapshot, which is Qdrant's own archive",
            *TARGET,
            f'curl --fail-with-body -X POST{key} -F snapshot=@collection.snapshot "{target}"',
        ]
    elif parts:
        steps += [
            f"# or fetch {place}/shard-*.snapshot: each is Qdrant's archive of one shard, for the",
            "# same shard of a collection with the same vectors",
        ]
    if any(layout.part_file_of(f) for of in lost.files.values() for f in of):
        steps += [
            f"# {place}/*.recipe says of which blocks in {layout.PACKS}/ a part is made; only with",
            "# the manifest does a command put it together: what is given up cannot be fetched",
        ]
    return [
        *steps,
        "# or give the backup up and delete what is left of it:",
        f"qdrant-dr expire {shlex.quote(str(lost.key))} --execute",
    ]


def by_hand_name(manifest: Manifest) -> str:
    """Name the collection to restore into: the original name with the day and time of the
    backup."""
    return f"{manifest.collection}-{manifest.backup_id[:15].lower()}"


def _create(manifest: Manifest, key: str) -> Iterator[str]:
    """Create an empty collection with the same configuration.

    Qdrant numbers the shards of shard keys in the order in which the keys are created.
    """

    info = manifest.info
    body = creation_body(info, replication_factor=None, clustered=True)
    keys = shard_key_order(manifest.shards_of_cluster, _object(json.loads(manifest.shard_keys)))
    yield "# create an empty collection with the same configuration" + (
        ": the target must run in cluster mode" if keys else ""
    )
    yield _json("PUT", key, "/collections/$NAME?timeout=60", body)
    following, fillers = 1, []  # the first shard of a key is number 1
    if keys:
        yield "# create its shard keys in this order: each gets its former shard ids"
    for name, ids in keys:
        if gap := ids[0] - following:
            fillers.append(f"{FILLER}{following}")
            yield _key(key, fillers[-1], gap)
        yield _key(key, name, len(ids))
        following = ids[-1] + 1
    for filler in fillers:
        body = {"shard_key": filler}
        yield _json("POST", key, "/collections/$NAME/shards/delete?timeout=60", body)
    schema = info.get("payload_schema") or {}
    if schema:
        yield "# create its payload indexes before the points: the shards then bring them along"
    for field, index in schema.items():
        asked = index_body(field, index)
        yield _json("PUT", key, "/collections/$NAME/index?wait=true", asked)


def _key(key: str, name: str | int, shards: int) -> str:
    body = {"shard_key": name, "shards_number": shards}
    return _json("PUT", key, "/collections/$NAME/shards?timeout=60", body)


def _json(method: str, key: str, path: str, body: object) -> str:
    text = shlex.quote(json.dumps(body, ensure_ascii=False))
    return (
        f'curl --fail-with-body -X {method}{key} "$TARGET{path}" '
        f"-H 'content-type: application/json' -d {text}"
    )


def _object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _holder(key: str) -> list[str]:
    """Find a node that holds a shard, which is known only after the creation. Any replica will
    do."""
    return [
        "# list every node of the target, separated by spaces: each shard goes to one that has it",
        'NODES="$TARGET"',
        "holder() {",
        "  for node in $NODES; do",
        f'    curl --silent --fail{key} "$node/collections/$NAME/cluster" |',
        r"""      sed 's/.*"local_shards": *\[\([^]]*\)\].*/\1/' |""",
        r"""      grep -q "\"shard_id\": *$1[,}]" && echo "$node" && return""",
        "  done",
        '  echo "no node in NODES holds shard $1" >&2; return 1',
        "}",
    ]


def _fetch(config: Config, copy: Copy, manifest: Manifest, part: Part) -> Iterator[str]:
    """Fetch one part into the working folder and compare its SHA-256."""
    cfg = config.repository(copy.repository)
    assert cfg is not None, "a copy lies in a configured repository"
    location = location_of(cfg)
    yield f"# {part.file} from {copy.repository}, {part.size_bytes} bytes"
    if copy.layout == "chunked":
        yield "# it lies there in blocks; docs/vault-format.md: how to put it together without us"
        yield (
            f"qdrant-dr get {shlex.quote(str(manifest.key))} --part {part.name} "
            f"-r {shlex.quote(copy.repository)} --out {part.file}"
        )
    else:
        path = f"{location.prefix}/{layout.in_backup(manifest.key, part.file)}".lstrip("/")
        yield _download(location, path, part.file)
    yield f"echo {part.sha256}  {part.file} | sha256sum --check"


def _download(location: Location, path: str, file: str) -> str:
    if location.protocol == "s3":
        endpoint = f" --endpoint-url https://{location.endpoint}" if location.endpoint else ""
        return f"aws s3 cp{endpoint} {shlex.quote(f's3://{location.bucket}/{path}')} {file}"
    if location.protocol == "gs":
        return f"gcloud storage cp {shlex.quote(f'gs://{location.bucket}/{path}')} {file}"
    if location.protocol == "az":
        return (
            f"az storage blob download --account-name {shlex.quote(_account(location))} "
            f"--container-name {shlex.quote(location.bucket)} --name {shlex.quote(path)} "
            f"--file {file}"
        )
    return f"cp {shlex.quote(f'/{path}')} {file}"


def _account(location: Location) -> str:
    return location.endpoint.rpartition("/")[2].partition(".")[0]


def _upload(part: Part, key: str) -> Iterator[str]:
    """Upload one part, always with checksum and priority: Qdrant checks and prefers only then."""
    where = '"$TARGET/collections/$NAME'
    if part.kind == "shard":
        yield f"NODE=$(holder {part.shards[0]})"
        where = f'"$NODE/collections/$NAME/shards/{part.shards[0]}'
    query = f"priority=snapshot&checksum={part.sha256}"
    yield f'curl --fail-with-body -X POST{key} {where}/snapshots/upload?{query}" \\'
    yield f"  -F snapshot=@{part.file}"


def _look(backup: Backup, key: str) -> Iterator[str]:
    """Count the points, compare the indexes, then move the aliases: a 200 proves none of these."""
    manifest = backup.manifest
    points = f"must be {backup.seal.points}" if backup.seal else "is unknown: not sealed"
    yield f"# wait for `update_queue.length: 0`; the count {points}"
    yield f'curl --fail-with-body{key} "$TARGET/collections/$NAME"'
    yield _json("POST", key, "/collections/$NAME/points/count", {"exact": True})
    schema = manifest.payload_schema
    if schema:
        fields = ", ".join(f"{name} ({what.get('data_type')})" for name, what in schema.items())
        yield f"# payload_schema must list {len(schema)} indexes: {fields}"
    else:
        yield "# payload_schema must be empty: there was no payload index"
    name = by_hand_name(manifest)
    if manifest.aliases:
        yield "# when all is well: move each alias from its present collection to the new one"
    for alias in manifest.aliases:
        action = {"create_alias": {"collection_name": name, "alias_name": alias}}
        yield "# " + _json("POST", key, "/collections/aliases", {"actions": [action]})
