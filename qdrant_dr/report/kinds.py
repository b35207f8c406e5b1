"""Every kind of finding in one table: how bad it may be, who can see it, what hides it, where the
docs tell of it, and what is next.

A code that is raised and not here, or here and never raised, fails a test; so does one without its
line in docs/troubleshooting.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qdrant_dr.hints import BY_HAND, DECIDE
from qdrant_dr.records.details import Severity

Half = Literal["records", "cluster"]
"""What a watch reads: the records in the repositories, and the cluster as it answers."""

Seer = Literal["records", "cluster", "both", "stores"]
"""Who tells of it: `stores` and disks, by their room, their clock, and whether they answer."""

RECORDS, CLUSTER, RUNS, BACKUPS = "records", "cluster", "a run's record", "a backup's record"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    `severities` are those it may have, worst first. `hidden_by` is what keeps a later watch from
    seeing that it is over: a half that could not be read, a lost record, another finding (by its
    code). `chapter` is a heading of docs/troubleshooting.md. `next` are forms of the next command:
    words in capitals stand for names, a mark says that a person comes first.
    """

    severities: tuple[Severity, ...]
    chapter: str
    next: tuple[str, ...]
    seen_by: Seer = "records"
    hidden_by: tuple[str, ...] = (RECORDS,)


CRITICAL: tuple[Severity, ...] = ("critical",)
WARNING: tuple[Severity, ...] = ("warning",)
NOTICE: tuple[Severity, ...] = ("notice",)

MAKING, CONTENT, RESTORING = "making-a-snapshot", "what-is-in-it", "restoring"
AFTER, CLUSTERS, OURS = "after-a-restore", "clusters", "qdrant-dr-itself"

HEAL = (
    "qdrant-dr replicate BACKUP -r REPOSITORY",
    "qdrant-dr backup COLLECTION",
    f"{BY_HAND}bring it back, then run `qdrant-dr check -r REPOSITORY`.",
    f"{BY_HAND}`qdrant-dr show BACKUP` prints what brings it back from an archive.",
    (
        f"{DECIDE}keep it with `qdrant-dr acknowledge copy-damaged:BACKUP --reason WHY`, or read "
        "it with `qdrant-dr restore BACKUP --to TARGET --as NAME --salvage --allow-unproven`."
    ),
)
VOUCH = (
    (
        f"{DECIDE}is it yours? then `qdrant-dr replicate BACKUP --vouch`; if not, "
        "`qdrant-dr expire BACKUP --execute`, and change the keys."
    ),
)
CONFLICT = (
    f"{DECIDE}which of them is true: `qdrant-dr show BACKUP`.",
    (
        f"{DECIDE}two readings differ: `qdrant-dr show BACKUP --proofs`; back up again with "
        "`qdrant-dr backup COLLECTION`."
    ),
)
PROVE = ("qdrant-dr verify BACKUP --depth content", *HEAL, *VOUCH, *CONFLICT)
SIGN = (f"{DECIDE}who has looked at that run signs it: `qdrant-dr sign RUN --as NAME`.",)
GOOD_ENOUGH = (f"{DECIDE}is that good enough? `qdrant-dr show BACKUP --proofs`.",)
LOOK = ("qdrant-dr check --read-only",)
ANY_RUN = (
    "qdrant-dr backup", "qdrant-dr replicate", "qdrant-dr check", "qdrant-dr report",
    "qdrant-dr watch", "qdrant-dr verify BACKUP --all --depth content",
    "qdrant-dr drill --scenario lost-node",
    f"{DECIDE}is it wanted still? see `qdrant-dr restore --help`.",
    f"{DECIDE}is it wanted still? see `qdrant-dr startup-archive --help`.",
    (f"{DECIDE}is what `qdrant-dr expire BACKUP --collection COLLECTION -r REPOSITORY` says to go "
    "still to go? then run it with --execute."),
)  # fmt: skip
KEY = (
    f"{BY_HAND}`qdrant-dr signing init` makes a key; docs/evidence.md says how to replace one.",
    (
        f"{BY_HAND}`chmod 600 FILE`; if others could have read it, replace it: "
        "`qdrant-dr signing rotate --key FILE`."
    ),
    f"{BY_HAND}put the secret where `signing.key` says, then run `qdrant-dr check`.",
)
LEDGER = (
    "qdrant-dr evidence verify",
    (
        f"{BY_HAND}put the entries back from the versions that the bucket keeps, then run "
        "`qdrant-dr evidence verify`."
    ),
)
BACK_UP = ("qdrant-dr backup COLLECTION",)

