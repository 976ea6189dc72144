"""Whether this process works (`/healthz`), and whether it serves (`/readyz`): the same as gRPC's health says."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from rampd._contract.wording import one_line
from rampd_server.replica.replica import Replica

READS, WRITES, COMPONENTS = "reads", "writes", "components"
_DECISIVE = (READS, WRITES)
"""What a server has to serve to be ready. A damaged component is in the answer, but all other components are served."""


class Health:
    """Looks at the copy at each question and keeps nothing, so that an answer is never older than its question."""

    def __init__(self, replica: Replica, *, is_open: bool = False) -> None:
        """`is_open`: everybody who can ask may read everything. Otherwise an answer has no message, because a message may name the store."""
        self._replica = replica
        self._is_open = is_open
        self.is_stopping = False

    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """Each part and what keeps it from being served. `reads` is Resolve and Watch, `writes` is everything else, `components` is
        whether every component can be read.
        """
        if self.is_stopping:
            return dict.fromkeys((READS, WRITES, COMPONENTS), _not_serving(message="This server stops."))
        replica = self._replica
        answers, damaged = replica.answers.is_set(), len(replica.damaged)
        why = None if replica.is_confirmed else self._trouble()
        components = why
        if answers:
            text = "Components that can't be read are served as they were before. The log and ListRollouts name them."
            components = _not_serving("STORE_CORRUPT", text) if damaged else None
        return {
            READS: _SERVES if answers or why is None else why,
            WRITES: why or _SERVES,
            COMPONENTS: components or _SERVES,
        }

    def _trouble(self) -> Mapping[str, Any]:
        trouble = self._replica.trouble
        if trouble is None:
            return _not_serving(message="The store has not confirmed the copy for some seconds.")
        return _not_serving(
            trouble.reason, one_line(trouble.message) if self._is_open else "The server's log has the reason."
        )


def routes(health: Health) -> list[BaseRoute]:
    """`/healthz`; `/readyz` for everything, and `/readyz/reads`, `/readyz/writes` and `/readyz/components` for a part."""

    async def healthz(_request: Request) -> JSONResponse:
        return _answer(_SERVES)

    def ready(shown: tuple[str, ...], decisive: tuple[str, ...]) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def readyz(_request: Request) -> JSONResponse:
            parts = health.parts()
            is_ready = all(parts[name] == _SERVES for name in decisive)
            return _answer(
                {**(_SERVES if is_ready else _not_serving()), "parts": {name: parts[name] for name in shown}},
                HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
            )

        return readyz

    return [
        Route("/healthz", healthz),
        Route("/readyz", ready((*_DECISIVE, COMPONENTS), _DECISIVE)),
        *(Route(f"/readyz/{part}", ready((part,), (part,))) for part in (READS, WRITES, COMPONENTS)),
    ]


_SERVES: Mapping[str, Any] = {"status": "SERVING"}
"""In the words of grpc.health.v1."""


def _not_serving(reason: str = "", message: str = "") -> Mapping[str, Any]:
    told = {"reason": reason, "message": message}
    return {"status": "NOT_SERVING", **{name: text for name, text in told.items() if text}}


def _answer(content: Mapping[str, Any], status: int = HTTPStatus.OK) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
