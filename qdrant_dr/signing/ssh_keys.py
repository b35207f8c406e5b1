"""Keys as OpenSSH writes them: public lines, their fingerprints, and a worker's private key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from qdrant_dr.errors import SignatureInvalid, SigningKeyUnusable
from qdrant_dr.secrets import resolve_text
from qdrant_dr.signing.wire import Reader, string

ED25519 = "ssh-ed25519"
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: the blob that OpenSSH puts, in base64, on a line."""

    blob: bytes

    @property
    def type(self) -> str:
        """Return the name of its kind, such as `ssh-ed25519`."""
        return Reader(self.blob).string().decode("ascii", "replace")

    @property
    def fingerprint(self) -> str:
        """Return what `ssh-keygen -l` prints: `SHA256:...`."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def line(self) -> str:
        """Return it as a line of a `.pub` file, without a comment."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


class Signer(Protocol):
    """Whoever can sign: a key of this process, or an agent that holds one."""

    @property
    def public(self) -> PublicKey:
        """Return the public key."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature as SSH encodes it: its kind, then its bytes."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 key that a worker signs with."""

    key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PublicKey(string(ED25519.encode()) + string(raw))

    def sign(self, data: bytes) -> bytes:
        return string(ED25519.encode()) + string(self.key.sign(data))

    def to_text(self) -> str:
        """Return it as `ssh-keygen` writes it: a secret."""
        form = PrivateFormat.OpenSSH
        return self.key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def new_key() -> PrivateKey:
    """Make a key."""
    return PrivateKey(Ed25519PrivateKey.generate())


def read_public_line(line: str) -> PublicKey:
    """Read a line of a `.pub` file. Raise SignatureInvalid if it is none."""
    words = line.split()
    try:
        key = PublicKey(base64.b64decode(words[1], validate=True))
        good = key.type == words[0]
    except (IndexError, binascii.Error, ValueError, SignatureInvalid):
        good = False
    if not good:
        raise SignatureInvalid(f"{line.strip()[:80]!r} is no public key of OpenSSH")
    return key


def read_private_key(reference: str) -> PrivateKey:
    """Read the key behind `file:`, `env:` or `secret:`.

    Raise SecretMissing if nothing is there, SigningKeyUnusable if it is no Ed25519 key without a
    passphrase, or a file that other users may read; no error holds any of it.
    """
    if reference.startswith("file:"):
        _refuse_shared(Path(reference.removeprefix("file:")).expanduser(), reference)
    return parse_private_key(resolve_text(reference), reference)


def key_in_file(file: Path) -> PrivateKey:
    """Return the key in this file; one that is not there is made, readable for its owner alone.
    Raise SigningKeyUnusable."""
    file = file.expanduser()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_private_key(f"file:{file}")
    except OSError as e:
        raise SigningKeyUnusable(
            f"{file} cannot be made: {e.strerror}", "name another file with `--key`."
        ) from None
    key = new_key()
    with os.fdopen(made, "w") as out:
        out.write(key.to_text())
    return key


def parse_private_key(text: str, where: str) -> PrivateKey:
    """Parse a private key in OpenSSH's format; `where` names it in errors."""
    try:
        key = load_ssh_private_key(f"{text.strip()}\n".encode(), password=None)
    except TypeError:
        raise SigningKeyUnusable(
            f"{where} is protected by a passphrase, which no worker can type",
            "make one without: `qdrant-dr signing init`; people sign by their agent.",
        ) from None
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise SigningKeyUnusable(f"{where} is no private key in OpenSSH's format") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyUnusable(f"{where} is not an Ed25519 key: a worker signs with no other")
    return PrivateKey(key)


def _refuse_shared(path: Path, reference: str) -> None:
    try:
        there = path.stat()
    except OSError:
        return  # reading it says why
    if os.name == "posix" and there.st_mode & _OTHERS:
        raise SigningKeyUnusable(
            f"{reference} can be read by other users (mode {there.st_mode & 0o777:04o}), so what "
            "it signs proves nothing",
            f"`chmod 600 {path}`; if others could have read it, replace it: "
            "`qdrant-dr signing rotate --key FILE`.",
        )
