"""docs/keys.md is enough to open a seal without us: nothing here is taken from our code."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.support import records as made
from tests.support.encrypted import encrypted_on_disk, opened

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()


def derived(secret: bytes, salt: bytes, info: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, info).derive(secret))


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def open_box(path: str, data: bytes, master: bytes | None) -> bytes:
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    magic, key_id, salt, table_size, n = struct.unpack(">8s8s32sII", data[-88:-32])
    assert data[:8] == magic == b"QDRBOX1\n"
    cipher = derived(master, salt, b"qdr box 1\0" + path.encode()) if master else None
    assert (key_id == bytes(8)) == (master is None)
    table = data[-88 - table_size : -88]
    if cipher:
        table = cipher.decrypt((2**64).to_bytes(12, "big"), table, None)
    found, at = b"", 8
    for i in range(n):
        stored, size, method, sha256 = struct.unpack_from(">IIB32s", table, 41 * i)
        block, at = data[at : at + stored], at + stored
        if cipher:
            block = cipher.decrypt(i.to_bytes(12, "big"), block, None)
        if method == 1:
            block = zstandard.ZstdDecompressor().decompress(block, max_output_size=size)
        assert (len(block), hashlib.sha256(block).digest()) == (size, sha256)
        found += block
    return found


def test_a_seal_is_opened_by_the_page_alone(tmp_path: Path) -> None:
    cfg = encrypted_on_disk(tmp_path)
    seal = made.seal(made.manifest("movies"), suspect=("only the seal knows",) * 5000)
    opened(cfg).put_seal(seal)
    root = tmp_path / "vault"
    (file,) = root.glob("keys/*/*.json")
    slot = json.loads(file.read_bytes())
    secret = bytes.fromhex((tmp_path / "vault.key").read_text())
    path = str(file.relative_to(root)).removesuffix(".json")
    where = f"{path}.json"
    cipher = derived(secret, bytes.fromhex(slot["salt"]), b"qdr slot 1\0" + where.encode())
    master = cipher.decrypt(bytes(12), bytes.fromhex(slot["wrapped"]), None)
    assert hmac.digest(master, b"qdr key check", "sha256").hex() == slot["check"]
    assert hmac.digest(master, b"qdr key id", "sha256")[:8].hex() == slot["key_id"]
    rest = {k: v for k, v in slot.items() if k not in ("mac", "format", "kind", "sha256")}
    said = b"qdr key slot\0" + canonical(rest)
    assert hmac.digest(master, said, "sha256").hex() == slot["mac"]
    (box,) = root.rglob("seal.json")
    assert open_box(str(box.relative_to(root)), box.read_bytes(), master) == seal.to_bytes()


def test_the_page_tells_every_word_that_is_needed() -> None:
    for word in (
        "QDRBOX1", "qdr box 1", "qdr slot 1", "qdr key check", "qdr key id", "qdr key slot",
        "qdr next key", "HKDF-SHA-256", "AES-256-GCM", "2^64", "2^17", "big-endian", "NFC",
    ):  # fmt: skip
        assert word in PAGE
