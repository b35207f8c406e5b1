"""`signing init|rotate|trust`: who signs the ledger, and who is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from qdrant_dr import layout
from qdrant_dr.cli.session import Column, Given, Reply, Session
from qdrant_dr.errors import DRError, ObjectMissing, UsageError
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.ledger import read_signer, write_change
from qdrant_dr.signing import allowed_signers
from qdrant_dr.signing.allowed_signers import LEDGER, REVIEW, AllowedSigner
from qdrant_dr.signing.ssh_keys import PrivateKey, key_in_file, read_public_line
from qdrant_dr.stores.base import fill

if TYPE_CHECKING:
    from qdrant_dr.repository import Repository

KEY = Path("~/.config/qdrant-dr/ledger.key")
NAMESPACES = {"ledger": LEDGER, "review": REVIEW}
LINES = (
    Column("fingerprint", "KEY"),
    Column("file", "FILE", lambda file: file or "-"),
    Column("line", "ALLOWED_SIGNERS"),
)
_SECOND = timedelta(seconds=1)


def init(
    *,
    key: Path = KEY,
    save: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Make an Ed25519 key in OpenSSH's format, readable for you alone, or take one that is there.

    Give the printed line to whoever checks the ledger, before anybody else could: it says which
    entries to believe.

    Parameters
    ----------
    key
        File of the key; one that is not there is made.
    save
        Write it into the configuration file.
    """
    if session.config.signing.key is not None:
        raise UsageError(
            f"a key is configured already: {session.config.signing.key}",
            "`qdrant-dr signing rotate --key FILE` replaces it.",
        )
    made = key_in_file(key)
    signer = AllowedSigner(
        f"ledger@{session.config.cluster.name}", made.public, LEDGER, _this_second()
    )
    remarks = _keep(session, key, save=save)
    remarks += _publish(open_all(session.config)[0], [signer])
    remarks.append("keep the key off the repositories: whoever has both can write history")
    return Reply(rows=[_row(signer, key)], columns=LINES, remarks=remarks)


