"""Judge signatures by the auditor's `allowed_signers` file, each at the time of its entry: no
earlier than what it follows.

A key that an entry names as the next one, signed by a key that was trusted then, is known to follow
it, and is a doubt until the file has it: whoever stole the old key could name one as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qdrant_dr.errors import SignatureInvalid, UsageError
from qdrant_dr.evidence.earliest import Earliest
from qdrant_dr.evidence.ledger_reader import Line
from qdrant_dr.evidence.signatures import Judged
from qdrant_dr.signing import allowed_signers
from qdrant_dr.signing.allowed_signers import LEDGER, AllowedSigner
from qdrant_dr.signing.ssh_keys import PublicKey, read_public_line

Trust = Sequence[AllowedSigner]


def read_trust(file: Path) -> Trust:
    """Read the file. Raise UsageError if it is missing or names nobody, SignatureInvalid for a line
    that cannot be read."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is no text"
        raise UsageError(
            f"--allowed-signers {file} cannot be read: {why}",
            "name the file that the owner of the key gave you: a line is `ledger@prod "
            'namespaces="ledger@qdrant-dr" ssh-ed25519 AAAA...`.',
        ) from None
    if not (signers := allowed_signers.parse(text, str(file))):
        raise UsageError(
            f"--allowed-signers {file} names nobody",
            "add the line that `qdrant-dr signing init` printed: "
            "`qdrant-dr signing trust KEY --as NAME`.",
        )
    return signers


@dataclass(slots=True)
class Keys:
    """Who may sign the next entry; None: nobody was named, and each signature is only compared with
    its entry."""

    trust: Trust | None
    _named: dict[PublicKey, tuple[int, str]] = field(default_factory=dict)
    """Keys that trusted entries named: by which entry, and who signed that."""
    _earliest: Earliest = field(default_factory=Earliest)

    def judge(self, line: Line) -> Judged | None:
        """Judge the signature of the next entry; None if it has none."""
        signed, entry = line.signed, line.entry
        at = self._earliest.time(entry.at, entry.previous_stored_at) if entry is not None else None
        if signed is None:
            return None
        if isinstance(signed, SignatureInvalid):
            return Judged(wrong=signed.message)
        if self.trust is None:
            return Judged(signed.fingerprint)
        if at is None:
            return Judged(signed.fingerprint, untrusted="its time is not known")
        try:
            by = allowed_signers.find(self.trust, signed, LEDGER, at).principals
        except SignatureInvalid as e:
            named = self._named.get(signed)
            if named is None or any(s.public == signed for s in self.trust):
                return Judged(signed.fingerprint, untrusted=e.message)
            self._follow(line, named[1])
            introduced = f"(named as the next key by entry {named[0]}, which {named[1]} signed)"
            return Judged(signed.fingerprint, f"a key after {named[1]}", introduced=introduced)
        self._follow(line, by)
        return Judged(signed.fingerprint, by)

    def _follow(self, line: Line, by: str) -> None:
        if line.entry is None or line.entry.next_key is None:
            return
        try:
            key = read_public_line(line.entry.next_key)
        except SignatureInvalid:
            return  # who signs with it is not trusted, and is told so
        self._named[key] = (line.number, by)
