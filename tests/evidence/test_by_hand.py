"""The page's own commands, run on a repository that real runs wrote, and on attacked copies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.demo_evidence import evidence, signatures_by_hand
from tests.evidence import attacks
from tests.evidence.attacks import Scene
from tests.evidence.conftest import NAMES, Witnessed

PAGE = Path(__file__).parents[2] / "docs" / "verify-by-hand.md"
TOOLS = ("bash", "jq", "awk", "sha256sum", "ssh-keygen")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def commands() -> dict[str, str]:
    """The commands of each chapter, by its number."""
    text = PAGE.read_text().replace("/tmp/named", '"$TMPDIR/named"')
    text = text.replace("/tmp/there", '"$TMPDIR/there"')
    return {
        chapter[0]: "\n".join(re.findall(r"^```bash\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL))
        for chapter in re.split(r"^## (?=\d)", text, flags=re.MULTILINE)[1:]
    }


def by_hand(folder: Path, trust: Path, tmp: Path) -> str:
    """All that the commands say, chapter by chapter."""
    said = ""
    for _, command in sorted(commands().items()):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, "TRUST": str(trust), "TMPDIR": str(tmp), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said += done.stdout + done.stderr
    return said


@pytest.fixture
def scene(witnessed: Witnessed, tmp_path: Path) -> Scene:
    folders = {name: tmp_path / name for name in NAMES}
    for name, folder in folders.items():
        shutil.copytree(witnessed.folders[name], folder)
    return Scene(folders, witnessed.older, witnessed.key)


def test_all_is_well_by_hand_where_all_is_well(
    scene: Scene, witnessed: Witnessed, tmp_path: Path
) -> None:
    said = by_hand(scene.folder, witnessed.trust, tmp_path)
    head = witnessed.head("one")
    assert f"head {head.number} {head.sha256}" in said
    assert "every signature is of a trusted key" in said
    assert "every record that is there is as it was named" in said
    for word in ("broken", "missing", "NOT signed", "FAILED", "unexplained", "named by no entry"):
        assert word not in said
    assert list(scene.folder.glob("expired/*/*/*/*.json")), "an absence is explained"


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (attacks.edit_record, "FAILED"),
        (attacks.edit_entry, "broken at entry 3"),
        (attacks.delete_entry, "missing before entry 3"),
        (attacks.insert_record, "named by no entry"),
        (attacks.delete_record, "gone, and unexplained"),
        (attacks.strip_signatures, "is not signed"),
        (attacks.rewrite_with_own_key, "NOT signed by a trusted key"),
        (attacks.back_date_signed, "the one before it was stored at"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_verify_sees_is_seen_by_hand(
    attack: object, words: str, scene: Scene, witnessed: Witnessed, tmp_path: Path
) -> None:
    attack(scene)  # type: ignore[operator]
    assert words in by_hand(scene.folder, witnessed.trust, tmp_path)


def test_the_last_lines_of_the_demo(witnessed: Witnessed) -> None:
    said = list(signatures_by_hand(witnessed.folders["one"], witnessed.trust))
    entries = witnessed.head("one").number
    assert said[0].startswith('Good "ledger@qdrant-dr" signature')
    assert said[1].endswith(f"on {entries} of {entries} entries")
    lines = list(evidence(witnessed.world.reference, witnessed.trust))
    assert [good for _, good in lines] == [True] * 3, lines
