"""A review is a record of its own: of what lies there, by whoever gave it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile
from qdrant_dr.cli import main
from qdrant_dr.errors import Conflict
from qdrant_dr.jobs.drill.sign import ended_run
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.records import RunEnd, Signed
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import REJECTION, REVIEW
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world

Sign = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["basic"]) as source:
        world = make_world(tmp_path_factory.mktemp("signed"), source.url)
        assert do(world, "backup").verdict == "ok"
    return world


@pytest.fixture(scope="module")
def drilled(world: World) -> RunEnd:
    end = do(world, "drill", engine="edge")
    assert end.verdict == "ok", end.reasons
    return end


@pytest.fixture
def sign(world: World, capsys: pytest.CaptureFixture[str]) -> Sign:
    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["--json", "-q", "-c", world.reference, "sign", *words])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_it_is_in_every_repository_over_the_record_as_it_lies_there(
    world: World, drilled: RunEnd, sign: Sign
) -> None:
    code, said = sign(drilled.start.run_id, "--as", "Bea Roth", "--note", "all is well")
    assert code == 0
    for name in ("one", "two"):
        end = world.ends(name)[-1]
        assert end.start.job == "sign"
        (outcome,) = end.outcomes
        assert isinstance(outcome.detail, Signed)
        (path,) = world.folders[name].glob(f"runs/**/{drilled.start.run_id}.end.json")
        signed = RunEnd.from_bytes(path.read_bytes(), where=str(path))
        assert outcome.detail.end_sha256 == signed.sha256
        assert (outcome.detail.reviewer, outcome.detail.accepted) == ("Bea Roth", True)
        assert outcome.notes == ("all is well",)
        assert end.source_kind == drilled.source_kind
    (row,) = said["rows"]
    assert row["remark"] == f"run {drilled.start.run_id} accepted by Bea Roth; all is well"


def test_without_a_name_it_is_the_account_and_that_is_who_ran_it(
    world: World, drilled: RunEnd, sign: Sign
) -> None:
    code, _ = sign(drilled.start.run_id, "--reject")
    assert code == 0
    end = world.ends("one")[-1]
    detail = end.outcomes[0].detail
    assert isinstance(detail, Signed)
    assert (detail.reviewer, detail.accepted) == (end.start.actor, False)
    assert end.outcomes[0].notes == (f"signed by {end.start.actor}, who ran it",)


@pytest.mark.parametrize(
    ("run_id", "why"),
    [
        ("yesterday", "'yesterday' is no run id"),
        ("20260101T000000Z-aaaaaa", "no run 20260101T000000Z-aaaaaa has ended"),
    ],
)
def test_what_is_no_run_is_refused(world: World, sign: Sign, run_id: str, why: str) -> None:
    code, said = sign(run_id)
    assert code == 2
    assert said["errors"][0]["message"].startswith(why)
    assert world.ends("one")[-1].verdict == "failed"


def test_another_run_than_of_drills_is_refused(world: World, sign: Sign) -> None:
    backup = next(e for e in world.ends("one") if e.start.job == "backup")
    code, said = sign(backup.start.run_id)
    assert code == 2
    assert "is a backup, neither a drill nor a restore" in said["errors"][0]["message"]


def test_a_repository_that_is_away_degrades_it_and_the_others_tell(
    world: World, drilled: RunEnd, sign: Sign
) -> None:
    away = world.folders["two"].with_suffix(".away")
    world.folders["two"].rename(away)
    try:
        code, _ = sign(drilled.start.run_id, "--as", "Bea")
    finally:
        away.rename(world.folders["two"])
    assert code == 3


def test_differing_end_records_cannot_be_signed(
    world: World, drilled: RunEnd, tmp_path: Path
) -> None:
    (path,) = world.folders["two"].glob(f"runs/**/{drilled.start.run_id}.end.json")
    kept = path.read_bytes()
    path.write_bytes(drilled.model_copy(update={"reasons": ("another",)}).to_bytes())
    try:
        run = begin(configfile.load(world.reference), "sign", parameters={"dry_run": True})
        with pytest.raises(Conflict, match="is not the same everywhere: one, two"):
            ended_run(run, drilled.start.run_id)
    finally:
        path.write_bytes(kept)


def test_a_damaged_record_is_not_signed_over_in_silence(
    world: World, drilled: RunEnd, sign: Sign
) -> None:
    (path,) = world.folders["two"].glob(f"runs/**/{drilled.start.run_id}.end.json")
    kept = path.read_bytes()
    path.write_bytes(kept[:-9])
    try:
        code, said = sign(drilled.start.run_id, "--as", "Bea")
    finally:
        path.write_bytes(kept)
    assert code == 3
    assert any("end.json" in e["message"] for e in said["errors"])


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, Path]:
    made, file = new_key(), tmp_path_factory.mktemp("bea") / "id_ed25519"
    file.touch(mode=0o600)
    file.write_text(made.to_text())
    return made, file


def last_signed(world: World) -> Signed:
    detail = world.ends("one")[-1].outcomes[0].detail
    assert isinstance(detail, Signed)
    return detail


@pytest.mark.parametrize(("words", "namespace"), [((), REVIEW), (("--reject",), REJECTION)])
def test_a_key_signs_the_bytes_that_lie_there(
    world: World,
    drilled: RunEnd,
    sign: Sign,
    key: tuple[PrivateKey, Path],
    words: tuple[str, ...],
    namespace: str,
) -> None:
    code, _ = sign(drilled.start.run_id, "--as", "Bea", "--key", str(key[1]), *words)
    assert code == 0
    signed = last_signed(world)
    assert signed.fingerprint == key[0].public.fingerprint
    (path,) = world.folders["two"].glob(f"runs/**/{drilled.start.run_id}.end.json")
    armored = signed.signature.encode()
    assert sshsig.verify(path.read_bytes(), armored, namespace) == key[0].public
    assert str(key[1]) not in world.ends("one")[-1].to_bytes().decode()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_ssh_keygen_checks_it_with_stock_tools(
    world: World, drilled: RunEnd, sign: Sign, key: tuple[PrivateKey, Path], tmp_path: Path
) -> None:
    sign(drilled.start.run_id, "--as", "Bea", "--key", str(key[1]))
    (tmp_path / "review.sig").write_text(last_signed(world).signature)
    (tmp_path / "allowed").write_text(f'bea namespaces="{REVIEW}" {key[0].public.line}\n')
    (path,) = world.folders["one"].glob(f"runs/**/{drilled.start.run_id}.end.json")
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "bea", "-n", REVIEW,
               "-s", tmp_path / "review.sig"]  # fmt: skip
    for data, accepted in ((path.read_bytes(), True), (b"another", False)):
        checked = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
        assert (checked.returncode == 0) is accepted, checked.stderr


def test_a_key_that_does_not_sign_leaves_no_review(
    world: World, drilled: RunEnd, sign: Sign, key: tuple[PrivateKey, Path], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.write_text(key[0].to_text())
    shared.chmod(0o644)
    for wrong, why in ((str(shared), "can be read by other users"), ("agent", "no SSH agent")):
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("SSH_AUTH_SOCK", raising=False)
            code, said = sign(drilled.start.run_id, "--as", "Bea", "--key", wrong)
        assert code == 2
        assert why in said["errors"][0]["message"]
        assert said["errors"][0]["hint"]
        assert world.ends("one")[-1].outcomes == ()
