"""The span of what automation does with a release, with a link to the trace of the build that made it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rampd_server.tracing import TRACEPARENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rampd_server.domain.rollout.model import Rollout
    from rampd_server.tracing.spans import Spans


@contextmanager
def release_span(spans: Spans | None, name: str, rollout: Rollout, attributes: Mapping[str, str]) -> Iterator[None]:
    """A span for something that is done with the next of a rollout. Nothing where there are no traces."""
    release = rollout.next_release
    if spans is None or release is None:
        yield
        return
    known: Mapping[str, str | int] = {
        "rampd.component": rollout.component,
        "rampd.tag": release.tag,
        "rampd.release": release.number,
    }
    with spans.around(name, {**known, **attributes}, traceparent=release.attributes.get(TRACEPARENT)) as span:
        try:
            yield
        except Exception as error:
            spans.fail(span, error)
            raise
