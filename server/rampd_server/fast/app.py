"""The application that h2corn runs: each request is a call of gRPC."""

import grpc

from rampd_server.fast import headers
from rampd_server.fast.answer import Send
from rampd_server.fast.call import FastCall
from rampd_server.fast.context import Scope
from rampd_server.fast.requests import Receive
from rampd_server.fast.running import RunningCalls
from rampd_server.fast.services import Services

_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class FastApp:
    """The application, of one run of h2corn."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.calls = RunningCalls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request. Raises nothing but CancelledError, because h2corn would write anything else to standard error."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        try:
            head = dict(scope["headers"])
            if scope["method"] != "POST":
                await _refuse(send, 405, "A call is a POST.", (b"allow", b"POST"))
            elif not headers.is_grpc(head.get(b"content-type", b"")):
                await _refuse(send, 415, "This address takes calls of gRPC. Their content type is application/grpc.")
            else:
                await FastCall(self._services, self.calls, scope, head=head, receive=receive, send=send).run()
        except (OSError, grpc.aio.BaseError):
            # The caller has gone. h2corn is about to cancel this task.
            return


async def _refuse(send: Send, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    """Answers a request that is no call of gRPC."""
    await send({"type": "http.response.start", "status": status, "headers": [_TEXT, *more]})
    await send({"type": "http.response.body", "body": f"{text}\n".encode(), "more_body": False})
