"""The configuration: a frozen model of what was promised. `configfile` reads it from YAML."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import zoneinfo
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qdrant_dr.places import BLOCKS, Place, one_place, place_of, split_url
from qdrant_dr.records.base import canonical_json
from qdrant_dr.records.manifest import Method
from qdrant_dr.records.proof import Depth
from qdrant_dr.secrets import BLOCK, SecretRef
from qdrant_dr.units import Duration, Size

_RATE = {"type": "string", "pattern": r"^\d+(\.\d+)?[kKMGT]?i?B(/s)?$", "examples": ["200MiB/s"]}
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _wrong(at: str, message: str) -> PydanticCustomError:
    """An error that knows its key path, so that `configfile` can name the line."""
    return PydanticCustomError("adds_up", "{message}", {"at": at, "message": message})


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone such as Europe/Berlin or UTC") from None
    return name


def _rest_url(at: str, url: str) -> str:
    """The address of a server. It is not repeated where it is refused: it may hold a password."""
    if not url.startswith(("http://", "https://")):
        raise _wrong(at, "a REST URL starts with http:// or https://, in small letters")
    if "@" in url.split("//", 1)[1].split("/", 1)[0]:
        raise _wrong(at, "a server's URL must not carry a user; use a key")
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and (parts.port or 1) > 0 and " " not in url
    except ValueError:  # a port that is none, a bracket that is not closed
        whole = False
    if not whole or parts.query or parts.fragment:
        raise _wrong(at, "a REST URL is a host and its port, such as http://qdrant-0:6333")
    return url.rstrip("/")


_OWN_KEYS = frozenset({
    "key", "secret", "token", "profile", "anon",
    "connection_string", "account_name", "account_host", "account_key", "sas_token", "credential",
    "client_id", "client_secret", "tenant_id",
})  # fmt: skip
"""Options that say who comes, or to whose account: beside a block they would be half of each."""


def _opens(block: str, info: ValidationInfo) -> str:
    """That the block's type fits the URL, and that no key stands beside it."""
    if "url" not in info.data:
        return block  # that it is wrong is said already
    named, kind = block.removeprefix("block:").partition("/")[0], split_url(info.data["url"])[0]
    if BLOCKS.get(named) != kind:
        fitting = [f"block:{name}/NAME" for name, opens in BLOCKS.items() if opens == kind]
        raise ValueError(
            f"must be {' or '.join(fitting)} for {kind}://"
            if fitting
            else f"is for {', '.join(f'{k}://' for k in sorted(set(BLOCKS.values())))} only"
        )
    if beside := sorted(_OWN_KEYS.intersection(info.data.get("options", {}))):
        raise ValueError(f"and {', '.join(f'`options.{k}`' for k in beside)}: it is one or other")
    inner = info.data.get("options", {}).get("client_kwargs")
    if isinstance(inner, dict) and "endpoint_url" in inner:
        raise ValueError("is beside an endpoint in `client_kwargs`: use `options.endpoint_url`")
    return block


Credentials = Annotated[
    str,
    Field(
        pattern=BLOCK,
        description="block:TYPE/NAME, a credentials block of Prefect; `options` lie over it",
    ),
    AfterValidator(_opens),
]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Timeouts(Section):
    connect: Duration = timedelta(seconds=5)
    read: Duration = timedelta(seconds=60)
    snapshot: Duration = Field(
        timedelta(hours=2), description="longest wait for one create or recover call"
    )
    busy: Duration = Field(
        timedelta(minutes=10), description="longest wait for a node that asks for fewer calls (429)"
    )


class Tls(Section):
    """Whom we trust and who we are, where the usual does not do. Files in PEM form."""

    ca: str | None = Field(
        None, description="file of the CAs that are trusted, instead of the system's"
    )
    certificate: str | None = Field(
        None, description="file of our own certificate, if one is asked"
    )
    key: Annotated[str, Field(pattern=r"^(file|secret):.+$")] | None = Field(
        None,
        description="file:PATH, or secret:NAME below $QDR_SECRETS_DIR, of its key, which has no "
        "password; None: it is in `certificate`",
    )

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        if self.key is not None and self.certificate is None:
            raise ValueError("`key` is the key of a `certificate`, which is not given")
        return self


