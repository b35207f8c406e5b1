"""A run's page: worst first, commands to copy, and a page long whatever there is."""

from __future__ import annotations

import json

import pytest

from qdrant_dr.records import ErrorFacts, Outcome, Reported
from tasks.render import NAMES, ROWS, WORST, escape, markdown, unit_rows
from tests.support import records as made

MOVIES = made.manifest("movies")
BODY_LIMIT = 5 * 2**20
"""Of Prefect Cloud, for one request."""


def proven(collection: str) -> tuple[Outcome, ...]:
    manifest = made.manifest(collection)
    return made.captured(manifest), made.proved(made.proof(manifest), repository="aws")


def failed(
    collection: str, message: str = "damaged", hint: str = "run `qdrant-dr check`."
) -> Outcome:
    facts = ErrorFacts(code="copy-damaged", message=message, hint=hint)
    outcome = made.captured(made.manifest(collection), verdict="failed", error=facts)
    return outcome.model_copy(update={"detail": None})


def fleet(collections: int, repositories: int, **changes: Outcome) -> tuple[Outcome, ...]:
    """A capture, and a proof in each repository, of every collection."""
    outcomes: list[Outcome] = []
    for n in range(collections):
        manifest = made.manifest(f"collection-{n:03}")
        outcomes.append(made.captured(manifest))
        outcomes += [
            made.proved(made.proof(manifest), repository=f"cloud-{r}") for r in range(repositories)
        ]
    return (*outcomes, *changes.values())


def test_verdict_reasons_and_next_command_come_first() -> None:
    end = made.run_end(
        verdict="failed",
        reasons=("capture movies: no space left",),
        error=ErrorFacts(
            code="storage-full", message="no space left", hint="run `qdrant-dr expire`."
        ),
        seen=(made.seen("movies"), made.seen("tmp", "excluded", reason="rebuilt nightly")),
        outcomes=proven("movies"),
        repositories=(made.repository("aws"), made.repository("gcp", reachable=False)),
        source_kind="sandbox",
    )
    text = markdown(end)
    first, after = text.split("## Well")
    assert first.startswith("# backup of prod: failed\n")
    assert "2 units: 2 ok. 2 collections: 1 included, 1 excluded." in first
    assert "- capture movies: no space left" in first
    assert "- run `qdrant-dr expire`.\n\n```sh\nqdrant-dr expire\n```" in first
    assert "sandbox" in first
    assert "| tmp | excluded | rebuilt nightly |" in after
    assert after.index("| gcp |") < after.index("| aws |")
    assert "**not usable**" in after
    assert f"{end.start.run_id}.end.json" in after
    assert "1.38 MiB, 2000 points in aws, gcp" in after


def test_what_is_well_needs_no_advice() -> None:
    text = markdown(made.run_end(outcomes=proven("movies")))
    assert "## Why" not in text
    assert "## Next" not in text
    assert "## Failed" not in text


def test_only_what_is_plainly_advised_is_there_to_copy() -> None:
    hint = "is the disk mounted? a new one is made by `qdrant-dr repository create`."
    error = ErrorFacts(code="repository-missing", message="no folder", hint=hint)
    text = markdown(made.run_end(verdict="failed", reasons=("x",), error=error))
    assert f"- {hint}" in text
    assert "```" not in text


def test_failed_before_degraded_before_what_is_well() -> None:
    doubt = made.captured(made.manifest("aaa"), verdict="degraded", notes=("a doubt",))
    outcomes = (*proven("bbb"), doubt, failed("zzz"))
    text = markdown(made.run_end(verdict="failed", reasons=("zzz",), outcomes=outcomes))
    marks = [
        "## Failed: 1",
        "- **capture zzz**: damaged",
        "## Degraded: 1",
        "- **capture aaa**",
        "## Well",
    ]
    assert [text.index(m) for m in marks] == sorted(text.index(m) for m in marks)
    rows = unit_rows(made.run_end(outcomes=outcomes))
    assert [r["verdict"] for r in rows] == ["failed", "degraded", "ok", "ok"]
    assert rows[0]["next"] == "run `qdrant-dr check`."


