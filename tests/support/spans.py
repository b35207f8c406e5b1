"""A tracer provider of OpenTelemetry's API that keeps spans: the SDK is not among our packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags


class Kept(NonRecordingSpan):
    """A span as an exporter would get it."""

    def __init__(self, context: SpanContext, name: str, parent: Any, facts: Mapping[str, Any]):
        super().__init__(context)
        self.name, self.parent = name, parent if isinstance(parent, Kept) else None
        self.attributes = dict(facts)
        self.status: tuple[StatusCode, str | None] = (StatusCode.UNSET, None)
        self.exceptions: list[BaseException] = []
        self.ended = False

    def is_recording(self) -> bool:
        return not self.ended

    def set_attribute(self, key: str, value: Any) -> None:
        assert not self.ended
        self.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.status = (status, description)

    def record_exception(self, exception: BaseException, *_: Any, **__: Any) -> None:
        self.exceptions.append(exception)

    def end(self, end_time: int | None = None) -> None:
        self.ended = True


class Keeper(trace.TracerProvider, trace.Tracer):
    """Provider and tracer in one: `spans` are all that were begun."""

    def __init__(self) -> None:
        self.spans: list[Kept] = []

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self

    def start_span(self, name: str, context: Any = None, *_: Any, **given: Any) -> trace.Span:
        number = len(self.spans) + 1
        here = SpanContext(1, number, is_remote=False, trace_flags=TraceFlags(1))
        span = Kept(here, name, trace.get_current_span(context), given.get("attributes") or {})
        self.spans.append(span)
        return span

    @contextmanager
    def _current(self, name: str, **given: Any) -> Iterator[trace.Span]:
        with trace.use_span(
            self.start_span(name, **given),
            end_on_exit=True,
            record_exception=given.get("record_exception", True),
            set_status_on_exception=given.get("set_status_on_exception", True),
        ) as span:
            yield span

    def start_as_current_span(self, name: str, *_: Any, **given: Any) -> Any:
        return self._current(name, **given)
