"""The table of controls: what each asks, which figures answer, what a person must add.

Identifiers are those of the frameworks, every other word is ours: the standards' texts are their
publishers'. `docs/controls.md` is generated from this.
"""

from __future__ import annotations

from typing import Final

from qdrant_dr.report.controls import rules as r
from qdrant_dr.report.controls import rules_of_ledgers as ledgers
from qdrant_dr.report.controls import rules_of_tests as t
from qdrant_dr.report.controls.control import Control, Covers, Rule

SOC, ISO, NIST = "SOC 2", "ISO 27001", "NIST SP 800-53"
DORA, HIPAA, PCI, CIS = "DORA", "HIPAA 164.308", "PCI DSS", "CIS Controls"

STATUS = ("collections.status",)
COPIES = ("collections.copies_proven_count", "collections.domains_proven_count")
RPO = ("collections.rpo_seconds", "collections.rpo_objective_seconds")
RTO = ("collections.rto_seconds", "collections.rto_objective_seconds")
PROVEN = ("collections.newest_proven_at", "collections.copies_proven_count")
RUNS = ("runs.verdict", "runs.settled_by")
DRILLS = ("drills.verdict", "drills.fingerprint_equal")
REVIEWS = ("drills.reviewed_by", "drills.accepted", "drills.review_signature")
RESTORES = ("restores.verdict", "restores.points_lost_count")
RANKS = ("collections.collection", "collections.owner", "collections.criticality")
LEDGER = (
    "ledger.state", "ledger.breaks_count",
    "ledger.unsigned_tail_count", "ledger.unsigned_between_count",
)  # fmt: skip
KEYS = ("copies.encrypted", "copies.key_slots_count")

SITES = "that the failure domains, as configured, really are separate sites and accounts"
ISOLATION = "that the declared isolation is true: no record measures it"
CORRECTED = "what was learnt from what went wrong, and what was changed"
POLICY = "the policy itself, who approved it, and that the objectives configured are its own"


def _of(
    framework: str,
    control: str,
    asks: str,
    figures: tuple[str, ...],
    rule: Rule | None,
    add: str,
    *,
    covers: Covers = "figures",
    oscal: str | None = None,
    idle: bool = False,
) -> Control:
    """Build a row. `idle`: with nothing to look at there was nothing to do, too."""
    covers = "none" if rule is None else covers
    return Control(
        framework, control, asks, figures, rule, add, covers,
        "not covered here" if idle or rule is None else "not met", oscal,
    )  # fmt: skip


