"""Why a backup is not to be restored to a target as asked: every reason, in words. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime

from qdrant_dr.cluster.collection_config import shard_key_order
from qdrant_dr.cluster.facts import vectors_text
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
from qdrant_dr.repository import Backup, Copy, open_failures, proven_copies

STORAGE_MIGRATION = (1, 18)
"""From this version on, segments of the storage of before 1.16 are no longer read."""
PASSING_THROUGH = (1, 16)
ROOM = 2
"""Times its size that an uploaded archive takes on the target: the file, and what is in it."""


def trust(
    config: Config,
    backup: Backup,
    sources: Sequence[Copy],
    options: RestoreRequest,
    *,
    now: datetime,
    accepted: bool = False,
    frozen: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """What speaks against this backup; and, as warnings, what is true of its source as well, and
    what `--allow-unproven` lets pass.

    `accepted`: somebody has looked at it, and it is what it is meant to be. `frozen`: why copies
    that lie in an archive cannot be read.
    """
    key = backup.key
    if backup.conflict is not None:
        return [f"{backup.conflict.message}; {backup.conflict.hint}"], []
    if not sources:
        nowhere = f"no repository that can be read has a whole copy of {key}"
        return list(frozen) or [f"{nowhere}: see `qdrant-dr show {key}`"], []
    doubts = []
    wanted = config.objectives.proven
    # one proven copy proves them all: whatever is read is compared with its manifest, to the byte
    if not proven_copies(backup, depth=wanted.depth, max_age=wanted.max_age, now=now):
        failed = [c.repository for c in sources if open_failures(c.proofs)]
        more = f"; failed proofs are open in {', '.join(failed)}" if failed else ""
        doubts.append(
            f"no copy of {key} is proven to {wanted.depth} now{more}: "
            f"run `qdrant-dr verify {key}`, or restore it all the same with `--allow-unproven`"
        )
    if backup.seal is not None and backup.seal.suspect and not accepted:
        doubts.append(
            f"{key} is suspect ({'; '.join(backup.seal.suspect)}): take an older backup, or this "
            f"one all the same with `--allow-unproven`; if it is what was meant, accept it first: "
            f"`qdrant-dr acknowledge {key} --reason WHY`"
        )
    remarks = [f"{key}: {remark}" for remark in (backup.seal.remarks if backup.seal else ())]
    return ([], doubts + remarks) if options.allow_unproven else (doubts, remarks)


THAW = {
    "s3": "`aws s3api restore-object`",
    "az": "`az storage blob set-tier --tier Hot`",
}
"""How what lies in an archive is brought back, with the provider's own tool."""


def archive_reasons(
    config: Config, backup: Backup, sources: Sequence[Copy], repositories: Sequence[str]
) -> list[str]:
    """Of each copy that cannot be read before it is brought back from an archive: why it is passed
    over, how long that takes, and with what it is done."""
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
            else "nobody knows how long (`archive_restore_time` is not set)"
        )
        under_way = all(a.storage.thawing for a in copy.archived)
        what = "is being brought back" if under_way else f"is brought back by {tool}"
        reasons.append(
            f"the copy of {backup.key} in {copy.repository} is {copy.archive}, and cannot be read"
            f"{last}: it {what}, which takes {time}; `qdrant-dr show {backup.key}` prints the "
            "commands; then run this again"
        )
    return reasons


def versions_reasons(manifest: Manifest, target: TargetFacts, *, salvage: bool) -> list[str]:
    """Qdrant restores archives of its own or the previous minor version, and nothing newer."""
    if salvage:
        return []
    made, there = version_of(manifest.server_version), version_of(target.version)
    if made is None or there is None:
        return [
            (
                f"the versions cannot be compared: the archive was made by "
                f"{manifest.server_version!r}, {target.url} is {target.version!r}"
            )
        ]
    said = f"{manifest.key} was made by {manifest.server_version}, {target.url} is {target.version}"
    if there < made:
        return [f"{said}: an older server does not restore it; use {made[0]}.{made[1]}"]
    if there[0] == made[0] and there[1] - made[1] <= 1:
        return []
    if made < PASSING_THROUGH and there >= STORAGE_MIGRATION:
        return [
            (
                f"{said}: its storage is from before the migration of 1.16; restore it into 1.16 "
                "or 1.17, let that server open it and back it up there, or read it with `--salvage`"
            )
        ]
    return [
        (
            f"{said}: only the same or the next minor version restores it; take it there one "
            "minor version after the other, or read it with `--salvage`"
        )
    ]


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor of `1.18.3`; None if it is no version."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def name_reasons(
    manifest: Manifest, there: OnTarget, name: str, options: RestoreRequest
) -> list[str]:
    """What already bears the name on the target."""
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
                f"the name has {len(name.encode())} bytes, and a server restores no archive under "
                f"one with more than {longest}: give a shorter one with `--as`, or `--salvage`"
            )
        ]
    if ours is not None and ours.created and goes_on(ours, manifest.key, route):
        if name in target.aliases.values() and ours.proven is None:
            return [
                (
                    f"{name!r} on {target.url} is in use by an alias, though the restore of "
                    f"{ours.backup} that made it did not end: delete it first if it is not needed"
                )
            ]
        return []
    if name in target.broken:
        return [
            (
                f"{name!r} on {target.url} is listed but broken, as after a killed restore: "
                f"look into the server's log, then delete it: curl -X DELETE "
                f"{target.url}/collections/{name}"
            )
        ]
    if name not in target.collections:
        return []
    if options.salvage:
        return [
            (
                f"{name!r} exists on {target.url}, and a salvage would add to it: give a new name "
                "with `--as`"
            )
        ]
    if not options.into_existing and ours is not None and ours.whole:
        return [f"{left_whole(ours)}; {how_to_remove(target.url, name)}"]
    if not options.into_existing:
        return [
            (
                f"{name!r} exists on {target.url}: restore beside it with `--as NAME`, or over it "
                "with `--into-existing`, which replaces every point of it"
            )
        ]
    return _unlike(manifest, there, name)


