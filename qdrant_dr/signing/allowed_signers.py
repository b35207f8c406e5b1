"""Who is believed: an `allowed_signers` file as `ssh-keygen -Y verify` reads it.

    ledger@prod namespaces="ledger@qdrant-dr",valid-after="20261101Z" ssh-ed25519 AAAA...

A key is judged at the time of what it signed: one that was replaced since stays good for its time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from qdrant_dr.errors import SignatureInvalid
from qdrant_dr.signing.ssh_keys import PublicKey, read_public_line

LEDGER = "ledger@qdrant-dr"
"""The namespace of entries of a ledger."""
REVIEW = "review@qdrant-dr"
"""The namespace of what a person reviewed and accepted."""
REJECTION = "rejection@qdrant-dr"
"""The namespace of what a person reviewed and did not accept: whoever may review may do both."""

_BLANKS = " \t\r\n"
_OPTION = re.compile(r'([A-Za-z-]+)(?:="([^"]*)")?(?:,|$)')
_PRINCIPALS = re.compile(r'(?:"([^"]+)"|([^ \t\r"]+))[ \t\r]+')
_FORMS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """One line: who signs, for what, by which key, and when."""

    principals: str
    public: PublicKey
    namespaces: str | None = None
    valid_after: datetime | None = None
    valid_before: datetime | None = None
    authority: bool = False
    """It signs certificates: only `ssh-keygen` judges by those."""

    def objection(self, namespace: str, at: datetime) -> str | None:
        """Say why a signature of then is not covered; None if it is."""
        if self.authority:
            return "only certificates by it are allowed, which ssh-keygen alone judges"
        if self.namespaces is not None and not _among(namespace, self.namespaces):
            return f"it is allowed for {self.namespaces}, not for {namespace}"
        second = at.replace(microsecond=0)  # ssh-keygen knows no smaller time
        if self.valid_after is not None and second < self.valid_after:
            return f"it is valid from {self.valid_after:%Y-%m-%d %H:%M:%S} UTC only"
        if self.valid_before is not None and second > self.valid_before:
            return f"it was valid until {self.valid_before:%Y-%m-%d %H:%M:%S} UTC"
        return None

    @property
    def line(self) -> str:
        """Return it as a line of the file."""
        options = [
            *(["cert-authority"] if self.authority else []),
            *([f'namespaces="{self.namespaces}"'] if self.namespaces is not None else []),
            *([f'valid-after="{_written(self.valid_after)}"'] if self.valid_after else []),
            *([f'valid-before="{_written(self.valid_before)}"'] if self.valid_before else []),
        ]
        return " ".join(filter(None, [self.principals, ",".join(options), self.public.line]))


def parse(text: str, where: str) -> tuple[AllowedSigner, ...]:
    """Read a whole file; `where` names it in errors. Raise SignatureInvalid for a bad line."""
    found = []
    for at, line in enumerate(text.split("\n"), 1):  # what else Python takes for one, ssh does not
        if not (line := line.strip(_BLANKS)) or line.startswith("#"):
            continue
        try:
            found.append(_read(line))
        except (SignatureInvalid, ValueError) as e:
            what = e.message if isinstance(e, SignatureInvalid) else str(e)
            raise SignatureInvalid(
                f"{where}, line {at}: {what}",
                f"{where}: correct line {at}, or remove it; "
                "`qdrant-dr signing trust KEY --as NAME` adds one.",
            ) from None
    return tuple(found)


def find(
    signers: Iterable[AllowedSigner], public: PublicKey, namespace: str, at: datetime
) -> AllowedSigner:
    """Return the line that allows this key then. Raise SignatureInvalid if none does."""
    why = []
    for signer in signers:
        if signer.public != public:
            continue
        objection = signer.objection(namespace, at)
        if objection is None:
            return signer
        why.append(objection)
    raise SignatureInvalid(
        f"key {public.fingerprint} is not allowed: "
        + ("; ".join(why) if why else "no line of the trusted signers has it"),
        "compare it with what its owner says; `qdrant-dr signing trust KEY --as NAME` adds it.",
    )


def ended(signer: AllowedSigner, at: datetime) -> AllowedSigner:
    """Return the line of a key that is good for what it signed before then."""
    before = at if signer.valid_before is None else min(at, signer.valid_before)
    return replace(signer, valid_before=before)


def _read(line: str) -> AllowedSigner:
    match = _PRINCIPALS.match(line)
    if match is None:
        raise ValueError("it names no key")
    principals, rest = match[1] or match[2], line[match.end() :]
    first = rest.split(None, 1)[0] if rest else ""
    options: dict[str, str | None] = {}
    if first and not _is_key_type(first):
        end = _end_of_options(rest)
        options, rest = _options(rest[:end]), rest[end:].strip()
    known = {"namespaces", "valid-after", "valid-before", "cert-authority"}
    if unknown := options.keys() - known:
        raise ValueError(f"the option {min(unknown)!r} is not known")
    return AllowedSigner(
        principals,
        read_public_line(rest),
        options.get("namespaces"),
        _time(options.get("valid-after")),
        _time(options.get("valid-before")),
        "cert-authority" in options,
    )


def _is_key_type(word: str) -> bool:
    return word.startswith(("ssh-", "ecdsa-", "sk-"))


def _end_of_options(rest: str) -> int:
    quoted = False
    for at, c in enumerate(rest):
        if c == '"':
            quoted = not quoted
        elif c.isspace() and not quoted:
            return at
    raise ValueError("it names no key")


def _options(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None or match[1].lower() in found:
            raise ValueError(f"its options {text!r} cannot be read")
        found[match[1].lower()] = match[2]
        at = match.end()
    return found


def _among(namespace: str, patterns: str) -> bool:
    """As ssh: one of them matches, and none of those that begin with `!`; blanks are part of them,
    and only `*` and `?` stand for others."""
    each = patterns.split(",")
    if any(p.startswith("!") and _fits(namespace, p[1:]) for p in each):
        return False
    return any(_fits(namespace, p) for p in each if not p.startswith("!"))


def _fits(namespace: str, pattern: str) -> bool:
    return fnmatchcase(namespace, pattern.replace("[", "[[]"))


def _time(text: str | None) -> datetime | None:
    """`YYYYMMDD[HHMM[SS]][Z]`; without Z in this machine's time zone, as ssh-keygen reads it."""
    if text is None:
        return None
    digits = re.sub(r"(?:Z|UTC)$", "", text, flags=re.IGNORECASE)
    form = _FORMS.get(len(digits))
    if form is None or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text!r} is no time like 20261101Z")
    at = datetime.strptime(digits, form)  # noqa: DTZ007 -- the zone follows
    return at.replace(tzinfo=UTC) if digits != text else at.astimezone(UTC)


def _written(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%d%H%M%SZ}"
