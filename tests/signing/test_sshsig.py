"""Signatures are those of ssh-keygen, byte for byte, and it believes ours."""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.errors import SignatureInvalid, SigningKeyUnusable
from qdrant_dr.signing import allowed_signers, sshsig
from qdrant_dr.signing.allowed_signers import LEDGER, REVIEW, AllowedSigner
from qdrant_dr.signing.ssh_agent import agent_key
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key, parse_private_key, read_private_key

KEY = PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
SECRET = KEY.to_text()
MESSAGE = b'{"kind":"ledger-entry"}'
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)

needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"
)


def test_a_signature_is_what_ssh_keygen_once_wrote():
    key = parse_private_key(SECRET, "the key")
    golden = (Path(__file__).parent / "golden" / "message.sig").read_bytes()
    assert sshsig.sign(MESSAGE, key, LEDGER) == golden
    assert sshsig.verify(MESSAGE, golden, LEDGER) == key.public


@needs_ssh_keygen
def test_ssh_keygen_writes_the_same_and_believes_ours(tmp_path):
    key = new_key()
    private = tmp_path / "key"
    private.touch(mode=0o600)
    private.write_text(key.to_text())
    message = tmp_path / "message"
    message.write_bytes(MESSAGE)
    run(["ssh-keygen", "-Y", "sign", "-f", private, "-n", LEDGER, message])
    assert sshsig.sign(MESSAGE, key, LEDGER) == (tmp_path / "message.sig").read_bytes()
    signers = tmp_path / "allowed_signers"
    line = AllowedSigner("ledger@prod", key.public, LEDGER, NOW, NOW + timedelta(days=1)).line
    signers.write_text(f"{line}\n")
    verify = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "ledger@prod", "-s",
              tmp_path / "message.sig"]  # fmt: skip
    good = ["-n", LEDGER, "-O", "verify-time=20261130130000Z"]
    assert run([*verify, *good], MESSAGE, check=False) == 0
    assert run([*verify, *good], MESSAGE + b" ", check=False) != 0
    assert run([*verify, "-n", REVIEW, *good[2:]], MESSAGE, check=False) != 0
    assert run([*verify, *good[:3], "verify-time=20261202Z"], MESSAGE, check=False) != 0