def left_whole(left: Journal) -> str:
    """What lies under the name of a restore that brought everything back and did not end well."""
    found = f"it differs: {left.differs}" if left.differs else "whose content is not yet compared"
    if left.proven is not None:
        found = "its content was proven, and its aliases were not set"
    return (
        f"{left.name!r} on {left.target} is what the restore of {left.backup} that began "
        f"{left.began_at:%Y-%m-%d %H:%M:%S} UTC brought back in whole ({found}), unless somebody "
        "has made it anew since"
    )


def how_to_remove(url: str, name: str) -> str:
    """What to do about a collection that is not removed by us."""
    return (
        f"look at it; `curl -X DELETE {url}{path_of(name)}` removes it, or restore beside it with "
        "`--as NAME`, or over it with `--into-existing`"
    )


def _unlike(manifest: Manifest, there: OnTarget, name: str) -> list[str]:
    """Why the existing collection cannot take these shards. The server looks only after reading
    the whole upload, and by shard not at all."""
    facts = there.existing
    if facts is None:
        return [f"{name!r} on {there.facts.url} does not tell how it is made"]
    params = manifest.params
    reasons = []
    if facts.vectors != vectors_text(params):
        reasons.append(f"{name!r} on {there.facts.url} has other vectors than {manifest.key}")
    shards = {s.shard for s in manifest.shards}
    if facts.shard_ids != shards:
        reasons.append(
            f"{name!r} on {there.facts.url} has {len(facts.shard_ids)} shards, {manifest.key} has "
            f"{len(shards)}: restore it as another collection, or with `--salvage`"
        )
    return reasons


def topology_reasons(manifest: Manifest, target: TargetFacts, options: RestoreRequest) -> list[str]:
    reasons = []
    if manifest.custom_sharding and not target.clustered and not options.salvage:
        reasons.append(
            f"{manifest.collection!r} has shard keys, which a server outside a cluster cannot "
            "have: start the target with `cluster.enabled: true` (one node will do), or read it "
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
            f"{wanted} replicas of each shard need as many nodes, {target.url} knows {peers}: "
            f"restore with `--replication-factor {peers}`"
        )
    return reasons


def way_reasons(manifest: Manifest, options: RestoreRequest, route: Route) -> list[str]:
    """Whether the bytes can travel as asked."""
    if options.way == "upload":
        if options.server_file is not None:
            return ["`--server-file` is for `--way server-file`"]
        return []
    if route == "salvage":
        return [f"a salvage reads the archive itself: `--way {options.way}` cannot be"]
    whole = [p.kind for p in manifest.parts] == ["collection"]
    if whole and route == "shards":
        return [
            (
                f"{manifest.key} is one archive that must be cut into shards for this target: "
                f"`--way {options.way}` hands it over as it is; use `--way upload`"
            )
        ]
    if options.way == "server-file":
        if options.server_file is None:
            return ["`--way server-file` needs the place of the file: `--server-file LOCATION`"]
        if not whole:
            return [f"{manifest.key} has {len(manifest.parts)} parts, `--server-file` names one"]
        return []
    return []


def spool_reasons(config: Config, manifest: Manifest, there: OnTarget, route: Route) -> list[str]:
    """Whether what is cut into shards, or laid out to be read, has room on this machine."""
    sizes = [p.size_bytes for p in manifest.parts]
    if route == "shards":  # cut pieces stay until all of them are sent
        needed = sum(p.size_bytes for p in manifest.parts if p.kind == "collection")
        why = f"cutting {manifest.key} into shards"
    else:  # a salvage lays out one part after the other
        needed = max(sizes) if route == "salvage" else 0
        why = f"reading {manifest.key} with the engine"
    spool = config.capture.spool
    reasons = []
    if needed > spool.max:
        reasons.append(
            f"{why} needs {format_size(needed)} on this machine, `capture.spool.max` is "
            f"{format_size(spool.max)}: raise it"
        )
    if there.spool_free is not None and needed > there.spool_free:
        reasons.append(
            f"{why} needs {format_size(needed)} below {spool.path}, which has "
            f"{format_size(there.spool_free)} free: make room, or set `capture.spool.path`"
        )
    return reasons


def room(
    config: Config, manifest: Manifest, target: TargetFacts, options: RestoreRequest
) -> tuple[list[str], list[str]]:
    """Refusals and warnings about room. No call of Qdrant tells free space."""
    needed = manifest.size_bytes * (1 if options.way == "url" else ROOM)
    free = config.cluster.node_space
    if free is None or target.url.rstrip("/") not in config.cluster.nodes:
        return [], [
            f"the free space of {target.url} is not known; it needs about {format_size(needed)}"
        ]
    peers = len(target.peers) or 1
    factor = options.replication_factor or manifest.replication_factor
    share = needed * min(factor, peers) // peers
    if share <= free:
        return [], []
    return [
        (
            f"each node needs about {format_size(share)} and has {format_size(free)} "
            "(`cluster.node_space`): make room first"
        )
    ], []
