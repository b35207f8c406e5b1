"""The frames: every column with its type, unit and meaning, and the key of each frame.

Empty and full frames have the same types, in pandas, in Parquet and in `docs/frames.md`. A missing
value means *not measured*; it never stands for zero.
"""

from __future__ import annotations

from typing import Any, Final

from qdrant_dr.records.proof import DEPTHS
from qdrant_dr.report.frames.columns import COUNT, FLAG, NUMBER, TEXT, TIME, Column, FrameSchema

SEVERITIES: Final = ("notice", "warning", "critical")
STATUSES: Final = ("protected", "degraded", "unproven", "unprotected", "excluded", "gone")
PHASES: Final = ("pick", "fetch", "start", "recover", "ready", "prove", "read back", "tear down")


def _frame(name: str, row: str, key: tuple[str, ...], *columns: Column) -> FrameSchema:
    return FrameSchema(
        name,
        row,
        key,
        (
            Column("cluster", TEXT, "", "name of the cluster in the configuration"),
            Column(
                "source_kind",
                ("sandbox", "server"),
                "",
                "what was backed up: a real server, or the demo's sandbox",
            ),
            *columns,
        ),
    )


NEXT_STEP = "the command to run next, or what a person must decide or do"

COLLECTIONS = _frame(
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

RUNS = _frame(
    "runs",
    "each run that began in the period, including crashed ones",
    ("run_id",),
    Column("run_id", TEXT, "", "name of the run"),
    Column("kind", TEXT, "", "backup, replicate, verify, drill, restore, report, sign, ..."),
    Column("trigger", TEXT, "", "schedule, manual, automation or cli"),
    Column("actor", TEXT, "", "who or what started it"),
    Column("scheduled_for", TIME, "", "when it should have begun"),
    Column("started_at", TIME, "", "when it began"),
    Column("ended_at", TIME, "", "when it wrote its end; missing while it runs, or if it crashed"),
    Column("verdict", ("ok", "degraded", "failed"), "", "of the run; missing while it runs"),
    Column("units_count", COUNT, "units", "pieces of work it reported on"),
    Column("units_failed_count", COUNT, "units", "those that failed"),
    Column("error_code", TEXT, "", "error that ended it; `no-end` = it crashed"),
    Column("copies_bad_count", COUNT, "copies", "copies that it called bad or could not write"),
    Column("copies_healed_count", COUNT, "copies", "those of them that have been healed since"),
    Column("healed_by", TEXT, "", "runs that healed them, the first for each copy"),
    Column("healed_at", TIME, "", "when the last of them was healed; missing until all are"),
    Column(
        "settled_by",
        TEXT,
        "",
        "the later run that settled it; missing while none has, or if none is needed",
    ),
    Column("settled_at", TIME, "", "when that run ended"),
    Column("config_sha256", TEXT, "", "digest of the configuration it ran with"),
    Column("tool_version", TEXT, "", "version of qdrant-dr"),
)

BACKUPS = _frame(
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

COPIES = _frame(
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
        "stored_bytes",
        COUNT,
        "B",
        "bytes stored there, including records; missing if the store could not be asked",
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
)

DRILLS = _frame(
    "drills",
    "each drill that began in the period, including failed and refused ones",
    ("drill_id",),
    Column("drill_id", TEXT, "", "name of the drill"),
    Column("backup_id", TEXT, "", "which backup; missing if none was picked"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("repository", TEXT, "", "where the bytes came from"),
    Column("server_version", TEXT, "", "of the target"),
    Column("engine", ("edge", "server"), "", "read back by the engine, or restored into a server"),
    Column("pick", TEXT, "", "how the backup was chosen"),
    Column("verdict", ("failed", "not run", "passed"), "", "passed only with an equal fingerprint"),
    Column("seed", COUNT, "", "seed of a random pick"),
    Column("backup_age_seconds", NUMBER, "s", "start of the drill minus capture time"),
    Column("points_expected_count", COUNT, "points", "by the seal"),
    Column("points_restored_count", COUNT, "points", "counted in the target"),
    Column("size_bytes", COUNT, "B", "bytes of the backup"),
    Column("fingerprint_equal", FLAG, "", "every id, payload and vector equals the seal"),
    Column("rto_met", FLAG, "", "missing unless a recovery time was measured"),
    Column("restore_seconds", NUMBER, "s", "recover and ready, on a server or the sandbox"),
    Column("readback_seconds", NUMBER, "s", "total time of an engine drill: never a recovery time"),
    Column("rto_seconds", NUMBER, "s", "decision to verified; passed drills on real servers only"),
    Column("rto_objective_seconds", NUMBER, "s", "as configured"),
    Column("scenario", TEXT, "", "what counted as lost and was not used; missing if nothing did"),
    Column(
        "rpo_met",
        FLAG,
        "",
        "the recovery point objective was met under the scenario; missing without a scenario, or "
        "if "
        "the drill did not pass",
    ),
    Column(
        "rpo_seconds",
        NUMBER,
        "s",
        "age of the newest proven backup in what the scenario left; missing if there was none",
    ),
    Column("rpo_objective_seconds", NUMBER, "s", "as configured; missing without a scenario"),
    Column("copies_left_count", COUNT, "copies", "copies of that backup that count for the quorum"),
    Column("domains_left_count", COUNT, "domains", "failure domains of those copies"),
    Column("ran_by", TEXT, "", "who ran it: the given name, else the account"),
    Column("reviewed_by", TEXT, "", "who signed the run; missing until somebody does"),
    Column("reviewed_at", TIME, "", "when the run was signed"),
    Column("accepted", FLAG, "", "the reviewer accepted it, and signed the record found here"),
    Column("same_person", FLAG, "", "the same person ran and signed it; missing until signed"),
    Column("isolation_declared", TEXT, "", "isolation as declared in the configuration"),
    Column("teardown", TEXT, "", "what became of the target"),
    Column("error_code", TEXT, "", "why it failed or did not run"),
)

DRILL_PHASES = _frame(
    "drill_phases",
    "each measured phase of each drill",
    ("drill_id", "phase"),
    Column("drill_id", TEXT, "", "which drill"),
    Column("phase", PHASES, "", "in order of time"),
    Column("started_at", TIME, "", "when it began"),
    Column("duration_seconds", NUMBER, "s", "measured by a monotonic clock"),
    Column("size_bytes", COUNT, "B", "bytes it moved"),
)

RESTORES = _frame(
    "restores",
    "each real restore that began in the period, including failed and refused ones",
    ("restore_id",),
    Column("restore_id", TEXT, "", "name of the restore"),
    Column("backup_id", TEXT, "", "which backup"),
    Column("collection", TEXT, "", "name of the collection that was backed up"),
    Column("name", TEXT, "", "name on the target"),
    Column("target", TEXT, "", "URL of the server restored into"),
    Column("target_kind", ("sandbox", "server"), "", "what the target is"),
    Column("server_version", TEXT, "", "of the target"),
    Column("repositories", TEXT, "", "where bytes were read from, in order"),
    Column("route", ("salvage", "shards", "whole"), "", "by point, by shard, or as one archive"),
    Column("way", ("upload", "url", "server-file"), "", "how the bytes reached the target"),
    Column(
        "verdict",
        ("failed", "not run", "partial", "passed"),
        "",
        "passed only with an equal fingerprint and every point; `partial`: less than that",
    ),
    Column("resumed", FLAG, "", "continued after an interruption"),
    Column("started_at", TIME, "", "when it began"),
    Column("ended_at", TIME, "", "when it ended"),
    Column("restore_seconds", NUMBER, "s", "total time of its phases"),
    Column(
        "rto_seconds",
        NUMBER,
        "s",
        "total time if it is a recovery time: passed, uninterrupted, on a real server, no salvage",
    ),
    Column("size_bytes", COUNT, "B", "bytes of the backup"),
    Column("sent_bytes", COUNT, "B", "bytes that passed through our process"),
    Column("points_expected_count", COUNT, "points", "by the seal"),
    Column("points_restored_count", COUNT, "points", "counted in the target"),
    Column("points_lost_count", COUNT, "points", "points expected but missing"),
    Column("fingerprint_equal", FLAG, "", "every id, payload and vector equals the seal"),
    Column("aliases_set", TEXT, "", "aliases that now point to it"),
    Column("aliases_left", TEXT, "", "aliases of the backup that were not set"),
    Column("requester", TEXT, "", "who or what started the run"),
    Column("approved_by", TEXT, "", "who approved it; missing if no approval was requested"),
    Column("same_person", FLAG, "", "requester and approver are one; missing without approval"),
    Column("ticket", TEXT, "", "ticket as given"),
    Column("error_code", TEXT, "", "why it failed or did not run"),
)

SIZES = _frame(
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

FORECASTS = _frame(
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

FINDINGS = _frame(
    "findings",
    "each finding, worst first",
    ("code", "scope"),
    Column("severity", SEVERITIES, "", "critical: an objective is missed or could not be checked"),
    Column("code", TEXT, "", "kind of finding; code and scope identify it from report to report"),
    Column("scope", TEXT, "", "the collection, backup, copy, repository or run concerned"),
    Column("what", TEXT, "", "what is wrong"),
    Column("since", TIME, "", "since when, as far as records tell"),
    Column("blast_radius", TEXT, "", "how much is affected"),
    Column("next_command", TEXT, "", NEXT_STEP),
    Column(
        "facts", TEXT, "", "distinguish this instance from the next; an acknowledgement covers one"
    ),
    Column("acknowledged_by", TEXT, "", "who acknowledged it; missing if nobody did"),
    Column("acknowledged_at", TIME, "", "when it was acknowledged"),
    Column("acknowledged_reason", TEXT, "", "the reason that was given"),
    Column("acknowledged_until", TIME, "", "until when; missing: until the finding changes"),
    Column("severity_unacknowledged", SEVERITIES, "", "severity without the acknowledgement"),
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
)


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
    ]
    for frame in FRAMES:
        key = ", ".join(f"`{k}`" for k in frame.key)
        lines += ["", f"## {frame.name}", "", f"One row for {frame.row}. Key: {key}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [f"| {c.name} | {c.type_name} | {c.unit} | {c.meaning} |" for c in frame.columns]
    return "\n".join(lines) + "\n"
