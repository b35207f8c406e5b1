"""Drift: told once, against what was accepted; neither growth nor small steps hide a loss."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.proof import Fingerprinter, ReadBack, ShardReading, baseline_of, plan_seal
from qdrant_dr.proof.readback import ShardCount
from qdrant_dr.records import Acknowledgement, Manifest, Seal
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.repository import open_suspects
from tests.support import records as r
from tests.support.records import NOW
from tests.support.worlds import evidence

LIMIT = 0.5
Content = dict[int, int]
"""Points by id, and the version of what each holds."""


def read_of(content: Content) -> ReadBack:
    work = Fingerprinter()
    work.add([(n, {"version": version}, [float(version)]) for n, version in content.items()])
    count = ShardCount(0, 7, len(content), 1, len(content), None)
    return ReadBack("0.9.0", (ShardReading(count, work.record(), work.sketch),))


@dataclass
class Story:
    """A collection, backed up after each thing that happened to it."""

    content: Content = field(default_factory=lambda: dict.fromkeys(range(100), 0))
    contents: list[Content] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)
    seals: list[Seal] = field(default_factory=list)
    known: list[Acknowledgement] = field(default_factory=list)
    accepted: int = 0

    def backup(self) -> Seal:
        at = NOW - timedelta(days=20) + timedelta(hours=len(self.seals))
        n = len(self.content)
        facts = r.manifest(at=at).shards[0]
        counted = facts.model_copy(update={"count_before": n, "count_after": n})
        manifest = r.manifest(at=at, shards=(counted,))
        ids = [a.accepts.backup_id for a in self.known if a.accepts]
        seal = plan_seal(
            manifest, read_of(self.content), None, self.seals[-1] if self.seals else None,
            drift_limit=LIMIT, now=at, baseline=baseline_of(self.seals, ids[-1] if ids else None),
        )  # fmt: skip
        self.contents.append(dict(self.content))
        self.manifests.append(manifest)
        self.seals.append(seal)
        return seal

    def happen(self, what: str, share: float) -> None:
        ids = sorted(self.content)
        some = ids[: round(len(ids) * share)]
        if what == "lose":
            self.content = {n: v for n, v in self.content.items() if n not in some}
        elif what == "rewrite":
            self.content |= {n: self.content[n] + 1 for n in some}
        elif what == "grow":
            start = max(ids, default=0) + 1
            self.content |= dict.fromkeys(range(start, start + round(40 * share)), 0)
        elif what == "accept" and self.seals:
            self.accept(len(self.seals) - 1)

    def accept(self, n: int) -> None:
        manifest, seal = self.manifests[n], self.seals[n]
        self.known.append(r.acceptance(manifest, seal))
        self.accepted = n

    def found(self) -> Assessment:
        held = {"aws": self.manifests, "gcp": self.manifests}
        return Assessment.of(evidence(held, seals=self.seals, acknowledged=self.known))

    def told(self) -> set[str]:
        """Kinds of loud findings about the content."""
        return {
            p.code for p in self.found().problems
            if p.code in ("suspect", "drifted") and p.severity != "notice"
        }  # fmt: skip


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["same", "lose", "rewrite", "grow", "accept"]),
        st.sampled_from([0.05, 0.2, 0.4, 0.6, 1.0]),
    ),
    max_size=12,
)


@settings(max_examples=400 if os.environ.get("QDR_THOROUGH") else 60)
@given(STEPS)
def test_what_is_lost_or_changed_since_it_was_accepted_is_told_until_that_is_accepted(
    steps: list[tuple[str, float]],
) -> None:
    story = Story()
    story.backup()
    for what, share in steps:
        story.happen(what, share)
        before = story.contents[-1]
        seal = story.backup()
        if story.content == before:
            assert not seal.suspect, "what did not change is told of again"
        base = story.contents[story.accepted]
        since = story.contents[story.accepted :]
        most = max(map(len, since))
        if most and (most - len(story.content)) / most > LIMIT:
            assert story.told(), "a loss"
        gone = sum(story.content.get(n) != version for n, version in base.items())
        if base and gone / len(base) > LIMIT:
            assert story.told(), "a drift"
    suspects = [n for n, seal in enumerate(story.seals) if seal.suspect]
    assert all(story.contents[n] != story.contents[n - 1] for n in suspects)
    if suspects:
        story.accept(len(story.seals) - 1)
        assert story.told() == set(), "accepted is accepted"
        assert not story.backup().suspect


def test_a_rewrite_is_reported_once_for_one_backup() -> None:
    story = Story()
    story.backup()
    story.happen("rewrite", 1.0)
    suspicious = story.backup()
    calm = [story.backup() for _ in range(3)]
    assert Seal.from_bytes(calm[0].to_bytes(), where="seal.json") == calm[0]
    assert suspicious.suspect
    assert not any(s.suspect for s in calm)
    (told,) = [p for p in story.found().problems if p.code == "suspect"]
    assert (told.scope, told.facts) == (str(story.manifests[1].key), suspicious.sha256)


@pytest.mark.parametrize("steps", [20, 30])
def test_many_small_losses_add_up_to_one_finding(steps: int) -> None:
    story = Story()
    story.backup()
    for _ in range(steps):
        story.happen("lose", 0.05)
        story.backup()
    (first, *_) = [n for n, s in enumerate(story.seals) if s.suspect]
    assert len(story.contents[first]) < 50 <= len(story.contents[first - 1])


def test_growth_hides_no_loss() -> None:
    story = Story(content=dict.fromkeys(range(10), 0))
    story.backup()
    for _ in range(8):
        story.happen("grow", 1.0)
        assert not story.backup().suspect
    for _ in range(4):
        story.happen("lose", 0.2)
        story.backup()
    assert any("330 once since" in s or "in the backup before" in s
               for seal in story.seals for s in seal.suspect)  # fmt: skip


def test_growth_since_an_accepted_backup_still_counts() -> None:
    story = Story(content=dict.fromkeys(range(40), 0))
    story.backup()
    story.happen("grow", 0.1)
    story.backup()
    for _ in range(3):
        story.happen("grow", 1.0)
        story.backup()
    story.accept(1)
    story.content = dict.fromkeys(range(100), 0)
    assert not story.backup().suspect
    story.content = dict.fromkeys(range(70), 0)
    reason, *_ = story.backup().suspect
    assert reason == f"70 points, 164 once since {story.manifests[1].backup_id}"


def test_what_retention_let_go_is_still_what_is_measured_against() -> None:
    """Seals carry it on: with three backups kept, a slow loss is told all the same."""
    story = Story()
    for _ in range(20):
        story.backup()
        story.happen("lose", 0.05)
        story.seals, story.contents = story.seals[-3:], story.contents[-3:]
        story.manifests = story.manifests[-3:]
        if story.seals[-1].suspect:
            break
    assert len(story.contents[-1]) > 40, "told of when half was gone"
    assert story.seals[-1].suspect


def test_what_changes_bit_by_bit_is_told_and_acknowledged_once_for_good() -> None:
    story = Story(content=dict.fromkeys(range(100), 0))
    story.backup()
    for n in range(8):
        story.content |= dict.fromkeys(range(n * 10, n * 10 + 10), 1)
        assert not story.backup().suspect
    (told,) = [p for p in story.found().problems if p.code == "drifted"]
    assert (told.severity, told.scope) == ("warning", "movies")
    assert "about 80% of the points" in told.what
    # as a finding: that of this baseline, however much more changes
    known = r.acceptance(
        story.manifests[0], story.seals[0], code="drifted", scope="movies", facts=told.facts,
        accepts=None,
    )  # fmt: skip
    story.known.append(known)
    story.content |= dict.fromkeys(range(100), 2)
    story.content = {i: 1 if i < 95 else 2 for i in range(100)}
    story.backup()
    assert story.told() == set()


def test_an_older_seal_hands_on_itself() -> None:
    """Seals of before have no baseline; their successors were all suspect against the same one."""
    story = Story()
    story.backup()
    story.happen("rewrite", 1.0)
    old = story.backup()
    for _ in range(2):
        seal = story.backup()
        story.seals[-1] = seal.model_copy(
            update={
                "suspect": old.suspect, "previous_backup_id": old.previous_backup_id,
                "baseline": None,
            }
        )  # fmt: skip
    assert [p.scope for p in story.found().problems if p.code == "suspect"] == [
        str(story.manifests[1].key)
    ]
    assert not story.backup().suspect
    story.known = [r.acceptance(story.manifests[1], old)]
    assert story.told() == {"suspect"}, "one of them may have lost more: it is not accepted"
    story.accept(len(story.seals) - 1)
    assert story.told() == set()


def test_an_acceptance_is_of_the_content_not_of_the_name() -> None:
    story = Story()
    story.backup()
    story.happen("rewrite", 1.0)
    seal = story.backup()
    other = seal.model_copy(update={"suspect": ("something else",)})
    forged = r.acceptance(story.manifests[1], other)
    story.known = [forged]
    assert story.told() == {"suspect"}
    backups = story.found().evidence.catalog.backups
    assert [b.key for b in open_suspects(backups, [forged])] == [story.manifests[1].key]
