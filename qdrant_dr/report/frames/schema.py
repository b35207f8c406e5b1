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
                "what was backed up: a real server, or the sandbox of the demo",
            ),
            *columns,
        ),
    )


NEXT_STEP = "what to run next, or what a person decides or does"

COLLECTIONS = _frame(
    "collections",
    "each collection that was seen, expected, excluded or backed up",
    ("collection",),
    Column("collection", TEXT, "", "name on the cluster"),
    Column(
        "status",
        STATUSES,
        "",
        "strictest of: a backup exists, it is proven, every promise about it holds",
    ),
    Column("exclusion_reason", TEXT, "", "why it is not protected, as configured"),
    Column("owner", TEXT, "", "as configured"),
    Column("criticality", ("low", "normal", "high"), "", "as configured"),
    Column("newest_backup_id", TEXT, "", "newest backup, proven or not"),
    Column("newest_captured_at", TIME, "", "when that backup was captured"),
    Column("newest_proven_at", TIME, "", "when the newest proven backup was last proven"),
    Column(
        "proven_depth",
        DEPTHS,
        "",
        "of the newest proven backup: its deepest young proof",
    ),
    Column("rpo_seconds", NUMBER, "s", "as_of minus capture time of the newest proven backup"),
    Column("rpo_objective_seconds", NUMBER, "s", "as configured"),
    Column(
        "rto_seconds",
        NUMBER,
        "s",
        "decision to verified, of the newest passed drill or proven restore on a real server",
    ),
    Column("rto_objective_seconds", NUMBER, "s", "as configured"),
    Column("rto_measured_at", TIME, "", "when that began"),
    Column("rto_from", ("drill", "restore"), "", "what measured it: a test, or a restore for real"),
    Column(
        "copies_proven_count",
        COUNT,
        "copies",
        "copies of the newest proven backup with a full proof of bytes and no open failure",
    ),
    Column("domains_proven_count", COUNT, "domains", "failure domains that those copies lie in"),
    Column(
        "next_command",
        TEXT,
        "",
        "what to run next, or what a person decides or does; missing when nothing is wanted",
    ),
)

