"""An auditor's questions, each answered as the page says by who has the bundle and nothing else."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from qdrant_dr.cli import main
from tests.evidence.conftest import NAMES, Witnessed

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
QUESTION = re.compile(r"^## (.+?)\n(.*?)^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUESTIONS = {m[1]: m[3].strip() for m in QUESTION.finditer(PAGE.read_text())}
MISSING = [tool for tool in ("bash", "jq", "tar") if shutil.which(tool) is None]
ANSWERS = {
    "Is it whole, and was it changed since?": "none: the last entry is signed",
    "Who says so?": "one: ",
    "When, and how long did it take?": "backup",
    "Can it be restored, and how fast?": "rto_seconds",
    "Is every collection covered?": "movies",
    "What was left out?": '"error": null',
    "Which controls do the figures answer?": "AU-10",
    "What is wrong right now?": "severity",
}


@pytest.fixture(scope="module")
def laptop(witnessed: Witnessed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle and the trusted keys, far from the configuration."""
    folder = tmp_path_factory.mktemp("laptop")
    out = folder / "evidence.tar.gz"
    assert (
        main(["evidence", "bundle", "-q", "--out", str(out), "-c", witnessed.world.reference]) == 0
    )
    shutil.copy(witnessed.trust, folder / "allowed_signers")
    return folder


def test_every_question_has_one_command_and_a_known_answer() -> None:
    assert QUESTIONS.keys() == ANSWERS.keys()
    assert all("\n" not in command for command in QUESTIONS.values())


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("question", QUESTIONS)
def test_it_is_answered_from_the_bundle_alone(question: str, laptop: Path) -> None:
    scripts = Path(sys.executable).parent
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QDR", "QDRANT"))}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", QUESTIONS[question]],
        cwd=laptop,
        env={**env, "PATH": f"{scripts}:{env['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ANSWERS[question] in done.stdout
    if question == "Who says so?":
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == sorted(NAMES)


def test_the_report_of_a_bundle_stands_on_the_ledgers(laptop: Path, witnessed: Witnessed) -> None:
    with tarfile.open(laptop / "evidence.tar.gz") as archive:
        member = archive.extractfile("qdrant-dr-evidence/report/ledger.csv")
        assert member is not None
        heads = list(csv.DictReader(io.TextIOWrapper(member, encoding="utf-8")))
    assert {h["repository"]: h["head_sha256"] for h in heads} == {
        name: witnessed.head(name).sha256 for name in NAMES
    }
