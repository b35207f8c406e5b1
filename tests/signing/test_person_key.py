"""The key of a person: a file, or one that their agent holds, chosen by its .pub file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr.errors import SigningKeyUnusable
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import REVIEW
from qdrant_dr.signing.person_key import person_key
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key

needs_agent = pytest.mark.skipif(
    not (shutil.which("ssh-agent") and shutil.which("ssh-add")), reason="no ssh-agent is installed"
)


def key_file(folder: Path, name: str) -> tuple[PrivateKey, Path]:
    key, file = new_key(), folder / name
    file.touch(mode=0o600)
    file.write_text(key.to_text())
    file.with_suffix(".pub").write_text(f"{key.public.line} {name}\n")
    return key, file


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent of its own, stopped by its process id."""
    said = subprocess.run(
        ["ssh-agent", "-s", "-a", tmp_path / "agent"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"SSH_AGENT_PID=(\d+)", said)
    assert found is not None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    yield
    os.kill(int(found[1]), 15)


def test_a_file_signs_by_its_path_or_reference(tmp_path: Path) -> None:
    key, file = key_file(tmp_path, "ana")
    for given in (str(file), f"file:{file}"):
        signed = sshsig.sign(b"a record", person_key(given), REVIEW)
        assert sshsig.verify(b"a record", signed, REVIEW) == key.public


@needs_agent
@pytest.mark.usefixtures("agent")
def test_an_agent_signs_with_its_only_key_or_the_one_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyUnusable, match="holds no key"):
        person_key("agent")
    keys = [key_file(tmp_path, name) for name in ("ana", "bea")]
    for n, (key, file) in enumerate(keys):
        subprocess.run(["ssh-add", "-q", file], check=True, capture_output=True)
        if n == 0:
            signed = sshsig.sign(b"a record", person_key("agent"), REVIEW)
            assert sshsig.verify(b"a record", signed, REVIEW) == key.public
    with pytest.raises(SigningKeyUnusable, match="holds 2 keys"):
        person_key("agent")
    for key, file in keys:
        signed = sshsig.sign(b"a record", person_key(str(file.with_suffix(".pub"))), REVIEW)
        assert sshsig.verify(b"a record", signed, REVIEW) == key.public
    other = key_file(tmp_path, "carl")[1].with_suffix(".pub")
    with pytest.raises(SigningKeyUnusable, match="does not hold"):
        person_key(str(other))


@pytest.mark.parametrize("text", [None, "no key", "ssh-ed25519 !!"])
def test_a_pub_file_that_is_none_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ana.pub"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SigningKeyUnusable, match=r"ana\.pub"):
        person_key(str(file))
