"""Find, read and explain `qdrant-dr.yaml`. A reference is a path, a URL, or `block:NAME`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qdrant_dr.config import Config, ReportConfig, Tls
from qdrant_dr.configfile import refused_values
from qdrant_dr.configfile.excerpt import excerpt
from qdrant_dr.configfile.ids import save_ids
from qdrant_dr.configfile.plaintext import plain_secrets
from qdrant_dr.configfile.sample import init_text
from qdrant_dr.configfile.signing_key import save_signing_key
from qdrant_dr.configfile.yaml_document import LARGEST, Problem, YamlDocument, read
from qdrant_dr.errors import ConfigInvalid
from qdrant_dr.location_key import KINDS, client_options, place_of, split_url
from qdrant_dr.redaction import without_user_and_query

__all__ = [
    "find",
    "init",
    "init_text",
    "load",
    "loads",
    "register_block_loader",
    "save_ids",
    "save_signing_key",
    "schema",
]

VARIABLE = "QDRANT_DR_CONFIG"
DEFAULT = "qdrant-dr.yaml"
_MOST_BYTES = 4 * LARGEST + 1
BlockLoader = Callable[[str], str]

_block_loaders: list[BlockLoader] = []


def register_block_loader(loader: BlockLoader) -> None:
    """Register the loader of `block:NAME`: it returns YAML or JSON text, or raises ConfigInvalid.

    The library has no loader of its own; a process has at most one, the last one registered.
    """
    _block_loaders[:] = [loader]


def find(reference: str | Path | None = None) -> str:
    """Return the given reference, else `$QDRANT_DR_CONFIG`, else `./qdrant-dr.yaml`.

    Raise ConfigInvalid if there is none.
    """
    if found := str(reference or os.environ.get(VARIABLE, "")):
        return found
    if Path(DEFAULT).is_file():
        return DEFAULT
    raise ConfigInvalid(
        f"there is no {DEFAULT} here, no -c and no ${VARIABLE}",
        "run `qdrant-dr init` to write one, or give yours with -c.",
    )


def load(reference: str | Path) -> Config:
    """Read and check a configuration.

    Raise ConfigInvalid with every error, each with file, line and key path, but without values that
    may be secrets. Relative paths in a file on disk are relative to that file, so that they mean
    the same place wherever a run starts."""
    where = str(reference)
    if where.startswith("block:"):
        return loads(_block(where), where=where)
    if "://" in where:
        return loads(_fetch(where), where=without_user_and_query(where))
    path = Path(where).expanduser()
    try:
        with path.open("rb") as file:  # also a pipe: `-c <(...)`
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise ConfigInvalid(
            f"there is no {where}", "run `qdrant-dr init` to write one, or name yours with -c."
        ) from None
    except IsADirectoryError as e:
        raise ConfigInvalid(
            f"{where} cannot be read: {e.strerror}", f"give the file in it: -c {path / DEFAULT}"
        ) from None
    except OSError as e:
        raise ConfigInvalid(
            f"{where} cannot be read: {e.strerror}", "let this user read it, or give another."
        ) from None
    except ValueError:  # a zero byte in its name
        raise ConfigInvalid(f"{where} is not a file name") from None
    return loads(_text_of(data, where), where=where, folder=path.absolute().parent)


def loads(text: str, *, where: str, folder: Path | None = None) -> Config:
    """Check the text of a configuration; `where` names it in errors. Raise ConfigInvalid."""
    source = read(text)
    if source.data is None:
        raise _invalid(where, source, text, source.problems)
    found = source.problems + list(plain_secrets(source))
    if folder is not None:
        _count_paths_from(folder, source.data)
    try:
        config = _validate(source)
    except ValidationError as e:
        seen = {p.path for p in found}
        found += [p for p in refused_values.problems(e, source) if p.path not in seen]
    if found:
        raise _invalid(where, source, text, found)
    return config


def init(path: Path, url: str) -> None:
    """Write an annotated configuration for a server. Raise ConfigInvalid if the file exists."""
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(init_text(url))
    except FileExistsError:
        raise ConfigInvalid(
            f"{path} already exists; nothing was written", "move it away, or give another with -c."
        ) from None
    except OSError as e:
        raise ConfigInvalid(
            f"{path} cannot be written: {e.strerror}",
            "create its folder, or let this user write there; `-c PATH` chooses another place.",
        ) from None


def schema() -> str:
    """Return the JSON Schema of the configuration, for editors."""
    body = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(mode="validation"),
        "title": "qdrant-dr.yaml",
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _validate(source: YamlDocument) -> Config:
    try:
        return Config.model_validate(source.data)
    except ValidationError as e:
        if not refused_values.as_text(e, source):
            raise
        return Config.model_validate(source.data)


def _invalid(where: str, source: YamlDocument, text: str, problems: list[Problem]) -> ConfigInvalid:
    """Build the error: every problem with its place, its line, and a mark below the column."""
    lines = text.splitlines()
    placed = sorted((p.line, p.column or source.column(p.path), str(p)) for p in problems)
    said = [
        f"{where}:{line}:{column}: {what}\n{excerpt(lines, line, column)}".rstrip()
        for line, column, what in placed
    ]
    if len(said) > 1:
        said = [f"{where} has {len(said)} errors", *("  " + s.replace("\n", "\n  ") for s in said)]
    return ConfigInvalid(
        "\n".join(said), "correct the file; `qdrant-dr schema config` prints every key."
    )


def _text_of(data: bytes, where: str) -> str:
    """Return the text of a file, without the byte order mark of Windows editors."""
    # a character has at most four bytes, so a text that was cut here is too long anyway
    try:
        return data.decode("utf-8-sig", errors="ignore" if len(data) >= _MOST_BYTES else "strict")
    except UnicodeDecodeError as e:
        before = data[: e.start].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        shown = excerpt(data.decode(errors="replace").splitlines(), line, column)
        raise ConfigInvalid(
            f"{where}:{line}:{column}: it is not UTF-8 text\n{shown}",
            "save it as UTF-8 (in Notepad: Save as, Encoding: UTF-8).",
        ) from None


def _count_paths_from(folder: Path, data: dict[str, Any]) -> None:
    """Make relative paths, including defaults, relative to the file's folder."""
    if "report" not in data:
        data["report"] = {}
    if isinstance(data["report"], dict):
        data["report"].setdefault("url", ReportConfig().url)
    repositories = data.get("repositories")
    sections = [*(repositories if isinstance(repositories, list) else []), data.get("report")]
    for section in sections:
        if isinstance(section, dict) and isinstance(url := section.get("url"), str):
            section["url"] = _absolute(folder, url)
    capture = data.get("capture")
    spool = capture.get("spool") if isinstance(capture, dict) else None
    if isinstance(spool, dict) and isinstance(path := spool.get("path"), str):
        spool["path"] = _absolute(folder, path)
    _tls_paths_from(folder, [*sections, data.get("cluster"), data.get("drill")])