KINDS: Mapping[str, Kind] = {
    # collections and their backups
    "no-backup": Kind(CRITICAL, MAKING, BACK_UP, "both", (RECORDS, CLUSTER)),
    "collection-missing": Kind(
        CRITICAL, OURS,
        ((f"{DECIDE}was that meant? if not, restore it with `qdrant-dr restore "
         "COLLECTION@latest-proven --to TARGET`; if it was, say so with "
         "`qdrant-dr acknowledge collection-missing:COLLECTION --reason WHY`."),),
        "both", (RECORDS, CLUSTER, RUNS),
    ),
    "none-proven": Kind(CRITICAL, OURS, PROVE),
    "newest-unproven": Kind(WARNING, OURS, PROVE, hidden_by=(RECORDS, BACKUPS)),
    "future-dated": Kind(
        WARNING, OURS, (f"{BY_HAND}synchronise that clock (`qdrant-dr check` compares them).",),
        hidden_by=(RECORDS, BACKUPS),
    ),
    "rpo-missed": Kind(CRITICAL, MAKING, BACK_UP),
    "captured-with-doubts": Kind(NOTICE, CONTENT, ("qdrant-dr show BACKUP",)),
    "source-index": Kind(NOTICE, CONTENT, ("qdrant-dr show BACKUP",)),
    "mixed-versions": Kind(
        WARNING, RESTORING,
        (f"{BY_HAND}give all nodes one version, then run `qdrant-dr backup COLLECTION`.",),
        hidden_by=(RECORDS, BACKUPS),
    ),
    "suspect": Kind(
        WARNING, CONTENT,
        ((f"{DECIDE}was that meant? if it was, accept it with `qdrant-dr acknowledge BACKUP "
         "--reason WHY`; if not, restore the one before: `qdrant-dr show BACKUP --proofs`."),),
        hidden_by=(RECORDS, BACKUPS),
    ),
    "drifted": Kind(
        WARNING, CONTENT,
        ((f"{DECIDE}is that its life? if so, say it with `qdrant-dr acknowledge drifted:COLLECTION "
         "--reason WHY`."),),
        hidden_by=(RECORDS, BACKUPS),
    ),
    "replicas-apart": Kind(
        WARNING, CLUSTERS, ("qdrant-dr check COLLECTION --replicas whole",),
        hidden_by=(RECORDS, RUNS),
    ),
    # copies
    "below-quorum": Kind(
        CRITICAL, OURS, ("qdrant-dr replicate BACKUP", *PROVE), hidden_by=(RECORDS, BACKUPS)
    ),
    "copies-absent": Kind(WARNING, OURS, (*HEAL, *VOUCH, *CONFLICT), hidden_by=(RECORDS, BACKUPS)),
    "copies-archived": Kind(
        ("warning", "notice"), OURS,
        (f"{BY_HAND}`qdrant-dr show BACKUP` prints what brings it back from an archive.",),
        hidden_by=(RECORDS, BACKUPS),
    ),
    "copies-conflict": Kind(CRITICAL, OURS, CONFLICT, hidden_by=(RECORDS, BACKUPS)),
    "copy-damaged": Kind(
        CRITICAL, OURS, (*HEAL, *VOUCH, *CONFLICT), hidden_by=(RECORDS, BACKUPS)
    ),
    "proof-too-old": Kind(WARNING, OURS, PROVE),
    "backup-lost": Kind(
        ("critical", "warning"), OURS,
        (f"{DECIDE}its manifest is put back, or it is given up: `qdrant-dr show BACKUP`.",),
    ),
    "unwitnessed": Kind(WARNING, OURS, (*VOUCH, *CONFLICT, *BACK_UP)),
    # drills, restores, runs
    "drill-failed": Kind(
        CRITICAL, OURS, ("qdrant-dr drill COLLECTION -r REPOSITORY",), hidden_by=(RECORDS, RUNS)
    ),
    "drill-overdue": Kind(WARNING, OURS, ("qdrant-dr drill COLLECTION",)),
    "drill-rejected": Kind(WARNING, OURS, ("qdrant-dr drill",), hidden_by=(RECORDS, RUNS)),
    "copies-undrilled": Kind(WARNING, OURS, ("qdrant-dr drill --pick coverage",)),
    "game-lost": Kind(
        WARNING, OURS, ("qdrant-dr drill --scenario lost-node",), hidden_by=(RECORDS, RUNS)
    ),
    "self-reviewed": Kind(NOTICE, OURS, SIGN),
    "signature-differs": Kind(CRITICAL, OURS, SIGN, hidden_by=(RECORDS, RUNS)),
    "rto-missed": Kind(
        CRITICAL, RESTORING,
        ("qdrant-dr show BACKUP",
         (f"{DECIDE}a faster target, or another `objectives.rto`; then measure it again with "
         "`qdrant-dr drill COLLECTION --engine server`.")),
        hidden_by=(RECORDS, RUNS),
    ),
    "rto-unmeasured": Kind(NOTICE, RESTORING, ("qdrant-dr drill --engine server",)),
    "restore-failed": Kind(
        CRITICAL, RESTORING,
        (f"{DECIDE}is it to be restored still? `qdrant-dr restore BACKUP --to TARGET --as NAME`.",
         f"{DECIDE}is it to be restored still? see `qdrant-dr restore --help`.",
         f"{DECIDE}is it to be as before? `qdrant-dr restore --undo RUN` prints the plan."),
        hidden_by=(RECORDS, RUNS),
    ),
    "restore-partial": Kind(
        ("critical", "warning"), AFTER, GOOD_ENOUGH, hidden_by=(RECORDS, RUNS)
    ),
    "self-approved": Kind(WARNING, AFTER, GOOD_ENOUGH, hidden_by=(RECORDS, RUNS)),
    "run-bad": Kind(
        ("critical", "warning", "notice"), OURS, ANY_RUN, hidden_by=(RECORDS, RUNS)
    ),
    "run-crashed": Kind(("critical", "notice"), OURS, ANY_RUN, hidden_by=(RECORDS, RUNS)),
    "no-backup-run": Kind(CRITICAL, MAKING, ("qdrant-dr backup",)),
    "nothing-protected": Kind(CRITICAL, MAKING, ("qdrant-dr backup",)),
    # the cluster and its nodes
    "cluster-unseen": Kind(CRITICAL, OURS, LOOK, "cluster", ()),
    "node-unreachable": Kind(CRITICAL, CLUSTERS, LOOK, "cluster", ("cluster-unseen",)),
    "clock-unseen": Kind(NOTICE, OURS, LOOK, "cluster", (CLUSTER,)),
    "clock-skew": Kind(WARNING, OURS, LOOK, "cluster", (CLUSTER, "clock-unseen")),
    "clocks-apart": Kind(WARNING, OURS, LOOK, "cluster", (CLUSTER,)),
    "leftover-snapshot": Kind(
        WARNING, MAKING,
        ("curl --fail-with-body -X DELETE URL", *BACK_UP),
        "cluster", (CLUSTER,),
    ),
    # repositories and disks
    "repository-unreadable": Kind(CRITICAL, OURS, ("qdrant-dr check -r REPOSITORY",), "stores", ()),
    "records-unreadable": Kind(
        CRITICAL, OURS,
        ("qdrant-dr replicate BACKUP -r REPOSITORY",
         "qdrant-dr verify BACKUP -r REPOSITORY --depth content",
         (f"{DECIDE}put it back from the versions that the bucket keeps, or say with `qdrant-dr "
         "acknowledge records-unreadable:REPOSITORY --reason WHY` that it is lost.")),
    ),
    "repository-only-read": Kind(
        WARNING, OURS,
        ((f"{DECIDE}put the id of its master key as `key_id` below its name; then run "
         "`qdrant-dr check -r REPOSITORY`."),),
    ),
    "runs-missing": Kind(
        WARNING, OURS,
        ((f"{DECIDE}who deletes there? put them back, or say that they are lost with `qdrant-dr "
         "acknowledge runs-missing:REPOSITORY --reason WHY --until 7d`."),),
    ),
    "foreign-objects": Kind(NOTICE, OURS, ("qdrant-dr repository show REPOSITORY",)),
    "expiry-elsewhere": Kind(NOTICE, OURS, ("qdrant-dr expire -r REPOSITORY",)),
    "domains-shared": Kind(
        ("warning", "notice"), OURS,
        (f"{DECIDE}is one of them elsewhere in truth? `qdrant-dr repository show REPOSITORY`.",),
    ),
    "ledger-unsigned": Kind(NOTICE, OURS, ("qdrant-dr signing init --save",)),
    "signing-key-unusable": Kind(WARNING, OURS, KEY),
    "allowed-signers-unusable": Kind(WARNING, OURS, KEY),
    "ledger-tail-unsigned": Kind(WARNING, OURS, ("qdrant-dr verify",)),
    "ledger-behind": Kind(CRITICAL, OURS, LEDGER),
    "ledger-broken": Kind(CRITICAL, OURS, LEDGER),
    "ledger-unreadable": Kind(WARNING, OURS, ("qdrant-dr check -r REPOSITORY",)),
    "space-forecast": Kind(WARNING, MAKING, ("qdrant-dr check",)),
    "space-low": Kind(
        ("critical", "warning"), MAKING, ("qdrant-dr check",), "stores", (RECORDS, "space-unseen")
    ),
    "space-unseen": Kind(WARNING, MAKING, ("qdrant-dr check",), "stores", ()),
    "store-clock-skew": Kind(WARNING, OURS, ("qdrant-dr check -r REPOSITORY",), "stores"),
}  # fmt: skip
"""By code."""

_OTHER = Kind(("critical", "warning", "notice"), OURS, ())


def kind_of(code: str) -> Kind:
    """The kind of a code; one that another version wrote into a record is told by records."""
    return KINDS.get(code, _OTHER)
