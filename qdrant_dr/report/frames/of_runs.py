"""Frames about what was done, and what is wrong: runs, drills, restores, findings."""

from __future__ import annotations

from typing import Final

from qdrant_dr.report.frames.columns import COUNT, FLAG, NUMBER, TEXT, TIME, Column, frame

SEVERITIES: Final = ("notice", "warning", "critical")


SIGNATURES: Final = ("typed", "invalid", "unknown", "signed")


PHASES: Final = ("pick", "fetch", "start", "recover", "ready", "prove", "read back", "tear down")


NEXT_STEP = "the command to run next, or what a person must decide or do"


RUNS = frame(
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
    Column(
        "ledger_number",
        TEXT,
        "",
        "the ledger entries that name its end, by repository: `aws 42, gcp 17`; missing if none "
        "does",
    ),
    Column(
        "signed_by",
        TEXT,
        "",
        "who signed those entries: names by `signing.allowed_signers`, fingerprints of "
        "keys that it does not know; missing if none is signed, or if its end was merely found and "
        "nobody knew of the run",
    ),
)


DRILLS = frame(
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
    Column("points_expected_count", COUNT, "points", "by the seal; of single points: selected"),
    Column("points_restored_count", COUNT, "points", "counted in the target, or proven there"),
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
    Column(
        "review_signature",
        SIGNATURES,
        "",
        "of the reviewer: `typed`: a name and no signature; `invalid`: not of this record; "
        "`unknown`: of a key that `signing.allowed_signers` does not name; `signed`: of one that "
        "it names; missing until somebody signs",
    ),
    Column("review_key", TEXT, "", "who that key is of, else its fingerprint"),
    Column("isolation_declared", TEXT, "", "isolation as declared in the configuration"),
    Column("teardown", TEXT, "", "what became of the target"),
    Column("error_code", TEXT, "", "why it failed or did not run"),
)


DRILL_PHASES = frame(
    "drill_phases",
    "each measured phase of each drill",
    ("drill_id", "phase"),
    Column("drill_id", TEXT, "", "which drill"),
    Column("phase", PHASES, "", "in order of time"),
    Column("started_at", TIME, "", "when it began"),
    Column("duration_seconds", NUMBER, "s", "measured by a monotonic clock"),
    Column("size_bytes", COUNT, "B", "bytes it moved"),
)


RESTORES = frame(
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
    Column(
        "route",
        ("points", "salvage", "shards", "whole"),
        "",
        "single points alone, point by point, by shard, or as one archive",
    ),
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
    Column(
        "approval_signature",
        SIGNATURES,
        "",
        "of who approved it, given afterwards by `sign`; values as of `drills.review_signature`; "
        "missing without approval",
    ),
    Column("approval_key", TEXT, "", "who that key is of, else its fingerprint"),
    Column("ticket", TEXT, "", "ticket as given"),
    Column("error_code", TEXT, "", "why it failed or did not run"),
)


FINDINGS = frame(
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
