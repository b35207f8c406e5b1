"""Who signed the entries, judged at each entry's time; what no signature covers.

A signature covers its entry, and fixes by the hashes the bytes of all before it; it does not vouch
for one of those that nobody signed: somebody without a key may have put that there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.text import count


@dataclass(frozen=True, slots=True)
class Judged:
    """What the signature of one entry shows. `wrong`: it is none of this entry; `untrusted`: it is,
    and nothing says that its key may sign; `introduced`: a trusted key named this one as the next.
    No `principal`: nobody was asked."""

    fingerprint: str = ""
    principal: str | None = None
    wrong: str | None = None
    untrusted: str | None = None
    introduced: str | None = None


@dataclass(slots=True)
class Signatures:
    """The signatures so far. `asked`: there is a file that says whose keys are trusted."""

    asked: bool
    last: int = 0
    trusted: int = 0
    """The newest entry that a trusted key signed: all up to there is covered."""
    signed: int = 0
    """The newest entry with a signature that fits it, trusted or not."""
    _by: Counter[str] = field(default_factory=Counter)
    _strangers: Counter[str] = field(default_factory=Counter)
    _wrong: Examples = field(default_factory=Examples)
    _untrusted: dict[int, str] = field(default_factory=dict)
    _introduced: dict[str, str] = field(default_factory=dict)
    _unsigned: list[int] = field(default_factory=list)
    _first: int = 0

    def add(self, number: int, judged: Judged | None) -> None:
        """Take the signature of the next entry; None if it has none."""
        self.last = number
        if judged is None:
            self._unsigned.append(number)
        elif judged.wrong is not None:
            self._wrong.add(f"entry {number}: {judged.wrong}")
        else:
            self.signed, self._first = number, self._first or number
            if judged.untrusted is not None:
                self._untrusted[number] = f"entry {number}: {judged.untrusted}"
                self._strangers[judged.fingerprint] += 1
            else:
                self.trusted = number if self.asked else 0
                self._by[judged.principal or judged.fingerprint] += 1
                if judged.introduced is not None:
                    self._introduced[judged.fingerprint] = judged.introduced

    def check(self) -> Check:
        """Say who signed, and whether that is somebody who is trusted."""
        if self._wrong:
            return Check("signatures", "failed", f"{self._wrong}", _LOOK)
        if not self.signed:
            return Check(
                "signatures",
                "doubt",
                "no entry is signed: whoever may write here can rewrite all of it",
                "run `qdrant-dr signing init`: entries are signed from the next run on.",
            )
        by = ", ".join(f"{n} by {who}" for who, n in sorted(self._by.items()))
        if not self.asked:
            return Check(
                "signatures",
                "doubt",
                f"{by}: each fits its entry, and nobody is trusted: say whose keys these are",
                "`qdrant-dr evidence verify REPOSITORY --allowed-signers FILE`, with a file that "
                "you got from the owner of the key, not from the bucket.",
            )
        return self._judged(by)

    def _judged(self, by: str) -> Check:
        beyond = [words for number, words in self._untrusted.items() if number > self.trusted]
        said = Examples()
        for words in beyond or self._untrusted.values():
            said.add(words)
        if not self.trusted:
            return Check(
                "signatures",
                "failed",
                f"none of the keys that signed is trusted: {said}",
                _WHOSE,
            )
        if beyond:
            return Check(
                "signatures",
                "failed",
                f"{by}; after entry {self.trusted}, the last that a trusted key signed: {said}",
                _WHOSE,
            )
        if self._untrusted:
            others = ", ".join(f"{n} by {who}" for who, n in sorted(self._strangers.items()))
            return Check(
                "signatures",
                "doubt",
                f"{by}; {others}, which is not trusted, though a later trusted signature covers "
                f"them: {said}",
                _WHOSE,
            )
        if self._introduced:
            news = ", ".join(f"{key} {how}" for key, how in self._introduced.items())
            return Check(
                "signatures",
                "doubt",
                f"{by}; your file does not have {news}",
                "by hand: ask its owner whether the key was replaced; then "
                "`qdrant-dr signing trust KEY --as NAME` adds its line to your file. "
                "Whoever stole the old key could do the same.",
            )
        if between := [n for n in self._unsigned if self._first < n < self.signed]:
            numbers = Examples()
            for number in between:
                numbers.add(f"entry {number}")
            return Check(
                "signatures",
                "doubt",
                f"{by}; unsigned between signed ones: {numbers}: nobody vouches for what they name",
                "by hand: did a run die at that time, before it signed? Else somebody without a "
                "key wrote it: do not rely on the records that it names.",
            )
        before = self._first - 1
        began = f"; the {count(before, 'entry')} before entry {self._first} by nobody, and "
        return Check(
            "signatures", "ok", f"{by}{began + 'unchanged since that one' if before else ''}"
        )

    def tail(self) -> Check:
        """Say how many of the last entries no signature covers."""
        covered = self.trusted if self.asked else self.signed
        length = self.last - covered
        if not length:
            return Check("unsigned tail", "ok", "none: the last entry is signed")
        return Check(
            "unsigned tail",
            "doubt",
            f"{count(length, 'entry')} after entry {covered}: whoever may write here can rewrite "
            "them"
            if covered
            else f"all of {count(length, 'entry')}",
            "run `qdrant-dr backup` with the key: the next signed entry fixes them; if none "
            "follows, `qdrant-dr check` says why.",
        )


_LOOK = (
    "by hand: an older copy or version of the bucket tells whether entry or signature was changed."
)
_WHOSE = (
    "by hand: ask who owns that key; if it is one of yours, "
    "`qdrant-dr signing trust KEY --as NAME` adds its line to your file."
)
