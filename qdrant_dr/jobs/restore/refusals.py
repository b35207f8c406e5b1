"""Collect every reason to refuse a restore of a backup to a target, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qdrant_dr.cluster.collection_config import shard_key_order
from qdrant_dr.cluster.facts import same_vectors, vectors_text
from qdrant_dr.cluster.names import longest_restored, too_long
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.config import Config
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.restore.journal import Journal
from qdrant_dr.jobs.restore.options import OnTarget, RestoreRequest, goes_on, route_of
from qdrant_dr.jobs.run.units import Route
from qdrant_dr.location_key import split_url
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records import Manifest
from qdrant_dr.repository import Backup, Copy
from qdrant_dr.supported import minor_of

STORAGE_MIGRATION = (1, 18)
"""From this version on, Qdrant no longer reads storage segments from before 1.16."""
PASSING_THROUGH = (1, 16)
ROOM = 2
"""How many times its size an uploaded archive takes on the target: the file and its content."""


THAW = {
    "s3": "`aws s3api restore-object`",
    "az": "`az storage blob set-tier --tier Hot`",
}
"""The provider's own tool that brings objects back from an archive."""


def archive_reasons(
    config: Config, backup: Backup, sources: Sequence[Copy], repositories: Sequence[str]
) -> list[str]:
    """Say of each copy in an archive why it is passed over, how long it takes to bring it back, and
    with which tool."""
    reasons = []
    for copy in backup.copies:
        if not copy.archived or copy.repository not in repositories:
            continue
        cfg = config.repository(copy.repository)
        tool = THAW.get(split_url(cfg.url)[0], "its provider's tool") if cfg else ""
        last = " and is read last" if copy in sources and len(sources) > 1 else ""
        time = (
            f"about {how_long(copy.restore_time)}"
            if copy.restore_time
            else "an unknown time (`archive_restore_time` is not set)"
        )
        under_way = all(a.storage.thawing for a in copy.archived)
        what = "it is being brought back" if under_way else f"bring it back with {tool}"
        reasons.append(
            f"the copy of {backup.key} in {copy.repository} is {copy.archive}, and cannot be read"
            f"{last}: {what}, which takes {time}; `qdrant-dr show {backup.key}` prints the "
            "commands; then run this again"
        )
    return reasons


def versions_reasons(manifest: Manifest, target: TargetFacts, *, salvage: bool) -> list[str]:
    """Compare versions: Qdrant restores archives of its own or the previous minor version only."""
    if salvage:
        return []
    made, there = minor_of(manifest.server_version), minor_of(target.version)
    if made is None or there is None:
        return [
            (
                f"the versions cannot be compared: the archive was made by "
                f"{manifest.server_version!r}, {target.url} runs {target.version!r}"
            )
        ]
    said = (
        f"{manifest.key} was made by {manifest.server_version}, {target.url} runs {target.version}"
    )
    if there < made:
        return [f"{said}: an older server cannot restore it; use {made[0]}.{made[1]}"]
    if there[0] == made[0] and there[1] - made[1] <= 1:
        return []
    if made < PASSING_THROUGH and there >= STORAGE_MIGRATION:
        return [
            (
                f"{said}: its storage format is older than 1.16; restore it into 1.16 or 1.17, let "
                "that server open it and back it up from there, or read it with `--salvage`"
            )
        ]
    return [
        (
            f"{said}: only the same or the next minor version can restore it; upgrade it one "
            "minor version at a time, or read it with `--salvage`"
        )
    ]


def name_reasons(
    manifest: Manifest, there: OnTarget, name: str, options: RestoreRequest
) -> list[str]:
    """Refuse a name that is already in use on the target, or too long for it."""
    target = there.facts
    if name in target.aliases:
        return [
            (
                f"{name!r} is an alias of {target.aliases[name]!r} on {target.url}: a restore "
                "would overwrite that collection; give another name with `--as`"
            )
        ]
    ours, route = there.unfinished, route_of(manifest, target, salvage=options.salvage)
    longest = longest_restored(
        whole=route == "whole", shard=max((s.shard for s in manifest.shards), default=0)
    )
    if route != "salvage" and too_long(name, longest):
        return [
            (
                f"the name has {len(name.encode())} bytes; a server restores no archive under a "
                f"name longer than {longest}: give a shorter name with `--as`, or use `--salvage`"
            )
        ]
    if ours is not None and ours.created and goes_on(ours, manifest.key, route):
        if name in target.aliases.values() and ours.proven is None:
            return [
                (
                    f"{name!r} on {target.url} is in use by an alias, although the restore of "
                    f"{ours.backup} that made it did not finish: delete it first if it is not "
                    "needed"
                )
            ]
        return []
    if name in target.broken:
        return [
            (
                f"{name!r} on {target.url} is listed but broken, as after a killed restore: "
                f"read the server's log, then delete it: curl -X DELETE "
                f"{target.url}/collections/{name}"
            )
        ]
    if name not in target.collections:
        return []
    if options.salvage:
        return [
            (
                f"{name!r} exists on {target.url}, and a salvage would add points to it: give a "
                "new "
                "name with `--as`"
            )
        ]
    if not options.into_existing and ours is not None and ours.whole:
        return [f"{left_whole(ours)}; {how_to_remove(target.url, name)}"]
    if not options.into_existing:
        return [
            (
                f"{name!r} exists on {target.url}: restore beside it with `--as NAME`, or over it "
                "with `--into-existing`, which replaces all its points"
            )
        ]
    return _unlike(manifest, there, name)