class SnapshotsInS3(Section):
    """Where a server in S3 mode puts its snapshots: read from there, not through the server."""

    url: str = Field(description="s3://bucket/prefix, the prefix being its `snapshots_path`")
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None
    tls: Tls = Tls()

    @field_validator("url")
    @classmethod
    def _bucket(cls, url: str) -> str:
        if not re.fullmatch(r"s3a?://[^/]+(/.*)?", url):
            raise _wrong("cluster.snapshots_s3.url", "must be s3://bucket/prefix")
        return url


class ClusterConfig(Section):
    """The source. Keys are references, never text."""

    name: Name
    nodes: tuple[str, ...] = Field(min_length=1, description="REST URL of every node")
    peers: dict[str, str] = Field(
        default_factory=dict,
        description="peer id: REST URL, for peers not reached on their own host at the port of "
        "`nodes`",
    )
    node_space: Size | None = Field(
        None, description="free bytes for snapshots on each node, which no call of Qdrant tells"
    )
    snapshots_s3: SnapshotsInS3 | None = Field(
        None, description="set if the servers store their snapshots in S3 themselves"
    )
    api_key: SecretRef | None = None
    read_api_key: SecretRef | None = Field(
        None, description="used for what only reads; `check` proves that it can do no more"
    )
    tls: Tls = Field(Tls(), description="for the nodes, and for targets of restores")
    timeouts: Timeouts = Timeouts()
    read_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="of a collection's `read_rate_limit`, so much is taken from its users"
    )
    clock_skew_limit: Duration = timedelta(seconds=30)

    @field_validator("nodes")
    @classmethod
    def _urls(cls, nodes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_rest_url(f"cluster.nodes.{i}", url) for i, url in enumerate(nodes))

    @field_validator("peers")
    @classmethod
    def _peers(cls, peers: dict[str, str]) -> dict[str, str]:
        for peer in peers:
            if not peer.isdecimal():
                raise _wrong(f"cluster.peers.{peer}", "a peer id is the number that /cluster tells")
        return {peer: _rest_url(f"cluster.peers.{peer}", url) for peer, url in peers.items()}


class Exclusion(Section):
    match: str
    reason: str = Field(min_length=3)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a collection is protected, by which rule, and why where somebody said so."""

    status: Literal["included", "excluded"]
    rule: str
    reason: str | None = None


class CollectionObjectives(Section):
    rpo: Duration | None = None
    rto: Duration | None = None
    drift_limit: Annotated[float, Field(gt=0, le=1)] | None = None


class RetentionRules(Section):
    """What of `retention` a repository or a collection has otherwise."""

    last: int | None = Field(None, ge=0)
    daily: int | None = Field(None, ge=0)
    weekly: int | None = Field(None, ge=0)
    monthly: int | None = Field(None, ge=0)
    floor: int | None = Field(None, ge=1)


class Override(Section):
    match: str
    owner: str | None = None
    criticality: Literal["low", "normal", "high"] | None = None
    objectives: CollectionObjectives = CollectionObjectives()
    retention: RetentionRules = RetentionRules()


class Collections(Section):
    """Which collections are protected. New ones are, by default."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[Exclusion, ...] = ()
    expect: tuple[str, ...] = Field((), description="missing on the cluster = failed run")
    overrides: tuple[Override, ...] = ()

    @model_validator(mode="after")
    def _no_contradiction(self) -> Collections:
        for i, name in enumerate(self.expect):
            if rule := self.exclusion(name):
                raise _wrong(
                    f"collections.expect.{i}",
                    f"{name!r} is expected here and excluded by {rule.match!r} in "
                    "`collections.exclude`: it must be one or the other",
                )
        return self

    def decide(self, collection: str) -> Decision:
        """Expected means included, whatever `include` says; then the first rule that matches."""
        if collection in self.expect:
            return Decision("included", "collections.expect")
        if rule := self.exclusion(collection):
            return Decision("excluded", rule.match, rule.reason)
        if pattern := self.inclusion(collection):
            return Decision("included", pattern)
        return Decision("excluded", "collections.include", "no pattern of `include` matches it")

    def exclusion(self, collection: str) -> Exclusion | None:
        """The first rule that excludes it."""
        return next((e for e in self.exclude if fnmatch.fnmatchcase(collection, e.match)), None)

    def inclusion(self, collection: str) -> str | None:
        """The first pattern that includes it."""
        return next((p for p in self.include if fnmatch.fnmatchcase(collection, p)), None)

    def override(self, collection: str) -> Override:
        """All matching overrides laid over each other, later ones on top."""
        merged: dict[str, Any] = {"match": collection, "objectives": {}, "retention": {}}
        for rule in self.overrides:
            if fnmatch.fnmatchcase(collection, rule.match):
                set_here = rule.model_dump(
                    exclude_none=True, exclude={"match", "objectives", "retention"}
                )
                merged |= set_here
                merged["objectives"] |= {k: v for k, v in rule.objectives if v is not None}
                merged["retention"] |= {k: v for k, v in rule.retention if v is not None}
        return Override.model_validate(merged)