def rotate(
    *,
    key: Path,
    save: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Write an entry, signed by the old key, that names the new one, into every ledger.

    From then on the old key is believed only for what it signed before. A key that was stolen is
    replaced likewise; what the thief signed before that is for people to find out.

    Parameters
    ----------
    key
        File of the new key; one that is not there is made.
    save
        Write it into the configuration file, and the lines into `signing.allowed_signers`.
    """
    config = session.config
    old, error = read_signer(config)
    if error is not None:
        raise error
    if old is None:
        raise UsageError("no key is configured", "`qdrant-dr signing init --save` makes one.")
    new = key_in_file(key)
    if new.public == old.public:
        raise UsageError(f"{key} is the configured key itself", "name the file of another one.")
    opened, failed = open_all(config)
    if failed:
        raise next(iter(failed.values()))
    _name_in_ledgers(session, opened, new)
    now = _this_second()
    principal = f"ledger@{config.cluster.name}"
    ended = AllowedSigner(principal, old.public, LEDGER, valid_before=now + 2 * _SECOND)
    begun = AllowedSigner(principal, new.public, LEDGER, valid_after=now)
    remarks = [*_keep(session, key, save=save), *_publish(opened, [ended, begun])]
    if config.signing.allowed_signers and save:
        remarks.append(_replace_lines(Path(config.signing.allowed_signers), ended, begun))
    else:
        remarks.append("put both lines into every allowed_signers file, in place of the old one")
    return Reply(rows=[_row(ended, None), _row(begun, key)], columns=LINES, remarks=remarks)


def trust(
    public: str,
    /,
    *,
    principal: Annotated[str, Parameter(name="--as")],
    purpose: Annotated[Literal["ledger", "review"], Parameter(name="--for")] = "ledger",
    file: Path | None = None,
    session: Given,
) -> Reply:
    """Add a line to an allowed_signers file, which is made if it is not there.

    Parameters
    ----------
    public
        A .pub file, or the public key itself, quoted.
    principal
        Who signs with it, such as ana@example.org.
    purpose
        For entries of the ledger, or for reviews.
    file
        The file. Default: `signing.allowed_signers` of the configuration.
    """
    if file is None:
        named = session.config.signing.allowed_signers
        if named is None:
            raise UsageError(
                "no file of trusted signers is configured",
                "name it with --file, or as `signing.allowed_signers`.",
            )
        file = Path(named)
    if not principal or any(c.isspace() or c in '",' for c in principal):
        raise UsageError(f"{principal!r} cannot be a name there", "use one like ana@example.org.")
    path = Path(public).expanduser()
    text = path.read_text(encoding="utf-8") if path.is_file() else public
    signer = AllowedSigner(principal, read_public_line(text), NAMESPACES[purpose])
    file = file.expanduser()
    lines = file.read_text(encoding="utf-8") if file.is_file() else ""
    known = signer in allowed_signers.parse(lines, str(file))
    if not known:
        _write(file, f"{lines.rstrip()}\n{signer.line}\n".lstrip())
    remarks = [f"{file} has that line already"] if known else [f"wrote a line into {file}"]
    return Reply(rows=[_row(signer, None)], columns=LINES, remarks=remarks)


def _name_in_ledgers(session: Session, opened: Mapping[str, Repository], new: PrivateKey) -> None:
    errors = write_change(session.config, opened, (), "signing-rotate", next_key=new.public.line)
    for what, error in errors.items():
        raise type(error)(
            f"not every ledger names the new key ({what}): {error.message}", error.hint
        )


def _publish(opened: Mapping[str, Repository], signers: Sequence[AllowedSigner]) -> list[str]:
    """Put the lines into each repository, for convenience: whoever checks has a file of their
    own."""
    remarks = []
    for name, repository in opened.items():
        try:
            known = allowed_signers.parse(_published(repository), layout.ALLOWED_SIGNERS)
            keys = {signer.public for signer in signers}
            lines = [s.line for s in (*(k for k in known if k.public not in keys), *signers)]
            data = "".join(f"{line}\n" for line in lines).encode()
            fill(repository.store.sink(layout.ALLOWED_SIGNERS, replace=True), [data])
        except DRError as e:
            remarks.append(f"{name} has no copy of the line: {e.message}")
    return remarks


def _published(repository: Repository) -> str:
    try:
        return repository.store.read(layout.ALLOWED_SIGNERS).decode(errors="replace")
    except ObjectMissing:
        return ""


def _keep(session: Session, key: Path, *, save: bool) -> list[str]:
    from qdrant_dr import configfile
    from qdrant_dr.configfile.signing_key import by_hand

    reference = f"file:{key.expanduser().absolute()}"
    if not save:
        return [by_hand(reference)]
    path = configfile.find(session.reference)
    configfile.save_signing_key(Path(path), reference)
    return [f"wrote `signing.key` into {path}"]


def _replace_lines(file: Path, ended: AllowedSigner, begun: AllowedSigner) -> str:
    file = file.expanduser()
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    lines, done = [], False
    for line in text.splitlines():
        (found,) = allowed_signers.parse(line, str(file)) or (None,)
        if found is not None and found.public == ended.public and found.valid_before is None:
            lines.append(allowed_signers.ended(found, ended.valid_before or _this_second()).line)
            done = True
        else:
            lines.append(line)
    lines += [begun.line] if done else [ended.line, begun.line]
    _write(file, "\n".join(lines) + "\n")
    return f"{file}: the old key ends, the new one begins"


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(file)
    except OSError as e:
        raise UsageError(f"{file} cannot be written: {e.strerror}", "name another file.") from None


def _this_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _row(signer: AllowedSigner, key: Path | None) -> dict[str, Any]:
    file = str(key.expanduser()) if key is not None else None
    return {"fingerprint": signer.public.fingerprint, "file": file, "line": signer.line}
