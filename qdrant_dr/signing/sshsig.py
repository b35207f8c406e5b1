"""SSHSIG: what `ssh-keygen -Y sign` writes, byte for byte, and `ssh-keygen -Y verify` checks.

to sign : "SSHSIG" str(namespace) str("") str("sha512") str(SHA-512(message))
blob    : "SSHSIG" 00000001 str(public key) str(namespace) str("") str("sha512") str(signature)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from qdrant_dr.errors import SignatureInvalid
from qdrant_dr.signing.signature_kinds import check_signature
from qdrant_dr.signing.ssh_keys import PublicKey, Signer
from qdrant_dr.signing.wire import Reader, number, string

_MAGIC = b"SSHSIG"
_VERSION = 1
_COLUMNS = 70  # as ssh-keygen writes it; its specification says 76
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature, read: whose it claims to be, and for what."""

    public: PublicKey
    namespace: str
    hash_name: str
    signature: bytes


def sign(message: bytes, signer: Signer, namespace: str) -> bytes:
    """Sign; return the armored signature."""
    parts = string(namespace.encode()) + string(b"") + string(b"sha512")
    signature = signer.sign(_to_sign(message, namespace, "sha512"))
    return armor(_MAGIC + number(_VERSION) + string(signer.public.blob) + parts + string(signature))


def verify(message: bytes, armored: bytes, namespace: str) -> PublicKey:
    """Return the key that signed exactly these bytes for this purpose. Raise SignatureInvalid.

    Whether that key is to be believed is for `allowed_signers` to say.
    """
    found = parse(armored)
    if found.namespace != namespace:
        raise SignatureInvalid(
            f"it was made as a signature of {found.namespace!r}, not of {namespace!r}"
        )
    data = _to_sign(message, namespace, found.hash_name)
    check_signature(found.public, found.signature, data)
    return found.public


def parse(armored: bytes) -> SshSignature:
    """Take a signature apart, without checking it. Raise SignatureInvalid."""
    reader = Reader(unarmor(armored))
    if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != _VERSION:
        raise SignatureInvalid("it is no SSH signature of version 1")
    public, namespace = PublicKey(reader.string()), reader.string()
    reserved, hash_name, signature = reader.string(), reader.string(), reader.string()
    if reserved or reader.rest():
        raise SignatureInvalid("it has more bytes than an SSH signature")
    try:
        name = hash_name.decode()
        found = SshSignature(public, namespace.decode(), name, signature)
    except UnicodeDecodeError:
        raise SignatureInvalid("its namespace or hash is no text") from None
    if name not in _HASHES:
        raise SignatureInvalid(f"it hashes by {name!r}, which is not known")
    return found


def armor(blob: bytes) -> bytes:
    """Wrap a signature as ssh-keygen does."""
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def unarmor(armored: bytes) -> bytes:
    """Unwrap a signature. Raise SignatureInvalid for anything before or behind it."""
    try:
        lines = armored.decode("ascii").strip().splitlines()
        if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
            raise SignatureInvalid("it is no armored SSH signature")
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        raise SignatureInvalid("it is no armored SSH signature") from None


def _to_sign(message: bytes, namespace: str, hash_name: str) -> bytes:
    digest = _HASHES[hash_name](message).digest()
    return (
        _MAGIC + string(namespace.encode()) + string(b"") + string(hash_name.encode())
        + string(digest)
    )  # fmt: skip