def _tls_paths_from(folder: Path, sections: list[Any]) -> None:
    for section in sections:
        if not isinstance(section, dict):
            continue
        _tls_paths_from(folder, [section.get("snapshots_s3"), section.get("scratch")])
        if isinstance(tls := section.get("tls"), dict):
            files = {k: tls[k] for k in ("ca", "certificate") if isinstance(tls.get(k), str)}
            section["tls"] = tls | {k: _absolute(folder, v) for k, v in files.items()}


def _absolute(folder: Path, path: str) -> str:
    if not path or "://" in path:
        return path
    return os.path.normpath(folder / Path(path).expanduser())


def _block(reference: str) -> str:
    if not _block_loaders:
        raise ConfigInvalid(
            f"{reference} is a Prefect block, but Prefect is not loaded here",
            "give a file or URL with -c; blocks are for flows.",
        )
    return _block_loaders[0](reference.removeprefix("block:"))


def _fetch(url: str) -> str:
    import fsspec

    from qdrant_dr.stores.providers import make_filesystem

    where = without_user_and_query(url)
    kind, _ = split_url(url)
    try:
        if kind in KINDS.values():
            fs = make_filesystem(kind, client_options(url, {}), Tls())
            place = place_of(url, {})
            data: bytes = fs.cat_file(f"{place.bucket}/{place.prefix}", end=_MOST_BYTES)
        else:
            # uses the proxy of the environment, like everything else
            given = {"client_kwargs": {"trust_env": True}} if kind in ("http", "https") else {}
            with fsspec.open(url, "rb", **given) as f:
                data = f.read(_MOST_BYTES)
    except Exception as e:  # noqa: BLE001 - every protocol has its own; there is no configuration
        raise ConfigInvalid(
            f"{where} cannot be read: {type(e).__name__}", "check the address and your access."
        ) from None
    return _text_of(data, where)
