"""One verdict from many outcomes: the strictest decides."""

from __future__ import annotations

import pytest

from qdrant_dr.config import Copies
from qdrant_dr.jobs.run.conclude import Conclusion, conclude
from qdrant_dr.jobs.run.copies_missing import copies_missing
from qdrant_dr.records import ErrorFacts, Outcome
from tests.support.records import NOW, captured, manifest, proof, proved, repository, seen

TWO = Copies(quorum=2, domains=2)
BOTH = (repository("aws"), repository("gcp"))


def judged(*outcomes: Outcome, repositories=BOTH, **others) -> Conclusion:
    return conclude(outcomes, others.pop("seen", ()), repositories, copies=TWO, **others)


def failed(unit: str = "verify") -> Outcome:
    return Outcome(
        unit=unit,
        collection="movies",
        repository="aws",
        verdict="failed",
        started_at=NOW,
        ended_at=NOW,
        error=ErrorFacts(code="bytes-differ", message="other bytes", hint="heal it."),
    )


def test_all_good_is_ok() -> None:
    outcomes = captured(manifest(), "aws", "gcp"), proved(proof(manifest(), "aws"))
    assert judged(*outcomes) == Conclusion("ok", ())


def test_one_failed_unit_fails_the_run() -> None:
    verdict = judged(captured(manifest(), "aws", "gcp"), failed())
    assert verdict.verdict == "failed"
    assert verdict.reasons == ("verify movies in aws: other bytes",)


def test_a_missing_expected_collection_fails_the_run() -> None:
    verdict = judged(captured(manifest(), "aws", "gcp"), seen=[seen("users", "missing")])
    assert verdict == Conclusion("failed", ("users is expected and missing",))


def test_below_quorum_is_failed_even_if_the_unit_says_ok() -> None:
    verdict = judged(captured(manifest(), "aws"))
    assert verdict.verdict == "failed"
    assert "1 of 2 copies" in verdict.reasons[0]


def test_an_unreachable_repository_degrades() -> None:
    repositories = (*BOTH, repository("minio", reachable=False))
    verdict = judged(captured(manifest(), "aws", "gcp"), repositories=repositories)
    assert verdict.verdict == "degraded"
    assert "minio" in verdict.reasons[0]


def test_the_error_of_the_run_and_its_objections_fail_it() -> None:
    error = ErrorFacts(code="node-unreachable", message="no answer", hint="check.")
    assert judged(error=error).verdict == "failed"
    assert judged(objections=["no collection was backed up"]).verdict == "failed"


@pytest.mark.parametrize(
    ("committed", "why"),
    [
        ([], "0 of 2 copies (quorum)"),
        (["aws"], "1 of 2 copies (quorum)"),
        (["aws", "aws"], "1 of 2 copies (quorum)"),
        (["aws", "gcp"], None),
        (["aws", "twin"], "copies in 1 of 2 failure domains"),
    ],
)
def test_copies_count_once_each_and_by_domain(committed: list[str], why: str | None) -> None:
    repositories = (*BOTH, repository("twin", domain="domain-aws"))
    assert copies_missing(committed, repositories, TWO) == why
