"""What verify says of ledgers that are wrong, foreign, newer, older or not there: never ok, and
always with the next step."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import layout
from qdrant_dr.records.ledger import Cut, Since
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.evidence.attacks import edited
from tests.support import records as made
from tests.support.ledgers import HOUR, Ledger, bucket, clouds, round_of, trust_line


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return new_key()


@pytest.fixture
def trust(key: PrivateKey, tmp_path: Path) -> Path:
    file = tmp_path / "trusted"
    file.write_text(trust_line(key))
    return file


@pytest.fixture
def ledger(key: PrivateKey, tmp_path: Path) -> Ledger:
    (only,) = clouds(tmp_path, key, names=("one",), rounds=3)
    return only


class Asked:
    """`evidence verify --json`: its code, and its rows by check."""

    def __init__(self, said: Any) -> None:
        self.code = said.code
        self.rows = {row["check"]: row for row in said.json["rows"]}
        assert all(r["next_command"] for r in said.json["rows"] if r["state"] in WRONG)

    def __getitem__(self, check: str) -> tuple[str, str]:
        return self.rows[check]["state"], self.rows[check]["found"]

    @property
    def wrong(self) -> list[str]:
        return [name for name, row in self.rows.items() if row["state"] in WRONG]


WRONG = ("doubt", "failed")


def verified(qdr: Any, where: Path, trust: Path | None, *more: str) -> Asked:
    trusted = () if trust is None else ("--allowed-signers", trust)
    return Asked(qdr("evidence", "verify", where, *trusted, *more, "--json"))


def test_a_good_ledger_is_ok(ledger: Ledger, trust: Path, qdr: Any) -> None:
    asked = verified(qdr, ledger.root, trust)
    assert (asked.code, asked.wrong) == (0, [])
    assert asked["signatures"] == ("ok", "3 by ledger@shop")
    assert asked["anchors"][0] == "not checked"


def test_without_a_trusted_key_it_is_not(ledger: Ledger, qdr: Any) -> None:
    asked = verified(qdr, ledger.root, None)
    assert (asked.code, asked.wrong) == (3, ["signatures"])
    said = qdr("evidence", "verify", ledger.root)
    assert "chain whole, nobody trusted" in said.err


def test_a_trust_file_without_the_key_fails(ledger: Ledger, tmp_path: Path, qdr: Any) -> None:
    (other := tmp_path / "other").write_text(trust_line(new_key()))
    asked = verified(qdr, ledger.root, other)
    assert (asked.code, asked["signatures"][0]) == (1, "failed")
    assert "none of the keys that signed is trusted" in asked["signatures"][1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"valid_before": made.NOW}, "it was valid until"),
        ({"valid_after": made.NOW + timedelta(days=9)}, "it is valid from"),
    ],
)
def test_a_key_is_judged_at_the_time_of_the_entry(
    options: dict[str, Any], words: str, ledger: Ledger, key: PrivateKey, trust: Path, qdr: Any
) -> None:
    trust.write_text(trust_line(key, **options))
    asked = verified(qdr, ledger.root, trust)
    assert (asked.code, asked["signatures"][0]) == (1, "failed")
    assert words in asked["signatures"][1]
    trust.write_text(trust_line(key, valid_before=made.NOW + timedelta(days=1)))
    assert verified(qdr, ledger.root, trust).code == 0


def test_a_key_for_something_else_is_not_trusted(
    ledger: Ledger, key: PrivateKey, trust: Path, qdr: Any
) -> None:
    trust.write_text(trust_line(key).replace("ledger@qdrant-dr", "review@qdrant-dr"))
    assert verified(qdr, ledger.root, trust).code == 1


def test_a_replaced_key_is_a_doubt_until_the_file_has_it(
    ledger: Ledger, trust: Path, qdr: Any
) -> None:
    new = new_key()
    ledger.append(round_of(ledger, ledger.at + HOUR), next_key=new.public.line)
    ledger.append(round_of(ledger, ledger.at + HOUR), key=new)
    asked = verified(qdr, ledger.root, trust)
    assert (asked.code, asked.wrong) == (3, ["signatures"])
    assert new.public.fingerprint in asked["signatures"][1]
    trust.write_text(trust.read_text() + trust_line(new, "new@shop"))
    assert verified(qdr, ledger.root, trust)["signatures"] == (
        "ok", "4 by ledger@shop, 1 by new@shop"
    )  # fmt: skip


def test_a_key_that_the_file_says_is_over_is_not_saved_by_being_named(
    ledger: Ledger, trust: Path, qdr: Any
) -> None:
    new = new_key()
    ledger.append(next_key=new.public.line)
    ledger.append(key=new)
    trust.write_text(trust.read_text() + trust_line(new, valid_before=made.NOW))
    assert verified(qdr, ledger.root, trust).code == 1


def test_an_unsigned_tail_is_counted(ledger: Ledger, trust: Path, qdr: Any) -> None:
    for _ in range(2):
        ledger.append(signed=False)
    asked = verified(qdr, ledger.root, trust)
    assert (asked.code, asked.wrong) == (3, ["unsigned tail"])
    assert asked["unsigned tail"][1].startswith("2 entries after entry 3")
    ledger.append()  # the next run fixes them, and does not vouch for them
    asked = verified(qdr, ledger.root, trust)
    assert (asked.code, asked.wrong) == (3, ["signatures"])
    assert "entry 4; entry 5" in asked["signatures"][1]


def test_entries_of_before_there_was_a_key_are_said(
    key: PrivateKey, tmp_path: Path, trust: Path, qdr: Any
) -> None:
    late = Ledger(tmp_path / "late", None)
    for _ in range(2):
        late.append(round_of(late, late.at + HOUR))
    late.append(key=key)
    asked = verified(qdr, late.root, trust)
    assert (asked.code, asked.wrong) == (0, [])
    assert "the 2 entries before entry 3 by nobody" in asked["signatures"][1]


def test_an_entry_of_a_newer_version_is_chained_and_not_understood(
    ledger: Ledger, trust: Path, qdr: Any
) -> None:
    from qdrant_dr.signing import sshsig
    from qdrant_dr.signing.allowed_signers import LEDGER

    entry = ledger.append()
    data = edited(entry.to_bytes(), later_field=1)
    ledger.put(layout.ledger_entry(entry.number), data)
    assert ledger.key is not None
    ledger.put(
        layout.ledger_entry(entry.number) + layout.SIGNATURE, sshsig.sign(data, ledger.key, LEDGER)
    )
    asked = verified(qdr, ledger.root, trust)
    assert asked.code != 0
    assert asked["chain"][0] == "doubt"
    assert "newer version" in asked["chain"][1]


def test_a_repository_without_a_ledger_fails(tmp_path: Path, trust: Path, qdr: Any) -> None:
    Ledger(tmp_path / "old", None)
    asked = verified(qdr, tmp_path / "old", trust)
    assert (asked.code, asked["chain"][0]) == (1, "failed")
    assert "no ledger" in asked["chain"][1]
    assert "signing init" in asked.rows["chain"]["next_command"]


def test_an_older_repository_says_since_when(
    key: PrivateKey, tmp_path: Path, trust: Path, qdr: Any
) -> None:
    import hashlib

    older = Ledger(tmp_path / "older", key)
    for path, data in round_of(older, made.NOW - timedelta(days=30)).items():
        older.put(path, data)
    lines = "".join(
        f"{f.stat().st_size}  {f.relative_to(older.root)}\n"
        for f in sorted(older.root.rglob("*.json"))
        if f.name != layout.REPOSITORY
    )
    listing = hashlib.sha256(lines.encode()).hexdigest()
    older.append(
        round_of(older, older.at + HOUR),
        since=Since(at=older.at, records_count=5, listing_sha256=listing),
    )
    asked = verified(qdr, older.root, trust)
    assert (asked.code, asked.wrong) == (0, [])
    assert "by name and size only" in asked["unnamed"][1]


def test_a_head_that_was_noted_is_compared(ledger: Ledger, trust: Path, qdr: Any) -> None:
    number, sha256 = ledger.last
    assert verified(qdr, ledger.root, trust, "--head", f"{number}:{sha256}")["anchors"][0] == "ok"
    for head in (f"{number}:{'0' * 64}", f"{number + 1}:{sha256}"):
        asked = verified(qdr, ledger.root, trust, "--head", head)
        assert (asked.code, asked["anchors"][0]) == (1, "failed")


def test_a_cut_that_is_on_record_explains_a_late_begin(
    ledger: Ledger, trust: Path, qdr: Any
) -> None:
    second = json.loads(ledger.file(2).read_bytes())
    ledger.append(cut=Cut(first_kept=2, previous=second["previous"]))
    entry = ledger.file(1)
    records = [w["path"] for w in json.loads(entry.read_bytes())["records"]]
    entry.unlink()
    entry.with_name(f"{entry.name}.sig").unlink()
    asked = verified(qdr, ledger.root, trust)
    assert asked["chain"][0] == "ok"
    assert "begins at entry 2 by a cut" in asked["chain"][1]
    assert asked["unnamed"][0] == "doubt", records


def test_two_ledgers_of_one_repository_that_differ_are_a_fork(
    key: PrivateKey, tmp_path: Path, trust: Path, qdr: Any
) -> None:
    one, two = (Ledger(tmp_path / name, key) for name in ("one", "two"))
    one.append()
    two.append(job="verify")
    asked = verified(qdr, one.root, trust, "--against", str(two.root))
    assert (asked.code, asked["anchors"][0]) == (1, "failed")
    assert "another history" in asked["anchors"][1]


def test_an_adopted_repository_goes_on(ledger: Ledger, trust: Path, qdr: Any) -> None:
    from qdrant_dr.records.repository import RepositoryRecord

    before, ledger.id = ledger.id, "0f0f0f0f"
    record = RepositoryRecord(
        id=ledger.id, layout="plain", created_at=made.NOW, tool_version="1", adopted_from=(before,)
    )
    ledger.put(layout.REPOSITORY, record.to_bytes())
    ledger.append(adopted_from=before, location=bucket("mirror"))
    assert verified(qdr, ledger.root, trust).code == 0
    ledger.id = "0e0e0e0e"  # another one, and no word of it
    ledger.append()
    asked = verified(qdr, ledger.root, trust)
    assert (asked.code, asked["chain"][0], asked["repository"][0]) == (1, "failed", "failed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--head", "3"), "is no head"),
        (("--allowed-signers", "nowhere"), "cannot be read"),
        (("--against", "./nowhere"), "is not there"),
    ],
)
def test_wrong_words_are_refused(
    words: tuple[str, ...], said: str, ledger: Ledger, qdr: Any
) -> None:
    answer = qdr("evidence", "verify", ledger.root, *words)
    assert answer.code == 2
    assert said in answer.err


def test_a_trust_file_that_names_nobody_or_nonsense_is_refused(
    ledger: Ledger, tmp_path: Path, qdr: Any
) -> None:
    empty, wrong = tmp_path / "empty", tmp_path / "wrong"
    empty.write_text("# nobody\n")
    wrong.write_text("ana ssh-ed25519 nonsense\n")
    for file in (empty, wrong):
        said = qdr("evidence", "verify", ledger.root, "--allowed-signers", file)
        assert said.code in (1, 2)
        assert str(file) in said.err
        assert "HINT" in said.err


def test_a_folder_above_the_copies_is_explained(ledger: Ledger, qdr: Any) -> None:
    said = qdr("evidence", "verify", ledger.root.parent)
    assert said.code == 2
    assert "below it are one" in said.err


@pytest.mark.parametrize("stored", [None, "as it says"])
def test_a_key_that_ended_cannot_date_its_entries_back(
    stored: str | None, ledger: Ledger, key: PrivateKey, trust: Path, qdr: Any
) -> None:
    """Whoever stole a key that was replaced says that it was then; what it follows says when."""
    new = new_key()
    rotated = ledger.at + HOUR
    ledger.append(round_of(ledger, rotated), next_key=new.public.line)
    for _ in range(9):
        ledger.append(round_of(ledger, ledger.at + HOUR), key=new)
    ended = trust_line(key, valid_before=rotated + timedelta(seconds=2))
    trust.write_text(ended + trust_line(new, valid_after=rotated))
    assert verified(qdr, ledger.root, trust).wrong == []
    at = rotated - timedelta(minutes=1)
    ledger.append(
        {"backups/shop/made-0123abcd/up.json": made.run_start(at=at).to_bytes()},
        at=at,
        previous_stored_at=at if stored else None,
    )
    asked = verified(qdr, ledger.root, trust)
    assert asked.code == 1
    assert asked["signatures"][0] == "failed"
    assert asked["times"][0] == "doubt"


def test_a_clock_that_was_ahead_once_dates_nothing_back_after_it(
    ledger: Ledger, key: PrivateKey, trust: Path, qdr: Any
) -> None:
    """The store took that entry when it did, as the next one says."""
    ledger.append(at=ledger.at + timedelta(days=300))
    ledger.append()
    trust.write_text(trust_line(key, valid_before=ledger.at + HOUR))
    asked = verified(qdr, ledger.root, trust)
    assert (asked["signatures"][0], asked["times"][0]) == ("doubt", "ok")
    assert "entry 4" in asked["signatures"][1]
    assert "entry 5" not in asked["signatures"][1]


def test_a_name_of_adoption_excuses_no_date(ledger: Ledger, trust: Path, qdr: Any) -> None:
    ledger.append(at=ledger.at - timedelta(hours=9), adopted_from="99999999")
    asked = verified(qdr, ledger.root, trust)
    assert asked["times"][0] == "failed"


def test_a_repository_is_no_witness_of_itself(ledger: Ledger, trust: Path, qdr: Any) -> None:
    asked = verified(qdr, ledger.root, trust, "--against", str(ledger.root))
    assert asked["anchors"][0] == "not checked"


def test_what_a_daily_look_found_is_vouched_for_by_nobody(
    ledger: Ledger, key: PrivateKey, trust: Path, qdr: Any
) -> None:
    forged = round_of(ledger, ledger.at + HOUR)
    found = tuple(ledger.put(path, data) for path, data in forged.items())
    ledger.append(found=found)
    asked = verified(qdr, ledger.root, trust)
    assert asked.code == 3
    assert asked.wrong == ["insertions"]
    state, said = asked["insertions"]
    assert state == "doubt"
    assert f"{len(found)} records that no run wrote into the ledger" in said


def test_what_a_run_left_that_had_died_is_explained(ledger: Ledger, trust: Path, qdr: Any) -> None:
    left = round_of(ledger, ledger.at + HOUR)
    found = tuple(ledger.put(path, data) for path, data in left.items())
    (start,) = (Path(w.path).name for w in found if w.path.endswith(".start.json"))
    ledger.append(found=found, crashed=(start.removesuffix(".start.json"),))
    assert verified(qdr, ledger.root, trust).code == 0
    other = round_of(ledger, ledger.at + HOUR)  # another run's records are not those of this one
    ledger.append(
        found=tuple(ledger.put(path, data) for path, data in other.items()),
        crashed=(start.removesuffix(".start.json"),),
    )
    assert verified(qdr, ledger.root, trust)["insertions"][0] == "doubt"
