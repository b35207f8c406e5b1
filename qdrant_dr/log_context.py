"""What this thread works for: a run, and one of its units. Log lines and spans carry it.

A context variable, so that whoever logs need not know; threads of a unit get a copy of the context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qdrant_dr.errors import DRError
from qdrant_dr.version import __version__

if TYPE_CHECKING:
    from qdrant_dr.records import Outcome

Facts = Mapping[str, str | tuple[str, ...]]
Told = Callable[["Outcome"], None]

FIELDS = ("run_id", "unit", "collection", "backup", "repository", "repositories")
"""What is known of a unit, in the order in which it is written."""
EVENTS = "qdrant_dr.events"
"""The logger of one line when a run or unit begins and one when it ends. It is quiet unless
somebody asks for it: people see progress, machines want events."""

events = logging.getLogger(EVENTS)
events.setLevel(logging.WARNING)
_facts: ContextVar[Facts] = ContextVar("facts", default=MappingProxyType({}))


def facts() -> Facts:
    """Return what the work at hand is for; empty outside of any run."""
    return _facts.get()


@contextmanager
def run_context(run_id: str) -> Iterator[None]:
    """Say in this block that it works for a run."""
    token = _facts.set({"run_id": run_id})
    try:
        yield
    finally:
        _facts.reset(token)


@contextmanager
def unit_context(run_id: str, unit: Any) -> Iterator[Told]:
    """Say in this block that it does one unit of a run: in each log line, in an event when it
    begins and one when it ends, and in a span. What it gives takes the outcome."""
    about = facts_of(run_id, unit)
    token, began = _facts.set(about), monotonic()
    ended: dict[str, Any] = {"verdict": "failed"}

    def told(outcome: Outcome) -> None:
        ended["verdict"] = outcome.verdict
        if outcome.error is not None:
            ended["code"] = outcome.error.code

    events.info("%s of %s began", unit.unit, unit.label, extra={"event": "unit-began"})
    try:
        with _span(unit.unit, about) as span:
            try:
                yield told
            except BaseException as error:
                ended["code"] = error.code if isinstance(error, DRError) else type(error).__name__
                raise
            finally:
                if span is not None:
                    _conclude(span, ended)
    finally:
        took = round(monotonic() - began, 3)
        events.info(
            "%s of %s ended: %s", unit.unit, unit.label, ended["verdict"],
            extra={"event": "unit-ended", "seconds": took, **ended},
        )  # fmt: skip
        _facts.reset(token)


def facts_of(run_id: str, unit: Any) -> Facts:
    """Return the names of a unit. Names only: its other fields may hold references to secrets."""
    found: dict[str, str | tuple[str, ...]] = {"run_id": run_id, "unit": unit.unit}
    found["collection"] = unit.collection
    if (key := getattr(unit, "key", None)) is not None:
        found["backup"] = str(key)
    if (repository := getattr(unit, "repository", None)) is not None:
        found["repository"] = repository
    if repositories := getattr(unit, "repositories", None):
        found["repositories"] = tuple(repositories)
    return found


def _span(name: str, about: Facts) -> Any:
    """Return a span of OpenTelemetry for a block, or a block without one.

    Only the API is used: without a configured provider it does nothing. Errors are not recorded by
    the library, because messages of foreign ones may hold a URL with a signature.
    """
    try:
        from opentelemetry import trace
    except ImportError:
        return nullcontext()
    return trace.get_tracer("qdrant_dr", __version__).start_as_current_span(
        name,
        attributes={f"qdrant_dr.{field}": value for field, value in about.items()},
        record_exception=False,
        set_status_on_exception=False,
    )


def _conclude(span: Any, ended: Mapping[str, str]) -> None:
    from opentelemetry.trace import StatusCode

    for field, value in ended.items():
        span.set_attribute(f"qdrant_dr.{field}", value)
    if ended["verdict"] == "failed":
        span.set_status(StatusCode.ERROR, ended.get("code"))