class RepositoryConfig(Section):
    """A place where backups lie. `options` go to fsspec; values may be secret references."""

    name: Name
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = Field(
        None, description="printed by `repository create`"
    )
    url: str
    domain: str = Field(min_length=1, description="failure domain: provider, account, region")
    bandwidth: Annotated[Size, WithJsonSchema(_RATE)] | None = Field(
        None, description="bytes per second"
    )
    append_only: bool = Field(
        False, description="nothing is deleted there: another key or machine expires it"
    )
    archive_restore_time: Duration | None = Field(
        None,
        description="how long it takes to bring a copy back from an archive class (S3 Glacier, "
        "Azure Archive); without it such a copy counts for nothing",
    )
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None
    tls: Tls = Tls()
    retention: RetentionRules = RetentionRules()

    @field_validator("bandwidth", mode="before")
    @classmethod
    def _per_second(cls, value: object) -> object:
        return value.removesuffix("/s") if isinstance(value, str) else value


class Copies(Section):
    """How many copies, over how many failure domains, make a backup safe."""

    quorum: int = Field(1, ge=1)
    domains: int = Field(1, ge=1)
    stall_timeout: Duration = timedelta(seconds=90)


class Spool(Section):
    path: str = "/var/tmp/qdrant-dr"  # noqa: S108 - a default of the documentation; folders in it are our own
    max: Size = Field(default=200 * 2**30, validate_default=False)


class CaptureConfig(Section):
    method: Literal["auto"] | Method = "auto"
    parallel_collections: int = Field(2, ge=1)
    spool: Spool = Spool()


class ProofConfig(Section):
    """What a proof may use: each runs in an engine process of its own."""

    memory: Size = Field(
        default=8 * 2**30, validate_default=False, description="of one engine, mapped files apart"
    )
    stall_timeout: Duration = Field(
        timedelta(minutes=5), description="an engine without progress for so long is ended"
    )


class Proven(Section):
    depth: Depth = "content"
    max_age: Duration = timedelta(days=8)


class Objectives(Section):
    """What the business was promised."""

    rpo: Duration = timedelta(hours=26)
    rto: Duration = timedelta(hours=1)
    proven: Proven = Proven()
    drill_every: Duration = timedelta(days=30)
    drift_limit: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5,
        description="share of points that may go since the last accepted backup, or change from "
        "one backup to the next, unremarked",
    )


class Scratch(Section):
    url: str
    api_key: SecretRef | None = None
    tls: Tls = Tls()
    disposable: bool = Field(False, description="say that everything on it may be lost")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return _rest_url("drill.scratch.url", url)


class Docker(Section):
    """A container for each drill, of the server version that the backup comes from."""

    image: str = Field(
        "qdrant/qdrant", description="without a tag: that is the version of the backup's server"
    )
    memory: Size = Field(default=4 * 2**30, validate_default=False)
    cpus: float = Field(2, gt=0)

    @field_validator("image")
    @classmethod
    def _untagged(cls, image: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._:/-]*", image) or ":" in image.rpartition("/")[2]:
            raise _wrong("drill.docker.image", "must be the name of an image without a tag")
        return image


class Budget(Section):
    """What one run of drills may cost."""

    time: Duration = Field(
        timedelta(hours=2),
        description="of a run; it drills as many copies as it expects to do in it, at least one",
    )
    bytes: Size = Field(
        default=500 * 2**30,
        validate_default=False,
        description="of all copies a run drills; a larger one is never picked",
    )


class DrillConfig(Section):
    engine: Literal["edge", "server"] = "edge"
    scratch: Scratch | None = None
    docker: Docker | None = None
    pick: Literal["coverage", "latest", "random"] = "coverage"
    budget: Budget = Budget()
    isolation: str | None = Field(None, description="quoted in reports as declared")


