"""The frames: every column with its type, unit and meaning, and the key of each frame.

Empty and full frames have the same types, in pandas, in Parquet and in `docs/frames.md`. A missing
value means *not measured*; it never stands for zero.
"""

from __future__ import annotations

from typing import Any, Final

from qdrant_dr.records.proof import DEPTHS
from qdrant_dr.report.frames.columns import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    TIME,
    Column,
    FrameSchema,
    frame,
)
from qdrant_dr.report.frames.of_evidence import CONTROLS, LEDGER
from qdrant_dr.report.frames.of_runs import DRILL_PHASES, DRILLS, FINDINGS, RESTORES, RUNS

STATUSES: Final = ("protected", "degraded", "unproven", "unprotected", "excluded", "gone")


COLLECTIONS = frame(
    "collections",
    "each collection that was seen, expected, excluded or backed up",
    ("collection",),
    Column("collection", TEXT, "", "name on the cluster"),
    Column(
        "status",
        STATUSES,
        "",
        "the strictest that applies: a backup exists, it is proven, every objective is met",
    ),
    Column("exclusion_reason", TEXT, "", "why the configuration excludes it"),
    Column("owner", TEXT, "", "as configured"),
    Column("criticality", ("low", "normal", "high"), "", "as configured"),
    Column("newest_backup_id", TEXT, "", "newest backup, proven or not"),
    Column("newest_captured_at", TIME, "", "when that backup was captured"),
    Column("newest_proven_at", TIME, "", "when the newest proven backup was last proven"),
    Column(
        "proven_depth",
        DEPTHS,
        "",
        "depth of the deepest recent proof of the newest proven backup",
    ),
    Column("rpo_seconds", NUMBER, "s", "as_of minus capture time of the newest proven backup"),
    Column("rpo_objective_seconds", NUMBER, "s", "as configured"),
    Column(
        "rto_seconds",
        NUMBER,
        "s",
        "from decision to verified, in the newest passed drill or proven restore on a real server",
    ),
    Column("rto_objective_seconds", NUMBER, "s", "as configured"),
    Column("rto_measured_at", TIME, "", "when that drill or restore began"),
    Column("rto_from", ("drill", "restore"), "", "what measured it: a drill or a real restore"),
    Column(
        "copies_proven_count",
        COUNT,
        "copies",
        "copies of the newest proven backup with a full proof of bytes and no open failure",
    ),
    Column("domains_proven_count", COUNT, "domains", "failure domains of those copies"),
    Column(
        "next_command",
        TEXT,
        "",
        "the command to run next, or what a person must decide or do; missing if nothing is needed",
    ),
)


