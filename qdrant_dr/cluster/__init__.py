"""All calls to Qdrant: inventory, facts, gates, snapshots, downloads, drill targets."""

from qdrant_dr.cluster.aliases import (
    AliasPlan,
    aliases_of,
    plan_aliases,
    set_aliases,
)
from qdrant_dr.cluster.bucket import blocks_of, checksum_doubts, read_object
from qdrant_dr.cluster.capture_conditions import Preflight, check_gates, moved_elsewhere, preflight
from qdrant_dr.cluster.collection_config import (
    KeyOrder,
    ShardKey,
    creation_body,
    differences,
    shard_key_order,
)
from qdrant_dr.cluster.download import download
from qdrant_dr.cluster.facts import (
    CollectionFacts,
    Placement,
    ShardState,
    collection_facts,
    facts_after,
    placement,
)
from qdrant_dr.cluster.incarnation import another_life, another_uuid, incarnation
from qdrant_dr.cluster.inventory import (
    ClockOffset,
    Inventory,
    NodeFacts,
    Unreached,
    Unreadable,
    clock_of,
    inventory_of,
    list_nodes,
    node_facts,
    take_inventory,
)
from qdrant_dr.cluster.node import Node, node_at, open_nodes
from qdrant_dr.cluster.read_only_probe import ReadOnlyProbe, probe_read_only
from qdrant_dr.cluster.ready import wait_ready, wait_restored
from qdrant_dr.cluster.recover import (
    DRILL_PREFIX,
    Priority,
    collection_names,
    drop_target,
    leftovers,
    recover_by_upload,
    recover_from,
    recover_shard_by_upload,
)
from qdrant_dr.cluster.replica_choice import CapturePlan, PeerShards, choose_replicas
from qdrant_dr.cluster.sampling import sample_points
from qdrant_dr.cluster.scroll import RawPoint, points_by_id, scroll_points
from qdrant_dr.cluster.snapshot_scope import (
    INSTANCE,
    SnapshotScope,
    key_piece,
    server_snapshots,
    stamp_of,
)
from qdrant_dr.cluster.snapshots import (
    create_snapshot,
    delete_command,
    delete_own_snapshot,
    list_snapshots,
    listed_as,
    new_snapshots,
    same_file,
)
from qdrant_dr.cluster.space import estimated_bytes
from qdrant_dr.cluster.split_archive import ShardSplitter
from qdrant_dr.cluster.stream_completeness import check_shard_is_complete
from qdrant_dr.cluster.streamed_shards import stream_shard
from qdrant_dr.cluster.target import (
    TargetFacts,
    clean_failed,
    create_payload_indexes,
    create_target,
    holders,
    target_facts,
)
from qdrant_dr.cluster.topology import (
    ClusterView,
    JointPlacement,
    cluster_view,
    joint,
    node_map,
    one_cluster,
)
from qdrant_dr.cluster.upload import upload_name

__all__ = [
    "DRILL_PREFIX",
    "INSTANCE",
    "AliasPlan",
    "CapturePlan",
    "ClockOffset",
    "ClusterView",
    "CollectionFacts",
    "Inventory",
    "JointPlacement",
    "KeyOrder",
    "Node",
    "NodeFacts",
    "PeerShards",
    "Placement",
    "Preflight",
    "Priority",
    "RawPoint",
    "ReadOnlyProbe",
    "ShardKey",
    "ShardSplitter",
    "ShardState",
    "SnapshotScope",
    "TargetFacts",
    "Unreached",
    "Unreadable",
    "aliases_of",
    "another_life",
    "another_uuid",
    "blocks_of",
    "check_gates",
    "check_shard_is_complete",
    "checksum_doubts",
    "choose_replicas",
    "clean_failed",
    "clock_of",
    "cluster_view",
    "collection_facts",
    "collection_names",
    "create_payload_indexes",
    "create_snapshot",
    "create_target",
    "creation_body",
    "delete_command",
    "delete_own_snapshot",
    "differences",
    "download",
    "drop_target",
    "estimated_bytes",
    "facts_after",
    "holders",
    "incarnation",
    "inventory_of",
    "joint",
    "key_piece",
    "leftovers",
    "list_nodes",
    "list_snapshots",
    "listed_as",
    "moved_elsewhere",
    "new_snapshots",
    "node_at",
    "node_facts",
    "node_map",
    "one_cluster",
    "open_nodes",
    "placement",
    "plan_aliases",
    "points_by_id",
    "preflight",
    "probe_read_only",
    "read_object",
    "recover_by_upload",
    "recover_from",
    "recover_shard_by_upload",
    "same_file",
    "sample_points",
    "scroll_points",
    "server_snapshots",
    "set_aliases",
    "shard_key_order",
    "stamp_of",
    "stream_shard",
    "take_inventory",
    "target_facts",
    "upload_name",
    "wait_ready",
    "wait_restored",
]