def left_whole(left: Journal) -> str:
    """Describe the collection of a restore that brought everything back but did not end well."""
    found = f"it differs: {left.differs}" if left.differs else "its content is not yet compared"
    if left.proven is not None:
        found = "its content was proven, but its aliases were not set"
    return (
        f"{left.name!r} on {left.target} was brought back completely by the restore of "
        f"{left.backup} that began {left.began_at:%Y-%m-%d %H:%M:%S} UTC ({found}), unless "
        "somebody "
        "has recreated it since"
    )


def how_to_remove(url: str, name: str) -> str:
    """Say what to do about a collection that we do not remove."""
    return (
        f"inspect it, then remove it with `curl -X DELETE {url}{path_of(name)}`, or restore beside "
        "it with `--as NAME`, or over it with `--into-existing`"
    )


def _unlike(manifest: Manifest, there: OnTarget, name: str) -> list[str]:
    """Say why the existing collection cannot take these shards. The server itself checks only after
    it has read the whole upload, and never for an upload by shard."""
    facts = there.existing
    if facts is None:
        return [f"{there.facts.url} does not tell the configuration of {name!r}"]
    params = manifest.params
    reasons = []
    if not same_vectors(facts.vectors, vectors_text(params)):
        reasons.append(f"{name!r} on {there.facts.url} has other vectors than {manifest.key}")
    shards = {s.shard for s in manifest.shards}
    if facts.shard_ids != shards:
        reasons.append(
            f"{name!r} on {there.facts.url} has {len(facts.shard_ids)} shards, {manifest.key} has "
            f"{len(shards)}: restore it under another name, or with `--salvage`"
        )
    return reasons


def topology_reasons(manifest: Manifest, target: TargetFacts, options: RestoreRequest) -> list[str]:
    reasons = []
    if manifest.custom_sharding and not target.clustered and not options.salvage:
        reasons.append(
            f"{manifest.collection!r} has shard keys, which Qdrant supports only in cluster mode: "
            "start the target with `cluster.enabled: true` (one node will do), or read the backup "
            "with `--salvage`"
        )
    elif manifest.custom_sharding and not options.salvage:
        try:
            shard_key_order(manifest.shards_of_cluster, json.loads(manifest.shard_keys))
        except PlanRefused as e:
            reasons.append(f"{e.message}: {e.hint}")
    wanted, peers = (
        options.replication_factor or manifest.replication_factor,
        len(target.peers) or 1,
    )
    if target.clustered and wanted > peers:
        reasons.append(
            f"{wanted} replicas of each shard need {wanted} nodes, but {target.url} knows {peers}: "
            f"restore with `--replication-factor {peers}`"
        )
    return reasons


def way_reasons(manifest: Manifest, options: RestoreRequest, route: Route) -> list[str]:
    """Refuse a way of transfer that is not possible for this backup and route."""
    if options.way == "upload":
        if options.server_file is not None:
            return ["`--server-file` needs `--way server-file`"]
        return []
    if route == "salvage":
        return [f"a salvage reads the archive itself: `--way {options.way}` is not possible"]
    whole = [p.kind for p in manifest.parts] == ["collection"]
    if whole and route == "shards":
        return [
            (
                f"{manifest.key} is one archive that must be split into shards for this target, "
                "but "
                f"`--way {options.way}` passes it on unchanged: use `--way upload`"
            )
        ]
    if options.way == "server-file":
        if options.server_file is None:
            return ["`--way server-file` needs the location: add `--server-file LOCATION`"]
        if not whole:
            return [f"{manifest.key} has {len(manifest.parts)} parts, `--server-file` names one"]
        return []
    return []


def spool_reasons(config: Config, manifest: Manifest, there: OnTarget, route: Route) -> list[str]:
    """Refuse a restore whose split or unpacked archive does not fit on this machine."""
    sizes = [p.size_bytes for p in manifest.parts]
    if route == "shards":  # the pieces stay until all of them are sent
        needed = sum(p.size_bytes for p in manifest.parts if p.kind == "collection")
        why = f"splitting {manifest.key} into shards"
    else:  # a salvage unpacks one part at a time
        needed = max(sizes) if route == "salvage" else 0
        why = f"reading {manifest.key} with the engine"
    spool = config.capture.spool
    reasons = []
    if needed > spool.max:
        reasons.append(
            f"{why} needs {format_size(needed)} on this machine, but `capture.spool.max` is "
            f"{format_size(spool.max)}: raise it"
        )
    if there.spool_free is not None and needed > there.spool_free:
        reasons.append(
            f"{why} needs {format_size(needed)} below {spool.path}, which has only "
            f"{format_size(there.spool_free)} free: free space there, or change "
            "`capture.spool.path`"
        )
    return reasons


def room_reasons(
    config: Config, manifest: Manifest, target: TargetFacts, options: RestoreRequest
) -> tuple[list[str], list[str]]:
    """Return refusals and warnings about space on the target. No Qdrant call tells free space."""
    needed = manifest.size_bytes * (1 if options.way == "url" else ROOM)
    free = config.cluster.node_space
    if free is None or target.url.rstrip("/") not in config.cluster.nodes:
        return [], [
            f"the free space of {target.url} is unknown; this needs about {format_size(needed)}"
        ]
    peers = len(target.peers) or 1
    factor = options.replication_factor or manifest.replication_factor
    share = needed * min(factor, peers) // peers
    if share <= free:
        return [], []
    return [
        (
            f"each node needs about {format_size(share)} but has only {format_size(free)} "
            "(`cluster.node_space`): free space first"
        )
    ], []
