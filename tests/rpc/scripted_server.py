"""A gRPC server that gives the answers of a test, and remembers its requests."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from rampd.v1 import release_service_pb2, resolver_service_pb2, rollout_service_pb2

Answer = Message | status_pb2.Status | grpc.StatusCode | Callable[[Any, grpc.ServicerContext], Message]
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in (resolver_service_pb2, release_service_pb2, rollout_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True)
class Asked:
    method: str
    request: Any
    metadata: dict[str, str]
    left_s: float
    came_s: float
    """When the request came, by the monotonic clock. Its answer is later."""


@dataclass
class ScriptedServer:
    """Gives the answers of a method one by one, and then repeats the last one. A method without answers gets an empty response."""

    target: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def requests(self, method: str) -> list[Any]:
        return [asked.request for asked in self.asked if asked.method == method]

    def times_s(self, method: str) -> list[float]:
        """When the requests of a method came, by the monotonic clock."""
        return [asked.came_s for asked in self.asked if asked.method == method]

    def answer(self, name: str, request: Any, context: grpc.ServicerContext) -> Message:
        method = METHODS[name]
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.asked.append(Asked(method.name, request, metadata, context.time_remaining(), time.monotonic()))
        answers = self.answers[method.name]
        answer = (
            answers.pop(0) if len(answers) > 1 else answers[0] if answers else GetMessageClass(method.output_type)()
        )
        if isinstance(answer, status_pb2.Status):
            context.abort_with_status(rpc_status.to_status(answer))
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, f"a bare {answer.name}")
        return answer(request, context) if not isinstance(answer, Message) else answer

    def hang(self, _request: Any, context: grpc.ServicerContext) -> Message:
        """Never answers."""
        gone = threading.Event()
        context.add_callback(gone.set)
        while not (gone.wait(0.01) or self.stopping.is_set()):
            pass
        raise AssertionError("the caller has gone")


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, server: ScriptedServer) -> None:
        self.server = server

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = METHODS[details.method]
        parse = GetMessageClass(method.input_type).FromString

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            return self.server.answer(details.method, request, context)

        def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield self.server.answer(details.method, request, context)

        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(answers, parse, lambda message: message.SerializeToString())
        return grpc.unary_unary_rpc_method_handler(answer, parse, lambda message: message.SerializeToString())


@contextmanager
def scripted_server(address: str = "127.0.0.1:0") -> Iterator[ScriptedServer]:
    script = ScriptedServer()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, handlers=[_Handlers(script)], options=[("grpc.so_reuseport", 0)])
        port = server.add_insecure_port(address)
        script.target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        server.start()
        try:
            yield script
        finally:
            script.stopping.set()
            server.stop(None).wait(10)


def status(
    code: grpc.StatusCode, reason: str, message: str = "no", *, violations: Any = (), **metadata: str
) -> status_pb2.Status:
    """Makes the status that a rampd server sends with a refusal."""
    answer = status_pb2.Status(code=code.value[0], message=message)
    answer.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="rampd", metadata=metadata))
    if violations:
        request = error_details_pb2.BadRequest()
        for name, text in violations:
            request.field_violations.add(field=name, description=text)
        answer.details.add().Pack(request)
    return answer