BACKUPS = frame(
    "backups",
    "each backup with a manifest in a reachable repository",
    ("backup_id", "collection"),
    Column("backup_id", TEXT, "", "sorts by time"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("captured_at", TIME, "", "before the first create call; recovery points count from it"),
    Column("committed_at", TIME, "", "when all bytes were durable and the manifest was written"),
    Column("method", ("collection", "shard", "stream", "full"), "", "how it was captured"),
    Column(
        "consistency",
        ("in-motion", "quiesced"),
        "",
        "whether writes continued during the capture; missing until sealed",
    ),
    Column(
        "seal_reference",
        ("self", "source"),
        "",
        "`source`: compared with the live collection; `self`: copies only compared with each other",
    ),
    Column("points_count", COUNT, "points", "exact count read by the engine; missing until sealed"),
    Column("parts_count", COUNT, "parts", "stored objects with data"),
    Column("nodes_count", COUNT, "nodes", "nodes that they came from"),
    Column(
        "skew_seconds",
        NUMBER,
        "s",
        "how far apart in time the parts may be: first create call to last answer; missing for "
        "one part",
    ),
    Column("size_bytes", COUNT, "B", "bytes of all parts"),
    Column("capture_seconds", NUMBER, "s", "from the first create call to the last answer"),
    Column("transfer_seconds", NUMBER, "s", "from the last answer until all bytes are durable"),
    Column("throughput_bytes_per_second", NUMBER, "B/s", "size over transfer time"),
    Column("fingerprint", TEXT, "", "SHA-256 of the sealed fingerprint of all points"),
    Column("manifest_sha256", TEXT, "", "SHA-256 of `manifest.json` as stored"),
    Column("server_version", TEXT, "", "of the server that made it"),
)

COPIES = frame(
    "copies",
    "each backup in each configured repository, including missing copies",
    ("backup_id", "collection", "repository"),
    Column("backup_id", TEXT, "", "which backup"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("repository", TEXT, "", "name in the configuration"),
    Column("domain", TEXT, "", "failure domain of the repository"),
    Column(
        "state",
        ("present", "behind", "archived", "damaged", "missing", "expired", "unreachable"),
        "",
        "`behind`: a record of it is missing; `missing`: nothing of it is there; "
        "`archived`: complete, but not readable until it is brought back from an archive; "
        "`expired`: one of our retention runs deleted it; "
        "`damaged`: an object is lost or has another size, or a failed proof is open",
    ),
    Column("storage", TEXT, "", "storage classes or tiers of its objects, as the store names them"),
    Column(
        "layout",
        ("plain", "chunked"),
        "",
        "how the repository stores it: as archives, or each block once; missing if it could not be "
        "read",
    ),
    Column(
        "stored_bytes",
        COUNT,
        "B",
        "bytes stored there, including records; of a chunked copy with the packs that were written "
        "for it, which is what it added; missing if the store could not be asked",
    ),
    Column(
        "shared_bytes",
        COUNT,
        "B",
        "bytes of blocks that it takes from packs of other backups; measured of the newest backup "
        "of each collection in a chunked repository, missing of all others",
    ),
    Column(
        "monthly_cost",
        NUMBER,
        "",
        "what `stored_bytes` cost there a month, in the currency of `price_per_gib_month`; missing "
        "without that price",
    ),
    Column("deepest_proof", DEPTHS, "", "depth of the best passed proof at this location"),
    Column("proven_at", TIME, "", "when that proof ended"),
    Column("bytes_checked_ratio", NUMBER, "1", "share of the bytes that the proof read"),
    Column(
        "detection_probability",
        NUMBER,
        "1",
        "chance of detecting one damaged block: 1 for a full proof, less for a sample",
    ),
    Column("searched_at", TIME, "", "when searches on the restored index were last tried"),
    Column("recall", NUMBER, "1", "mean share of the exact answers that the searches found"),
    Column("recall_lowest", NUMBER, "1", "that of the worst search"),
    Column("search_p95_seconds", NUMBER, "s", "95th percentile of search time, where proven"),
    Column("filters_count", COUNT, "filters", "payload indexes compared with unindexed counts"),
    Column(
        "encrypted",
        FLAG,
        "",
        "its repository is encrypted before anything is stored; missing if it could not be read",
    ),
    Column(
        "key_slots_count", COUNT, "slots", "slots that open that repository; missing without a key"
    ),
)


SIZES = frame(
    "sizes",
    "the last size measured on each day (UTC)",
    ("kind", "subject", "day"),
    Column(
        "kind",
        ("collection", "node", "repository"),
        "",
        "`collection`: a backup; `node`: the largest file a node made for it, where "
        "`cluster.node_space` is configured; `repository`: all bytes stored there",
    ),
    Column("subject", TEXT, "", "name of the collection or repository"),
    Column("day", TIME, "", "midnight at the start of the day"),
    Column("measured_at", TIME, "", "when it was captured; for a repository, stored"),
    Column("backup_id", TEXT, "", "which backup; missing for a repository"),
    Column("size_bytes", COUNT, "B", "what was measured"),
)

FORECASTS = frame(
    "forecasts",
    "each kind and subject of `sizes`, with the straight line through its sizes",
    ("kind", "subject"),
    Column("kind", ("collection", "node", "repository"), "", "as in `sizes`"),
    Column("subject", TEXT, "", "name of the collection or repository"),
    Column("measured_count", COUNT, "days", "days with a size"),
    Column("since", TIME, "", "first size"),
    Column("size_bytes", COUNT, "B", "last size"),
    Column("growth_bytes_per_day", NUMBER, "B/d", "slope of the line"),
    Column("growth_low", NUMBER, "B/d", "its 95 % confidence interval"),
    Column("growth_high", NUMBER, "B/d", "its 95 % confidence interval"),
    Column("expected_bytes", NUMBER, "B", "size on the line 30 days after `as_of`"),
    Column("expected_low", NUMBER, "B", "95 % prediction interval"),
    Column("expected_high", NUMBER, "B", "95 % prediction interval"),
    Column("limit_name", TEXT, "", "setting that limits it; missing if none does"),
    Column("limit_bytes", COUNT, "B", "that limit"),
    Column("days_left", NUMBER, "d", "until the line reaches it; missing if not within ten years"),
    Column("days_left_low", NUMBER, "d", "until the upper bound of the prediction reaches it"),
    Column("days_left_high", NUMBER, "d", "until the lower bound of the prediction reaches it"),
    Column("not_measured", TEXT, "", "why there is no line: too few days, or too close together"),
)


FRAMES: Final[tuple[FrameSchema, ...]] = (
    COLLECTIONS,
    RUNS,
    BACKUPS,
    COPIES,
    DRILLS,
    DRILL_PHASES,
    RESTORES,
    SIZES,
    FORECASTS,
    FINDINGS,
    LEDGER,
    CONTROLS,
)
BY_NAME: Final = {f.name: f for f in FRAMES}


def frames_json() -> dict[str, Any]:
    """Return all frames, for `qdrant-dr schema frames`."""
    return {"format": 1, "frames": [f.to_json() for f in FRAMES]}


def frames_markdown() -> str:
    """Generate the page `docs/frames.md`."""
    lines = [
        "# Frames",
        "",
        "Generated from `qdrant_dr/report/frames/schema.py`; a test keeps it up to date.",
        "A missing value means *not measured*, never zero. Times are UTC with microseconds.",
        "",
        "```python",
        "import qdrant_dr",
        "",
        'frames = qdrant_dr.open("qdrant-dr.yaml").frames(period_days=30)',
        'frames["findings"]',
        "```",
        "",
        "`qdrant-dr report --format parquet` writes each frame to a file of its name, with the",
        "unit and meaning of each column. `pandas.read_parquet` gives it back as it was: these",
        "types, the values of categories in this order, and `attrs` with the frame's name and",
        "`as_of`. Only the categories of a frame without rows are text unless `qdrant_dr.api`",
        "was imported: Parquet has no place for them.",
        "",
        "CSV is for spreadsheets and loses the types, the order of categories and `attrs`; text",
        "that a spreadsheet would run as a formula has an apostrophe in front. Compute with",
        "Parquet.",
    ]
    for each in FRAMES:
        key = ", ".join(f"`{k}`" for k in each.key)
        lines += ["", f"## {each.name}", "", f"One row for {each.row}. Key: {key}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [f"| {c.name} | {c.type_name} | {c.unit} | {c.meaning} |" for c in each.columns]
    return "\n".join(lines) + "\n"
