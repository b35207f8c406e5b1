"""Every attack on real repositories, looked at in three ways; the table of the docs is this one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from qdrant_dr.evidence.anchors import Anchor
from qdrant_dr.evidence.check import Check
from qdrant_dr.evidence.places import in_folder
from qdrant_dr.evidence.trust import Trust
from qdrant_dr.evidence.verify import Source, cross_check, examine
from qdrant_dr.signing import allowed_signers
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.evidence import attacks
from tests.evidence.attacks import ATTACKED, OTHERS, Attack, Scene
from tests.support.ledgers import bucket, clouds, trust_line

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
BEGIN, END = "<!-- tried by tests/evidence/test_attacks.py -->", "<!-- end -->"
NAMES = (ATTACKED, *OTHERS)


@dataclass(frozen=True)
class Before:
    """The repositories as they were, an older copy of them, and what an auditor had noted."""

    folders: dict[str, Path]
    older: dict[str, Path]
    key: PrivateKey
    trust: Trust
    head: Anchor


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    root, key = tmp_path_factory.mktemp("before"), new_key()
    clouds(root / "older", key, names=NAMES, rounds=3)
    ledgers = clouds(root / "now", key, names=NAMES, rounds=5)
    number, sha256 = ledgers[0].last
    return Before(
        {name: root / "now" / name for name in NAMES},
        {name: root / "older" / name for name in NAMES},
        key,
        allowed_signers.parse(trust_line(key), "trust"),
        Anchor(number, sha256, "the head that you noted", None),
    )


@pytest.fixture
def scene(before: Before, tmp_path: Path) -> Scene:
    folders = {name: tmp_path / name for name in NAMES}
    for name, folder in folders.items():
        shutil.copytree(before.folders[name], folder)
    return Scene(folders, before.older, before.key)


def look(
    scene: Scene, trust: Trust, *, others: Sequence[str] = (), noted: Sequence[Anchor] = ()
) -> list[Check]:
    """What `evidence verify` of the attacked repository finds that is not ok."""

    def source(name: str) -> Source:
        folder = in_folder(scene.folders[name], name)
        # where it lies is known of a bucket, and not of a copy of one
        return Source(name, folder.where, folder.reader, bucket(name))

    witnesses = [examine(source(name), trust, records=False) for name in others]
    (found,) = cross_check([examine(source(ATTACKED), trust)], witnesses, noted)
    return [c for c in found.checks if c.state in ("doubt", "failed")]


def names(checks: Sequence[Check]) -> tuple[str, ...]:
    return tuple(c.name for c in checks)


@pytest.mark.parametrize("attack", attacks.ATTACKS, ids=lambda a: f"{a.by}: {a.name}")
def test_what_is_seen_of_an_attack(attack: Attack, scene: Scene, before: Before) -> None:
    attack.do(scene)
    assert names(look(scene, before.trust)) == attack.alone
    assert names(look(scene, before.trust, others=OTHERS)) == attack.with_others
    assert names(look(scene, before.trust, noted=[before.head])) == attack.with_head


def test_nothing_is_seen_where_nothing_was_done(scene: Scene, before: Before) -> None:
    assert look(scene, before.trust, others=OTHERS, noted=[before.head]) == []


def test_every_finding_names_what_to_do(before: Before, tmp_path: Path) -> None:
    for number, attack in enumerate(attacks.ATTACKS):
        folders = {name: tmp_path / str(number) / name for name in NAMES}
        for name, folder in folders.items():
            shutil.copytree(before.folders[name], folder)
        scene = Scene(folders, before.older, before.key)
        attack.do(scene)
        for check in look(scene, before.trust, others=OTHERS):
            assert check.next_command, check


def test_the_table_of_the_docs_is_what_was_tried() -> None:
    text = PAGE.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if os.environ.get("QDR_WRITE_GOLDEN"):
        PAGE.write_text(f"{text[:start]}\n{table()}\n{text[end:]}")
        text = PAGE.read_text()
        end = text.index(END)
    assert text[start:end].strip() == table().strip()


def table() -> str:
    rows = [
        "| What is done | With | One bucket alone | With the others | With a noted head |",
        "|---|---|---|---|---|",
    ]
    for a in attacks.ATTACKS:
        cells = (seen(a.alone), seen(a.with_others), seen(a.with_head))
        remark = f" ({a.remark})" if a.remark else ""
        rows.append(f"| {a.name}{remark} | {a.by} | {' | '.join(cells)} |")
    return "\n".join(rows)


def seen(checks: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in checks) or "**not seen**"
