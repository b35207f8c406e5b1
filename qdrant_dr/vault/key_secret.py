"""What opens a slot of a master key: a passphrase, a key file, an identity of age.

The text of a secret says what it is: 64 hex digits are a key file, `AGE-SECRET-KEY-...` and private
SSH keys are identities of age, `QDR-MASTER-KEY-1 ...` is what `key export` wrote, and anything else
is a passphrase.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

import pyrage

from qdrant_dr.errors import KeyWrong
from qdrant_dr.vault.master_key import KEY_SIZE

SHORTEST = 12
"""Characters of a passphrase: whoever has the bucket may try as many as he likes."""
EXPORTED = "QDR-MASTER-KEY-1"

_KEY_FILE = re.compile(r"[0-9a-fA-F]{64}")
_IDENTITY = re.compile(r"AGE-SECRET-KEY-|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_RECIPIENT = re.compile(r"age1|ssh-")
KINDS = {
    "passphrase": "passphrase",
    "key-file": "key file",
    "age": "age identity",
    "exported": "exported master key",
}
"""In words."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens slots. The text is in no `repr`."""

    kind: Literal["passphrase", "key-file", "age", "exported"]
    text: str = field(repr=False)


def parse_secret(text: str, where: str) -> Secret:
    """Say what a secret is. Raise KeyWrong for one that cannot be used; it shows none of it."""
    text = text.strip()
    lines = [line for line in text.splitlines() if line]
    if not lines:
        raise KeyWrong(f"{where} is empty")
    told = [line for line in lines if not line.startswith("#")] or lines  # age-keygen comments
    if told[0].startswith(EXPORTED):
        return Secret("exported", "\n".join(told))
    if _IDENTITY.match(told[0]):
        return Secret("age", text)
    if _RECIPIENT.match(told[0]):
        raise KeyWrong(
            f"{where} is a recipient of age, which opens nothing",
            "give the identity that belongs to it: its file begins with AGE-SECRET-KEY or is a "
            "private SSH key.",
        )
    if len(lines) > 1:
        raise KeyWrong(
            f"{where} has {len(lines)} lines and is no identity of age",
            "a key file is one line of 64 hex digits, and a passphrase one line.",
        )
    if _KEY_FILE.fullmatch(text):
        return Secret("key-file", text.lower())
    if len(text) < SHORTEST:
        raise KeyWrong(
            f"{where} is a passphrase of fewer than {SHORTEST} characters",
            "take six random words, or a key file: `openssl rand -hex 32`.",
        )
    return Secret("passphrase", unicodedata.normalize("NFC", text))


def new_key_file() -> str:
    """Return the text of a key file that nobody has."""
    return secrets.token_hex(KEY_SIZE) + "\n"


def recipient_of(secret: Secret) -> str:
    """Return the public key of an identity. Raise KeyWrong where age cannot tell it."""
    line = next(
        (line for line in secret.text.splitlines() if line.startswith("AGE-SECRET-KEY-1")), None
    )
    if line is None:
        raise KeyWrong(
            "the recipient of a private SSH key must be named",
            "make the first slot with a key file; then run `qdrant-dr key add REPOSITORY "
            "--recipient RECIPIENT` with the public key.",
        )
    return str(identities(secret)[0].to_public())


def parse_recipient(text: str) -> object:
    """Parse an X25519, SSH or tagged recipient of age. Raise KeyWrong; a secret is not shown."""
    if _IDENTITY.match(text.strip()):
        raise KeyWrong(
            "this is an identity, which is secret", "give the recipient, its public key."
        )
    for kind in (pyrage.x25519, pyrage.ssh, pyrage.tag, pyrage.tagpq):
        try:
            return kind.Recipient.from_str(text)
        except pyrage.RecipientError:
            continue
    raise KeyWrong(
        f"{text[:80]!r} is no recipient of age", "give one that begins with age1 or ssh-."
    )


def identities(secret: Secret) -> list[pyrage.x25519.Identity | pyrage.ssh.Identity]:
    """Parse the private keys of a secret. Raise KeyWrong."""
    try:
        if secret.text.startswith("-----"):
            return [pyrage.ssh.Identity.from_buffer(secret.text.encode() + b"\n")]
        return [
            pyrage.x25519.Identity.from_str(line.strip())
            for line in secret.text.splitlines()
            if line.startswith("AGE-SECRET-KEY-")
        ]
    except pyrage.IdentityError:
        raise KeyWrong("the identity of age cannot be read: is it cut, or locked itself?") from None
