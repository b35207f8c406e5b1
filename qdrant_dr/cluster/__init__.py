"""Everything said to Qdrant: inventory, facts, gates, snapshots, downloads, drill targets."""

from qdrant_dr.cluster.access import ReadOnlyProbe, probe_read_only
from qdrant_dr.cluster.download import download
from qdrant_dr.cluster.facts import CollectionFacts, ShardState, collection_facts
from qdrant_dr.cluster.gates import Preflight, check_gates, preflight
from qdrant_dr.cluster.incarnation import another_life, incarnation
from qdrant_dr.cluster.inventory import (
    ClockOffset,
    Inventory,
    NodeFacts,
    Unreadable,
    inventory_of,
    node_facts,
    take_inventory,
)
from qdrant_dr.cluster.node import Node, open_nodes
from qdrant_dr.cluster.recover import (
    DRILL_PREFIX,
    collection_names,
    drop_target,
    leftovers,
    recover_by_upload,
    wait_ready,
)
from qdrant_dr.cluster.scroll import RawPoint, points_by_id, sample_points, scroll_points
from qdrant_dr.cluster.snapshots import (
    create_snapshot,
    delete_command,
    delete_own_snapshot,
    list_snapshots,
    new_snapshots,
)
from qdrant_dr.cluster.space import estimated_bytes

__all__ = [
    "DRILL_PREFIX",
    "ClockOffset",
    "CollectionFacts",
    "Inventory",
    "Node",
    "NodeFacts",
    "Preflight",
    "RawPoint",
    "ReadOnlyProbe",
    "ShardState",
    "Unreadable",
    "another_life",
    "check_gates",
    "collection_facts",
    "collection_names",
    "create_snapshot",
    "delete_command",
    "delete_own_snapshot",
    "download",
    "drop_target",
    "estimated_bytes",
    "incarnation",
    "inventory_of",
    "leftovers",
    "list_snapshots",
    "new_snapshots",
    "node_facts",
    "open_nodes",
    "points_by_id",
    "preflight",
    "probe_read_only",
    "recover_by_upload",
    "sample_points",
    "scroll_points",
    "take_inventory",
    "wait_ready",
]