def test_two_hundred_collections_fit_on_a_page() -> None:
    bad = {f"b{n}": failed(f"bad-{n:03}", "damaged " * 100) for n in range(WORST + 5)}
    end = made.run_end(
        verdict="failed",
        reasons=tuple(f"capture {n}: {'damaged ' * 100}" for n in bad),
        outcomes=fleet(200, 3, **bad),
        seen=tuple(made.seen(f"collection-{n:03}") for n in range(200)),
    )
    text = markdown(end)
    assert len(text) < 16_000
    assert len(text.splitlines()) < 100
    assert text.count("**capture bad-") == WORST
    assert "- and 5 more: see the table of units" in text
    assert "- verify: 600 ok (collection-000, " in text
    assert f"and {200 - NAMES} more" in text
    assert text.count("```sh") == 1, "the same advice once"
    assert len(json.dumps(unit_rows(end))) < BODY_LIMIT


def test_the_table_of_units_has_an_end() -> None:
    worst = failed("zzz", "x" * 5000)
    end = made.run_end(outcomes=(*proven("movies") * ROWS, worst))
    rows = unit_rows(end)
    assert len(rows) == ROWS
    assert rows[0]["collection"] == "zzz"
    assert len(str(rows[0]["result"])) <= 300
    assert len(json.dumps(rows)) < BODY_LIMIT


@pytest.mark.parametrize("well", [True, False])
def test_a_name_cannot_break_the_page(well: bool) -> None:
    nasty = "a|b\n<img src=x>`*_"
    outcome = made.captured(made.manifest(nasty)) if well else failed(nasty, nasty)
    seen = (made.seen(nasty, "excluded", reason=nasty),)
    text = markdown(made.run_end(outcomes=(outcome,), seen=seen, verdict="failed"))
    assert "<img" not in text.replace("\\<img", "")
    assert escape(nasty) == "a\\|b \\<img src=x\\>\\`\\*\\_"
    rows = [line for line in text.splitlines() if "img" in line and line.startswith("|")]
    assert rows
    assert {row.replace("\\|", "").count("|") for row in rows} == {4}


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("run `qdrant-dr backup 'a*b<c'` again.", "run `qdrant-dr backup 'a*b<c'` again."),
        ("look at 'x<img src=y>'", "look at 'x\\<img src=y\\>'"),
        ("look at `one` of 'x`<b>'", "look at \\`one\\` of 'x\\`\\<b\\>'"),
        ("[here](http://evil)", "\\[here\\](http://evil)"),
        ("delete 'a\u202eb\x1b[2J'", "delete 'a\ufffdb\ufffd\\[2J'"),
    ],
)
def test_advice_keeps_its_commands_and_begins_nothing_else(hint: str, shown: str) -> None:
    outcome = failed("movies", "broken")
    assert outcome.error is not None
    told = outcome.model_copy(update={"error": outcome.error.model_copy(update={"hint": hint})})
    text = markdown(made.run_end(outcomes=(told,), verdict="failed"))
    assert f"- {shown}\n" in text + "\n"


def test_each_finding_of_a_report_is_a_reason() -> None:
    detail = Reported(headline="0 of 1", folder="s3://b/T", files=(), digest="0")
    notes = ("critical: movies: no proven backup", "warning: users: old")
    outcome = made.captured(MOVIES, verdict="failed", notes=notes)
    outcome = outcome.model_copy(update={"unit": "report", "collection": "*", "detail": detail})
    joined = f"report *: {'; '.join(notes)}"
    end = made.run_end(verdict="failed", reasons=(joined,), outcomes=(outcome,))
    assert "- critical: movies: no proven backup\n- warning: users: old" in markdown(end)


def test_the_report_is_linked() -> None:
    page = "https://dr.example/reports/prod/20261122T120000Z/report.html"
    assert f"**[Open the report](<{page}>)**: each finding" in markdown(made.run_end(), page=page)


def test_rows_are_plain_json_one_per_unit() -> None:
    end = made.run_end(outcomes=(*proven("movies"), made.drilled(MOVIES)))
    rows = {r["unit"]: r for r in json.loads(json.dumps(unit_rows(end)))}
    assert list(rows) == ["capture", "verify", "drill"]
    assert rows["capture"]["seconds"] == 120.0
    assert "2000 of 2000 points" in rows["drill"]["result"]
