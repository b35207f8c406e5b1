"""What this machine remembers of each ledger: its end as we last saw it, and which runs have not
written their entry yet.

It saves a request, and it is a witness of its own: a ledger that ends before this was cut.
"""

from __future__ import annotations

import json
import logging
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from qdrant_dr.disk import closed_to_others, is_own_folder
from qdrant_dr.layout import checked
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.stores.base import Stat

log = logging.getLogger(__name__)

FOLDER = "ledger"
_OPEN = ".open"


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The newest entry that this machine saw: its number, and what tells its bytes without reading
    them."""

    number: int
    sha256: str
    size_bytes: int = 0
    md5: str = ""
    mark: str = ""

    def is_at(self, there: Stat) -> bool:
        """Say whether a listing shows these very bytes."""
        if there.size_bytes != self.size_bytes:
            return False
        marks = ((self.md5, there.md5), (self.mark, there.mark))
        return any(mine and mine == theirs for mine, theirs in marks)


class LedgerMemory:
    """The memory of one repository, below the spool. What cannot be read or written is logged: the
    ledger is then found as on a new machine."""

    def __init__(self, spool: str | Path, repository_id: str) -> None:
        self._folder = Path(spool).expanduser() / FOLDER
        self._file = self._folder / f"{checked(repository_id)}.json"
        self._id = repository_id

    def head(self) -> KnownHead | None:
        """Return the newest entry that was seen; None if nothing is known or can be believed."""
        if not self._ours():
            return None
        try:
            found: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            known = KnownHead(**found)
        except (OSError, ValueError, TypeError):
            return None
        good = isinstance(known.number, int) and isinstance(known.sha256, str)
        return known if good and known.number > 0 else None

    def remember(self, head: LedgerHead) -> None:
        """Remember the end of the ledger, unless a later one is known."""
        known = self.head()
        if not head.number or (known is not None and known.number > head.number):
            return
        now = KnownHead(head.number, head.sha256, head.size_bytes, head.md5, head.mark)
        self._write(self._file, json.dumps(asdict(now)))

    def run_began(self, run_id: str) -> None:
        """Note that a run writes there, until its entry is written."""
        try:
            me = psutil.Process()
            process = f"{me.pid} {me.create_time()}"
        except psutil.Error as e:
            log.warning("whether run %s dies will not be known: %s", run_id, e)
            return
        self._write(self._open(run_id), process)

    def run_ended(self, run_id: str) -> None:
        """Forget it: its entry is there."""
        with suppress(OSError):
            self._open(run_id).unlink(missing_ok=True)

    def crashed(self) -> tuple[str, ...]:
        """Return the runs that began on this machine, whose process is gone, and that wrote no
        entry."""
        if not self._ours():
            return ()
        found = []
        for file in sorted(self._folder.glob(f"{self._id}.*{_OPEN}")):
            try:
                pid, _, began = file.read_text(encoding="utf-8").partition(" ")
                alive = psutil.Process(int(pid)).create_time() == float(began)
            except (psutil.NoSuchProcess, ValueError, OverflowError):
                alive = False
            except (OSError, psutil.Error):
                continue
            if not alive:
                found.append(file.name.removeprefix(f"{self._id}.").removesuffix(_OPEN))
        return tuple(found)

    def _open(self, run_id: str) -> Path:
        return self._folder / f"{self._id}.{checked(run_id)}{_OPEN}"

    def _ours(self) -> bool:
        return is_own_folder(self._folder) and closed_to_others(self._folder)

    def _write(self, file: Path, text: str) -> None:
        aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            for made in (self._folder.parent, self._folder):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._ours():
                log.warning("the ledger is not remembered: %s is not ours alone", self._folder)
                return
            try:
                aside.write_text(text, encoding="utf-8")
                aside.replace(file)
            except OSError:
                aside.unlink(missing_ok=True)
                raise
        except OSError as e:
            log.warning("the ledger is not remembered at %s: %s", self._folder, e.strerror)