class Retention(Section):
    """Which backups stay; used by `expire`. Days, weeks and months are of `timezone`."""

    last: int = Field(7, ge=0)
    daily: int = Field(14, ge=0)
    weekly: int = Field(8, ge=0)
    monthly: int = Field(12, ge=0)
    floor: int = Field(3, ge=1, description="backups of each life of a collection that always stay")
    grace: Duration = Field(timedelta(days=2), description="what is younger always stays")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2, description="of a collection's copies in a repository, so many go at most in one run"
    )
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return _time_zone(name)

    def under(self, *rules: RetentionRules | None) -> Retention:
        """With these rules laid over it, later ones on top."""
        laid = {k: v for r in rules if r for k, v in r.model_dump(exclude_none=True).items()}
        return self.model_copy(update=laid)


class ReportConfig(Section):
    url: str = "./reports"
    timezone: str = "UTC"
    tls: Tls = Tls()
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s<>]+$")] | None = Field(
        None, description="where readers find what is written to `url`; links lead there"
    )
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return _time_zone(name)


def _place(r: RepositoryConfig) -> Place:
    return place_of(r.url, r.options, credentials=r.credentials)


_HTTP_OR_REF = {"type": "string", "pattern": r"^(https?://|(env|file|secret):).+$"}


def _http_or_ref(value: str) -> str:
    """It is not repeated where it is refused: it may be the secret itself."""
    if not re.match(_HTTP_OR_REF["pattern"], value):
        raise ValueError("must be an http(s):// URL, or env:NAME, file:PATH or secret:NAME")
    return value


HttpOrRef = Annotated[str, AfterValidator(_http_or_ref), WithJsonSchema(_HTTP_OR_REF)]


class Watch(Section):
    """Who is told of a look besides Prefect. A URL that is a secret stands here as a reference."""

    heartbeat: HttpOrRef | None = Field(
        None, description="called after each look at which no promise is broken"
    )
    push: HttpOrRef | None = Field(
        None, description="a Prometheus Pushgateway, given the metrics of each look"
    )


class Config(Section):
    """Everything a run may know, apart from its parameters."""

    format: Literal[1]
    cluster: ClusterConfig
    collections: Collections = Collections()
    repositories: tuple[RepositoryConfig, ...] = Field(min_length=1)
    copies: Copies = Copies()
    capture: CaptureConfig = CaptureConfig()
    proof: ProofConfig = ProofConfig()
    objectives: Objectives = Objectives()
    drill: DrillConfig = DrillConfig()
    retention: Retention = Retention()
    report: ReportConfig = ReportConfig()
    watch: Watch = Watch()

    @model_validator(mode="after")
    def _adds_up(self) -> Config:
        self._repositories_differ()
        if (quorum := self.copies.quorum) > (have := len(self.repositories)):
            raise _wrong("copies.quorum", f"{quorum} copies need as many repositories, not {have}")
        if (domains := self.copies.domains) > (have := len({r.domain for r in self.repositories})):
            raise _wrong("copies.domains", f"{domains} domains are asked for, {have} configured")
        scratch = self.drill.scratch
        if scratch and scratch.url in {*self.cluster.nodes, *self.cluster.peers.values()}:
            raise _wrong("drill.scratch.url", "this is a node of the cluster, never a scratch")
        if scratch and self.drill.docker:
            raise _wrong("drill.docker", "there is a `drill.scratch` already: it is one or other")
        return self

    def _repositories_differ(self) -> None:
        """One place under two names would be counted as two copies."""
        for i, r in enumerate(self.repositories):
            for other in self.repositories[:i]:
                if r.name == other.name:
                    raise _wrong(f"repositories.{i}.name", "two repositories have one name")
                if r.id is not None and r.id == other.id:
                    raise _wrong(
                        f"repositories.{i}.id",
                        f"is that of {other.name}, too: one repository is one copy, not two",
                    )
                if one_place(_place(r), _place(other)):
                    raise _wrong(
                        f"repositories.{i}.url",
                        f"is the same place as that of {other.name}: one copy, not two",
                    )

    def drift_limit_of(self, collection: str) -> float:
        """That of the collection, else that of all."""
        own = self.collections.override(collection).objectives.drift_limit
        return self.objectives.drift_limit if own is None else own

    def repository(self, name: str) -> RepositoryConfig | None:
        return next((r for r in self.repositories if r.name == name), None)

    @property
    def sha256(self) -> str:
        """Digest of what was configured; secrets enter as their references."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()