RUNS = _frame(
    "runs",
    "each run that began in the period, crashed ones too",
    ("run_id",),
    Column("run_id", TEXT, "", "name of the run"),
    Column("kind", TEXT, "", "backup, replicate, verify, drill, restore, report, sign, ..."),
    Column("trigger", TEXT, "", "schedule, manual, automation or cli"),
    Column("actor", TEXT, "", "who or what started it"),
    Column("scheduled_for", TIME, "", "when it should have begun"),
    Column("started_at", TIME, "", "when it began"),
    Column("ended_at", TIME, "", "when it wrote its end; missing while it runs or if it crashed"),
    Column("verdict", ("ok", "degraded", "failed"), "", "of the run; missing while it runs"),
    Column("units_count", COUNT, "units", "pieces of work it reported on"),
    Column("units_failed_count", COUNT, "units", "those that failed"),
    Column("error_code", TEXT, "", "error that ended it; `no-end` = it crashed"),
    Column("copies_bad_count", COUNT, "copies", "copies that it named bad or left behind"),
    Column("copies_healed_count", COUNT, "copies", "those of them that were healed since"),
    Column("healed_by", TEXT, "", "runs that healed them, the first for each copy"),
    Column("healed_at", TIME, "", "when the last of them was healed; missing until all are"),
    Column(
        "settled_by",
        TEXT,
        "",
        "the later run that made up for it; missing while nothing did, or nothing had to",
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
    Column("captured_at", TIME, "", "before the first create call: recovery points count from it"),
    Column("committed_at", TIME, "", "when all bytes were durable and the manifest was written"),
    Column("method", ("collection", "shard", "stream", "full"), "", "how it was captured"),
    Column(
        "consistency",
        ("in-motion", "quiesced"),
        "",
        "whether writes went on meanwhile; missing until sealed",
    ),
    Column(
        "seal_reference",
        ("self", "source"),
        "",
        "`source`: compared with the live collection; `self`: copies equal each other only",
    ),
    Column("points_count", COUNT, "points", "exact count the engine read; missing until sealed"),
    Column("parts_count", COUNT, "parts", "stored objects with data"),
    Column("nodes_count", COUNT, "nodes", "nodes that they came from"),
    Column(
        "skew_seconds",
        NUMBER,
        "s",
        "how far apart the parts may be: first create call to last answer; missing for one part",
    ),
    Column("size_bytes", COUNT, "B", "bytes of all parts"),
    Column("capture_seconds", NUMBER, "s", "first create call to last answer"),
    Column("transfer_seconds", NUMBER, "s", "last answer to all bytes durable"),
    Column("throughput_bytes_per_second", NUMBER, "B/s", "size over transfer time"),
    Column("fingerprint", TEXT, "", "SHA-256 of the sealed fingerprint of all points"),
    Column("manifest_sha256", TEXT, "", "SHA-256 of `manifest.json` as stored"),
    Column("server_version", TEXT, "", "of the server that made it"),
)

COPIES = _frame(
    "copies",
    "each backup in each configured repository, absent copies too",
    ("backup_id", "collection", "repository"),
    Column("backup_id", TEXT, "", "which backup"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("repository", TEXT, "", "name in the configuration"),
    Column("domain", TEXT, "", "failure domain of the repository"),
    Column(
        "state",
        ("present", "behind", "archived", "damaged", "missing", "expired", "unreachable"),
        "",
        "`behind`: a record of it is lacking; `missing`: nothing of it is there; "
        "`archived`: whole, and not readable before it is brought back from an archive; "
        "`expired`: a retention run of ours deleted it; "
        "`damaged`: an object is lost or of another size, or a failed proof is open",
    ),
    Column("storage", TEXT, "", "classes or tiers of its objects, as the store calls them"),
    Column(
        "stored_bytes",
        COUNT,
        "B",
        "bytes that lie there, records included; missing if it could not be asked",
    ),
    Column("deepest_proof", DEPTHS, "", "depth of the best passed proof at this location"),
    Column("proven_at", TIME, "", "when that proof ended"),
    Column("bytes_checked_ratio", NUMBER, "1", "share of the bytes that proof read"),
    Column(
        "detection_probability",
        NUMBER,
        "1",
        "chance that it would have seen one damaged block: 1 for a full proof, less for a sample",
    ),
    Column("searched_at", TIME, "", "when searches on the restored index were last tried"),
    Column("recall", NUMBER, "1", "mean share of the exact answers that they found"),
    Column("recall_lowest", NUMBER, "1", "that of the worst search"),
    Column("search_p95_seconds", NUMBER, "s", "95 of 100 took no longer, where it was proven"),
    Column("filters_count", COUNT, "filters", "payload indexes compared with unindexed counts"),
)

DRILLS = _frame(
    "drills",
    "each test restore that began in the period, failed and refused ones too",
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
    Column("backup_age_seconds", NUMBER, "s", "drill begin minus capture time"),
    Column("points_expected_count", COUNT, "points", "by the seal"),
    Column("points_restored_count", COUNT, "points", "counted in the target"),
    Column("size_bytes", COUNT, "B", "bytes of the backup"),
    Column("fingerprint_equal", FLAG, "", "every id, payload and vector equals the seal"),
    Column("rto_met", FLAG, "", "missing unless a recovery time was measured"),
    Column("restore_seconds", NUMBER, "s", "recover and ready, on a server or the sandbox"),
    Column("readback_seconds", NUMBER, "s", "all of an engine drill: never a recovery time"),
    Column("rto_seconds", NUMBER, "s", "decision to verified, passed drills on real servers only"),
    Column("rto_objective_seconds", NUMBER, "s", "as configured"),
    Column("scenario", TEXT, "", "what counted as lost and was not used; missing for nothing"),
    Column(
        "rpo_met",
        FLAG,
        "",
        "the recovery point would have been kept under the scenario; missing without one, or if "
        "the drill did not pass",
    ),
    Column(
        "rpo_seconds",
        NUMBER,
        "s",
        "age of the newest backup that was proven in what the scenario left; missing if none was",
    ),
    Column("rpo_objective_seconds", NUMBER, "s", "as configured; missing without a scenario"),
    Column("copies_left_count", COUNT, "copies", "of that backup, that count for the quorum"),
    Column("domains_left_count", COUNT, "domains", "failure domains that those copies lie in"),
    Column("ran_by", TEXT, "", "name given for who ran it, else the account"),
    Column("reviewed_by", TEXT, "", "who signed the run; missing until somebody does"),
    Column("reviewed_at", TIME, "", "when that was"),
    Column("accepted", FLAG, "", "by the reviewer, and what was signed is what lies here"),
    Column("same_person", FLAG, "", "the two are one; missing until somebody signs"),
    Column("isolation_declared", TEXT, "", "quoted as declared in the configuration"),
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
    "each restore for real that began in the period, failed and refused ones too",
    ("restore_id",),
    Column("restore_id", TEXT, "", "name of the restore"),
    Column("backup_id", TEXT, "", "which backup"),
    Column("collection", TEXT, "", "name of the collection that was backed up"),
    Column("name", TEXT, "", "name on the target"),
    Column("target", TEXT, "", "URL of the server restored into"),
    Column("target_kind", ("sandbox", "server"), "", "what the target is"),
    Column("server_version", TEXT, "", "of the target"),
    Column("repositories", TEXT, "", "where bytes were read from, in order"),
    Column("route", ("salvage", "shards", "whole"), "", "point by point, by shard, or as it was"),
    Column("way", ("upload", "url", "server-file"), "", "how the bytes reached the target"),
    Column(
        "verdict",
        ("failed", "not run", "partial", "passed"),
        "",
        "passed only with an equal fingerprint and every point; `partial`: less than that",
    ),
    Column("resumed", FLAG, "", "taken up again after it was interrupted"),
    Column("started_at", TIME, "", "when it began"),
    Column("ended_at", TIME, "", "when it ended"),
    Column("restore_seconds", NUMBER, "s", "all its phases together"),
    Column(
        "rto_seconds",
        NUMBER,
        "s",
        "all of it, where it measures a recovery time: passed, at one go, on a real server, "
        "no salvage",
    ),
    Column("size_bytes", COUNT, "B", "bytes of the backup"),
    Column("sent_bytes", COUNT, "B", "bytes that passed through our process"),
    Column("points_expected_count", COUNT, "points", "by the seal"),
    Column("points_restored_count", COUNT, "points", "counted in the target"),
    Column("points_lost_count", COUNT, "points", "expected and not there"),
    Column("fingerprint_equal", FLAG, "", "every id, payload and vector equals the seal"),
    Column("aliases_set", TEXT, "", "that point to it now"),
    Column("aliases_left", TEXT, "", "of the backup that were left alone"),
    Column("requester", TEXT, "", "who or what started the run"),
    Column("approved_by", TEXT, "", "who let it go on; missing where nobody was asked"),
    Column("same_person", FLAG, "", "the two are one; missing where nobody was asked"),
    Column("ticket", TEXT, "", "as given"),
    Column("error_code", TEXT, "", "why it failed or did not run"),
)

SIZES = _frame(
    "sizes",
    "the last size of each day (UTC) that something was measured on",
    ("kind", "subject", "day"),
    Column(
        "kind",
        ("collection", "node", "repository"),
        "",
        "`collection`: a backup; `node`: the largest file a node made for it, where "
        "`cluster.node_space` is configured; `repository`: all that lies there",
    ),
    Column("subject", TEXT, "", "name of the collection or repository"),
    Column("day", TIME, "", "midnight at its begin"),
    Column("measured_at", TIME, "", "when it was captured; for a repository, stored"),
    Column("backup_id", TEXT, "", "which backup; missing for a repository"),
    Column("size_bytes", COUNT, "B", "what was measured"),
)

FORECASTS = _frame(
    "forecasts",
    "each kind and subject of `sizes`, and the straight line through it",
    ("kind", "subject"),
    Column("kind", ("collection", "node", "repository"), "", "as in `sizes`"),
    Column("subject", TEXT, "", "name of the collection or repository"),
    Column("measured_count", COUNT, "days", "days with a size"),
    Column("since", TIME, "", "first size"),
    Column("size_bytes", COUNT, "B", "last size"),
    Column("growth_bytes_per_day", NUMBER, "B/d", "slope of the line"),
    Column("growth_low", NUMBER, "B/d", "its 95 % confidence interval"),
    Column("growth_high", NUMBER, "B/d", "its 95 % confidence interval"),
    Column("expected_bytes", NUMBER, "B", "on the line, 30 days after `as_of`"),
    Column("expected_low", NUMBER, "B", "95 % prediction interval"),
    Column("expected_high", NUMBER, "B", "95 % prediction interval"),
    Column("limit_name", TEXT, "", "setting that limits it; missing where none does"),
    Column("limit_bytes", COUNT, "B", "that limit"),
    Column("days_left", NUMBER, "d", "until the line reaches it; missing if not in ten years"),
    Column("days_left_low", NUMBER, "d", "until the upper bound of the prediction reaches it"),
    Column("days_left_high", NUMBER, "d", "until its lower bound reaches it"),
    Column("not_measured", TEXT, "", "why there is no line: too few days, too close together"),
)

FINDINGS = _frame(
    "findings",
    "each thing that is wrong or wants a look, worst first",
    ("code", "scope"),
    Column("severity", SEVERITIES, "", "critical: a promise is broken or could not be checked"),
    Column("code", TEXT, "", "which kind; with the scope it stays the same from look to look"),
    Column("scope", TEXT, "", "the collection, backup, copy, repository or run concerned"),
    Column("what", TEXT, "", "what is wrong"),
    Column("since", TIME, "", "since when, as far as records tell"),
    Column("blast_radius", TEXT, "", "how much is affected"),
    Column("next_command", TEXT, "", NEXT_STEP),
    Column(
        "facts", TEXT, "", "tell this instance from the next; what an acknowledgement is bound to"
    ),
    Column("acknowledged_by", TEXT, "", "who knows of it; missing where nobody said so"),
    Column("acknowledged_at", TIME, "", "when that was"),
    Column("acknowledged_reason", TEXT, "", "why it may stand"),
    Column("acknowledged_until", TIME, "", "until when; missing: for as long as it is the same"),
    Column("severity_unacknowledged", SEVERITIES, "", "how bad it is, whoever knows of it"),
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
    """All frames, for `qdrant-dr schema frames`."""
    return {"format": 1, "frames": [f.to_json() for f in FRAMES]}


def frames_markdown() -> str:
    """The page `docs/frames.md`, generated."""
    lines = [
        "# Frames",
        "",
        "Generated from `qdrant_dr/report/frames/schema.py`; a test keeps it in step.",
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
        lines += ["", f"## {frame.name}", "", f"A row is {frame.row}. Key: {key}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [f"| {c.name} | {c.type_name} | {c.unit} | {c.meaning} |" for c in frame.columns]
    return "\n".join(lines) + "\n"
