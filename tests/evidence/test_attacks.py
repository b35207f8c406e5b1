"""Every attack on real repositories, looked at in three ways; the table of the docs is this one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.evidence.anchors import Anchor
from qdrant_dr.evidence.check import Check
from qdrant_dr.evidence.places import in_folder
from qdrant_dr.evidence.trust import read_trust
from qdrant_dr.evidence.verify import Source, cross_check, examine
from qdrant_dr.repository import location_of
from tests.evidence import attacks
from tests.evidence.attacks import ATTACKED, OTHERS, Attack, Scene
from tests.evidence.conftest import Witnessed

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
BEGIN, END = "<!-- tried by tests/evidence/test_attacks.py -->", "<!-- end -->"
NAMES = (ATTACKED, *OTHERS)


@pytest.fixture
def scene(witnessed: Witnessed, tmp_path: Path) -> Scene:
    return a_copy(witnessed, tmp_path)


def a_copy(witnessed: Witnessed, at: Path) -> Scene:
    folders = {name: at / name for name in NAMES}
    for name, folder in folders.items():
        shutil.copytree(witnessed.folders[name], folder)
    return Scene(folders, witnessed.older, witnessed.key)


class Auditor:
    """Who has the public key, and noted the last head before anything was done."""

    def __init__(self, witnessed: Witnessed) -> None:
        head = witnessed.head(ATTACKED)
        self.noted = [Anchor(head.number, head.sha256, "the head that you noted", None)]
        self.trust = read_trust(witnessed.trust)
        config = configfile.load(witnessed.world.file)
        self.places = {cfg.name: location_of(cfg) for cfg in config.repositories}

    def look(
        self, scene: Scene, *, others: Sequence[str] = (), noted: Sequence[Anchor] = ()
    ) -> list[Check]:
        """Return what `evidence verify` of the attacked repository finds that is not ok."""

        def source(name: str) -> Source:
            copy = in_folder(scene.folders[name], name)
            # where it lies is known of a bucket, and not of a copy of one
            return Source(name, copy.where, copy.reader, self.places[name])

        witnesses = [examine(source(name), self.trust, records=False) for name in others]
        (found,) = cross_check([examine(source(ATTACKED), self.trust)], witnesses, noted)
        return [c for c in found.checks if c.state in ("doubt", "failed")]


@pytest.fixture
def auditor(witnessed: Witnessed) -> Auditor:
    return Auditor(witnessed)


def names(checks: Sequence[Check]) -> tuple[str, ...]:
    return tuple(c.name for c in checks)


@pytest.mark.parametrize("attack", attacks.ATTACKS, ids=lambda a: f"{a.by}: {a.name}")
def test_what_is_seen_of_an_attack(attack: Attack, scene: Scene, auditor: Auditor) -> None:
    attack.do(scene)
    with_others = auditor.look(scene, others=OTHERS)
    assert (
        names(auditor.look(scene)),
        names(with_others),
        names(auditor.look(scene, noted=auditor.noted)),
    ) == (attack.alone, attack.with_others, attack.with_head)
    for check in with_others:
        assert check.next_command, check


def test_nothing_is_seen_where_nothing_was_done(scene: Scene, auditor: Auditor) -> None:
    assert auditor.look(scene, others=OTHERS, noted=auditor.noted) == []


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