@needs_ssh_keygen
@pytest.mark.parametrize("kind", [("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "521")])
def test_what_people_sign_with_is_checked(tmp_path, kind):
    private, message = tmp_path / "key", tmp_path / "message"
    message.write_bytes(MESSAGE)
    run(["ssh-keygen", "-q", "-N", "", "-f", private, "-t", kind[0], "-b", kind[1]])
    run(["ssh-keygen", "-Y", "sign", "-f", private, "-n", REVIEW, message])
    signature = (tmp_path / "message.sig").read_bytes()
    assert sshsig.verify(MESSAGE, signature, REVIEW).line in private.with_suffix(".pub").read_text()
    with pytest.raises(SignatureInvalid, match="did not sign these bytes"):
        sshsig.verify(MESSAGE + b" ", signature, REVIEW)
    with pytest.raises(SigningKeyUnusable, match="not an Ed25519 key"):
        read_private_key(f"file:{private}")


@given(st.binary(max_size=300), st.integers(0, 185), st.integers(1, 255))
def test_one_changed_byte_is_seen(message, at, by):
    blob = bytearray(sshsig.unarmor(sshsig.sign(message, KEY, LEDGER)))
    blob[at] ^= by
    with pytest.raises(SignatureInvalid):
        sshsig.verify(message, sshsig.armor(bytes(blob)), LEDGER)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"-----BEGIN SSH SIGNATURE-----\n",
        b"\xff" * 40,
        b"-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----\n",
    ],
)
def test_what_is_no_signature_is_refused(text):
    with pytest.raises(SignatureInvalid):
        sshsig.verify(MESSAGE, text, LEDGER)


def test_text_around_a_signature_is_refused():
    good = sshsig.sign(MESSAGE, KEY, LEDGER)
    for bad in (b"hello\n" + good, good + b"hello\n"):
        with pytest.raises(SignatureInvalid):
            sshsig.verify(MESSAGE, bad, LEDGER)


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    file = tmp_path / "key"
    file.write_text(SECRET)
    file.chmod(0o640)
    with pytest.raises(SigningKeyUnusable, match="other users") as e:
        read_private_key(f"file:{file}")
    assert "chmod 600" in e.value.hint
    file.chmod(0o600)
    assert read_private_key(f"file:{file}").to_text().splitlines()[0] == SECRET.splitlines()[0]


@pytest.mark.parametrize("text", ["hello", SECRET[:100], SECRET.replace("AAAA", "BBBB")])
def test_a_key_that_is_none_says_so_without_showing_it(text):
    with pytest.raises(SigningKeyUnusable) as e:
        parse_private_key(text, "env:KEY")
    assert "env:KEY" in e.value.message
    assert text[20:40] not in str(e.value) or text == "hello"


LINES = """
# who may sign
ledger@prod namespaces="ledger@qdrant-dr",valid-after="20261101Z" {key} the worker
"ana k,ana@example.org" {key}
bob cert-authority,namespaces="*" {key}
"""


def test_allowed_signers_are_read_and_written_alike():
    key = KEY.public
    worker, ana, bob = allowed_signers.parse(LINES.format(key=key.line), "file")
    assert worker.objection(LEDGER, NOW) is None
    assert "not for" in worker.objection(REVIEW, NOW)
    assert "from 2026-11-01" in worker.objection(LEDGER, datetime(2026, 10, 31, tzinfo=UTC))
    assert ana.objection("anything", NOW) is None
    assert "certificates" in bob.objection(LEDGER, NOW)
    ended = allowed_signers.ended(worker, NOW)
    assert allowed_signers.parse(ended.line, "file") == (ended,)
    assert ended.objection(LEDGER, NOW) is None  # as ssh-keygen has it
    assert "until 2026-11-30" in ended.objection(LEDGER, NOW + timedelta(seconds=1))
    assert allowed_signers.find([ended, worker], key, LEDGER, NOW + timedelta(days=1)) == worker
    with pytest.raises(SignatureInvalid, match="no line"):
        allowed_signers.find([ended], new_key().public, LEDGER, NOW)


@pytest.mark.parametrize(
    "line",
    [
        "ledger@prod",
        "a ssh-ed25519 AAAA",
        'a what="x" ssh-ed25519 AAAA',
        'a valid-after="soon" {key}',
        'a namespaces="x {key}',
    ],
)
def test_a_bad_line_is_named(line):
    key = KEY.public
    with pytest.raises(SignatureInvalid, match="file, line 2"):
        allowed_signers.parse("\n" + line.format(key=key.line), "file")


AS_SSH = [
    "who {key}",
    "who\t{key}",
    'who namespaces="ledger@qdrant-dr" {key} a comment',
    'who Namespaces="ledger@*,other" {key}',
    'who namespaces="!ledger@qdrant-dr,*" {key}',
    'who namespaces="[l]edger@qdrant-dr" {key}',
    'who namespaces="ledger@qdrant-d[r]" {key}',
    'who namespaces="other, ledger@qdrant-dr" {key}',
    'who namespaces="other,ledger@qdrant-d?" {key}',
    'who namespaces="Ledger@qdrant-dr" {key}',
    'who valid-before="20261130120000Z" {key}',
    'who valid-before="20261130115959Z" {key}',
    'who valid-after="20261130120000z" {key}',
    'who valid-after="20261130120001Z" {key}',
    "who cert-authority {key}",
    "# who\u2028who {key}",
    "# who\x0cwho {key}",
    "# who\rwho {key}",
    "who {other}",
]


@needs_ssh_keygen
@pytest.mark.parametrize("line", AS_SSH)
def test_a_line_allows_what_it_allows_ssh_keygen(tmp_path, line):
    """At 12:00:00.7: ssh-keygen is given whole seconds."""
    text = line.format(key=KEY.public.line, other=new_key().public.line) + "\n"
    signers, signature = tmp_path / "signers", tmp_path / "signature"
    signers.write_text(text, newline="")
    signature.write_bytes(sshsig.sign(MESSAGE, KEY, LEDGER))
    told = run(
        ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "who", "-n", LEDGER, "-s", signature,
         "-O", "verify-time=20261130120000Z"],
        MESSAGE, check=False,
    )  # fmt: skip
    try:
        at = NOW + timedelta(seconds=0.7)
        allowed_signers.find(allowed_signers.parse(text, "file"), KEY.public, LEDGER, at)
    except SignatureInvalid:
        ours = False
    else:
        ours = True
    assert ours is (told == 0)


def run(command: list[object], stdin: bytes = b"", *, check: bool = True) -> int:
    done = subprocess.run(
        list(map(str, command)), input=stdin, capture_output=True, check=check, timeout=60
    )
    return done.returncode


@needs_ssh_keygen
@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh-agent is not installed")
def test_an_agent_signs_for_people(tmp_path, monkeypatch):
    private = tmp_path / "key"
    private.touch(mode=0o600)
    private.write_text(KEY.to_text())
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as agent:
        try:
            deadline = time.monotonic() + 30
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            with pytest.raises(SigningKeyUnusable, match="does not hold"):
                agent_key(KEY.public)
            run(["ssh-add", "-q", private])
            signature = sshsig.sign(MESSAGE, agent_key(KEY.public), REVIEW)
            assert signature == sshsig.sign(MESSAGE, KEY, REVIEW)
        finally:
            agent.terminate()


def test_without_an_agent_the_next_step_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(SigningKeyUnusable, match="SSH_AUTH_SOCK") as e:
        agent_key(KEY.public)
    assert "ssh-add" in e.value.hint
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(SigningKeyUnusable, match="does not answer"):
        agent_key(KEY.public)