CONTROLS: Final[tuple[Control, ...]] = (
    _of(SOC, "A1.2", "backups and what recovery needs are run and watched",
        (*STATUS, *RUNS, *COPIES), r.every(r.running, r.protected),
        "who watches the reports and alarms"),
    _of(SOC, "A1.3", "recovery is tested, and that backups are whole is tested again and again",
        (*DRILLS, *PROVEN, "copies.state"), r.every(t.drilled, r.proven, r.undamaged),
        "who decides how often is often enough"),
    _of(SOC, "CC7.5", "one recovers from incidents, and learns from them",
        RESTORES, t.restored, CORRECTED, covers="part", idle=True),
    _of(ISO, "A.8.13", "copies are kept by a policy, and tested",
        (*STATUS, *RPO, *COPIES, "copies.state", *DRILLS),
        r.every(r.protected, r.fresh, r.promised_copies, r.undamaged, t.drilled), POLICY),
    _of(ISO, "A.8.14", "there is enough redundancy for the availability that is needed",
        COPIES, r.every(r.enough_copies, r.promised_copies), SITES),
    _of(ISO, "A.5.29", "security is kept up while things are disrupted",
        ("drills.isolation_declared", "restores.approved_by", "restores.same_person"),
        r.every(t.isolated, t.approved), ISOLATION, covers="part", idle=True),
    _of(ISO, "A.5.30", "recovery is planned by objectives, and tested against them",
        (*RPO, *RTO), r.every(r.fresh, r.in_time), POLICY),
    _of(NIST, "CP-2", "a plan names objectives, priorities and roles",
        (*RANKS, "collections.rpo_objective_seconds"), r.ranked,
        "the plan, its review and its distribution", covers="part", oscal="cp-2"),
    _of(NIST, "CP-4", "the plan is tested, the results are reviewed and corrected",
        (*DRILLS, *REVIEWS), r.every(t.drilled, t.reviewed), CORRECTED, oscal="cp-4"),
    _of(NIST, "CP-6", "copies are kept at another site",
        (*COPIES, "drills.copies_left_count"), r.every(r.apart, t.left_somewhere), SITES,
        oscal="cp-6"),
    _of(NIST, "CP-6(1)", "that site is not struck by what strikes the first",
        COPIES, r.apart, SITES, covers="part", oscal="cp-6.1"),
    _of(NIST, "CP-6(2)", "recovery from that site meets both objectives",
        ("drills.scenario", "drills.rpo_met", "drills.rto_met"), t.elsewhere,
        "who can reach that site in a disaster", oscal="cp-6.2"),
    _of(NIST, "CP-9", "backups are made as often as decided, and protected",
        (*RPO, *COPIES), r.every(r.fresh, r.promised_copies),
        "that the objectives configured are those decided; system documentation is no backup here",
        oscal="cp-9"),
    _of(NIST, "CP-9(1)", "backups are tested for whether they can be read and are whole",
        (*PROVEN, "copies.state", "copies.bytes_checked_ratio"), r.every(r.proven, r.undamaged),
        "how often this is to be done", oscal="cp-9.1"),
    _of(NIST, "CP-9(2)", "tests of the plan restore a sample of backups",
        (*DRILLS, "drills.pick", "drills.seed"), t.drilled, "what sample is large enough",
        oscal="cp-9.2"),
    _of(NIST, "CP-9(3)", "critical information is kept in a separate place",
        ("collections.criticality", *COPIES), r.critical_apart, SITES, oscal="cp-9.3", idle=True),
    _of(NIST, "CP-9(5)", "copies reach the other site in the time that the objectives need",
        ("backups.transfer_seconds", "copies.state"), r.transferred, SITES, oscal="cp-9.5"),
    _of(NIST, "CP-9(7)", "two people are needed to delete backups",
        (), None, "who may delete: bucket policies, object locks", oscal="cp-9.7"),
    _of(NIST, "CP-9(8)", "backups are protected by cryptography",
        KEYS, r.encrypted, "where the keys are kept, and encryption by the stores",
        oscal="cp-9.8", idle=True),
    _of(NIST, "CP-10", "one can recover to a known state",
        (*DRILLS, *RESTORES), t.recovered, "what state is to be reached", oscal="cp-10"),
    _of(NIST, "CP-10(4)", "and in the time that was decided",
        (*DRILLS, "drills.rto_met", "drills.rto_seconds"), r.every(t.drilled, t.drilled_in_time),
        "that the objective configured is the one decided", oscal="cp-10.4"),
    _of(NIST, "AU-9(2)", "audit records are also kept in another system",
        ("ledger.anchored_number", "ledger.anchored_in", "ledger.state"), ledgers.witnessed,
        "that no one account may change all repositories", oscal="au-9.2"),
    _of(NIST, "AU-9(3)", "audit records are protected by cryptography",
        LEDGER, ledgers.unbroken, "whose keys those are", oscal="au-9.3"),
    _of(NIST, "AU-10", "nobody can deny to have done it",
        ("runs.signed_by", "runs.ledger_number", *LEDGER),
        r.every(ledgers.signed, ledgers.unbroken), "who holds which key", oscal="au-10"),
    _of(NIST, "SI-7", "an unauthorised change is noticed",
        ("copies.state", *PROVEN, *LEDGER), r.every(r.proven, r.undamaged, ledgers.unbroken),
        "who is told, and what is done then", oscal="si-7"),
    _of(DORA, "Art. 11", "continuity plans are tested, and records of it are kept",
        ("drills.scenario", "drills.verdict"), t.rehearsed,
        "the plans, and tests of what is not a backup", covers="part"),
    _of(DORA, "Art. 12(1)", "what is backed up, and how often, follows from how critical it is",
        (*RANKS, *RPO), r.every(r.ranked, r.fresh), POLICY),
    _of(DORA, "Art. 12(2)", "recovery is tested, and the tests endanger no data",
        (*DRILLS, "drills.teardown"), r.every(t.drilled, t.torn_down), "who decides how often"),
    _of(DORA, "Art. 12(3)", "one restores to systems apart from the source",
        ("drills.isolation_declared",), t.isolated, ISOLATION, covers="part"),
    _of(DORA, "Art. 12(6)", "functions have recovery times and recovery points, and meet them",
        (*RPO, *RTO), r.every(r.fresh, r.in_time), "which function needs which collection"),
    _of(DORA, "Art. 12(7)", "what was recovered is checked and reconciled",
        (*RESTORES, "restores.fingerprint_equal"), t.restored,
        "reconciliation with the systems that feed the collections", idle=True),
    _of(HIPAA, "(a)(7)(ii)(A)", "there are exact copies that can be retrieved",
        ("collections.proven_depth", *PROVEN, "copies.state"),
        r.every(r.proven, r.content_proven, r.undamaged),
        "which collections hold health information"),
    _of(HIPAA, "(a)(7)(ii)(B)", "any loss can be restored",
        (*RESTORES, *DRILLS), t.recovered, "the procedure of the organisation"),
    _of(HIPAA, "(a)(7)(ii)(C)", "critical processes go on in an emergency",
        (), None, "the plan of how they do"),
    _of(HIPAA, "(a)(7)(ii)(D)", "plans are tested and revised regularly",
        (*DRILLS, *REVIEWS), r.every(t.drilled, t.reviewed), CORRECTED, covers="part"),
    _of(HIPAA, "(a)(7)(ii)(E)", "it is known how critical each application and its data are",
        RANKS, r.ranked, "the analysis behind it", covers="part"),
    _of(PCI, "9.4.1.1", "offline copies are kept in a secure place",
        (), None, "where offline copies are, and who can get at them"),
    _of(PCI, "9.4.1.2", "that place is reviewed once a year", (), None, "the review"),
    _of(PCI, "9.4.5.1", "an inventory of media is made once a year",
        ("copies.state",), r.inventoried, "media that qdrant-dr does not know of", covers="part"),
    _of(PCI, "9.4.7", "what is not needed any more is destroyed",
        ("runs.kind", "copies.state"), r.expiring,
        "versions and replicas that the stores keep", covers="part", idle=True),
    _of(PCI, "10.3.3", "audit logs are backed up where they are hard to change",
        ("ledger.anchored_number", "ledger.anchored_in", "ledger.state"), ledgers.witnessed,
        "all audit logs but those of qdrant-dr", covers="part"),
    _of(PCI, "10.3.4", "a change of audit logs is noticed",
        LEDGER, ledgers.unbroken, "all audit logs but those of qdrant-dr", covers="part"),
    _of(PCI, "10.5.1", "audit logs are kept for a year",
        ("ledger.since", "ledger.state"), ledgers.kept_for_a_year,
        "all audit logs but those of qdrant-dr", covers="part", idle=True),
    _of(PCI, "12.10.1", "the incident plan has a part about backups",
        RUNS, r.running, "the plan", covers="part"),
    _of(CIS, "11.1", "how data is recovered is written down, and reviewed once a year",
        (), None, "the procedure, and its review"),
    _of(CIS, "11.2", "backups are made by themselves, once a week or more often",
        ("collections.rpo_seconds", "runs.trigger"), r.weekly, "which data is in scope"),
    _of(CIS, "11.3", "copies are protected as well as the original",
        KEYS, r.encrypted, "access to the stores, and encryption by them",
        covers="part", idle=True),
    _of(CIS, "11.4", "one copy is isolated from all others",
        COPIES, r.apart, "that what may write to one cannot change the other: locks, accounts",
        covers="part"),
    _of(CIS, "11.5", "the restore of a sample is tested every quarter",
        DRILLS, t.drilled_this_quarter, "what sample is large enough"),
)  # fmt: skip
