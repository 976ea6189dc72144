"""Whether this process works (`/healthz`), and whether it serves (`/readyz`): the same as gRPC's health says."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from rampd._contract.wording import one_line
from rampd_server.domain.errors import RampdError
from rampd_server.replica.replica import Replica

READS, WRITES = "reads", "writes"


class Health:
    """Looks at the copy at each question and keeps nothing, so that no answer outlives its reason."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.is_stopping = False

    def parts(self) -> Mapping[str, RampdError | str | None]:
        """What keeps each part from being served; None where it is served. `reads` is Resolve and Watch, `writes` is everything
        else.
        """
        if self.is_stopping:
            return dict.fromkeys((READS, WRITES), "This server stops.")
        why = None if self._replica.is_confirmed else self._replica.trouble or "The store has not confirmed the copy."
        return {READS: None if self._replica.answers.is_set() else why, WRITES: why}


def routes(health: Health) -> list[BaseRoute]:
    """`/healthz`; `/readyz` for everything, and `/readyz/reads` and `/readyz/writes` for a part."""

    async def healthz(_request: Request) -> JSONResponse:
        return _answer({"status": "SERVING"})

    def ready(*asked: str) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def readyz(_request: Request) -> JSONResponse:
            parts = health.parts()
            is_serving = all(parts[name] is None for name in asked)
            return _answer(
                {"status": _word(is_serving=is_serving), "parts": {name: _part(parts[name]) for name in asked}},
                HTTPStatus.OK if is_serving else HTTPStatus.SERVICE_UNAVAILABLE,
            )

        return readyz

    return [
        Route("/healthz", healthz),
        Route("/readyz", ready(READS, WRITES)),
        Route(f"/readyz/{READS}", ready(READS)),
        Route(f"/readyz/{WRITES}", ready(WRITES)),
    ]


def _part(wrong: RampdError | str | None) -> Mapping[str, Any]:
    if wrong is None:
        return {"status": _word(is_serving=True)}
    if isinstance(wrong, RampdError):
        return {"status": _word(is_serving=False), "reason": wrong.reason, "message": one_line(wrong.message)}
    return {"status": _word(is_serving=False), "message": wrong}


def _word(*, is_serving: bool) -> str:
    """The words of grpc.health.v1."""
    return "SERVING" if is_serving else "NOT_SERVING"


def _answer(content: Mapping[str, Any], status: int = HTTPStatus.OK) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
