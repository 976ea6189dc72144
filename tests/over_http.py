"""Calls over HTTP, with the face of a channel of gRPC: a test of the API can then run over both."""

import base64
import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2

from rampd_server.rpc.binding import SERVICES
from tests.servers import Stubs

METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES.values() for method in service.methods}
ENVELOPE = struct.Struct(">BI")
COMPRESSED, END = 1, 2


class HttpError(grpc.RpcError):
    """What a client of Connect makes of an error."""

    def __init__(self, error: dict[str, Any], http_status: int) -> None:
        super().__init__(f"{http_status} {error}")
        name = error["code"].upper()
        self.http_status = http_status
        self.status = status_pb2.Status(
            code=code_pb2.Code.Value("CANCELLED" if name == "CANCELED" else name), message=error["message"]
        )
        for detail in error.get("details", ()):
            value = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))
            self.status.details.add(type_url=f"type.googleapis.com/{detail['type']}", value=value)
            assert json_format.MessageToDict(self.status.details[-1]) == {
                "@type": f"type.googleapis.com/{detail['type']}",
                **detail["debug"],
            }

    def code(self) -> grpc.StatusCode:
        return next(code for code in grpc.StatusCode if code.value[0] == self.status.code)

    def details(self) -> str:
        return self.status.message

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return (("grpc-status-details-bin", self.status.SerializeToString()),)


def envelope(data: bytes, flags: int = 0) -> bytes:
    return ENVELOPE.pack(flags, len(data)) + data


def envelopes(parts: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """The flags and the content of each envelope of a stream."""
    data = b""
    for part in parts:
        data += part
        while len(data) >= ENVELOPE.size:
            flags, length = ENVELOPE.unpack_from(data)
            if len(data) < ENVELOPE.size + length:
                break
            yield flags, data[ENVELOPE.size : ENVELOPE.size + length]
            data = data[ENVELOPE.size + length :]
    assert data == b"", "the stream ended inside of an envelope"


class HttpChannel:
    """`kind` is json or proto."""

    def __init__(self, client: httpx.Client, kind: str = "json") -> None:
        self.client = client
        self._kind = kind

    def unary_unary(
        self, path: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            data = request_serializer(request) if request_serializer else request
            headers = self._headers(f"application/{self._kind}", timeout, metadata)
            answer = self.client.post(path, content=self._sent(path, data), headers=headers)
            if answer.status_code != 200:
                raise HttpError(answer.json(), answer.status_code)
            assert answer.headers["content-type"] == f"application/{self._kind}"
            data = self._received(path, answer.content)
            return response_deserializer(data) if response_deserializer else data

        return call

    def unary_stream(
        self, path: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> "HttpStream":
            data = request_serializer(request) if request_serializer else request
            headers = self._headers(f"application/connect+{self._kind}", timeout, metadata)
            stream = self.client.stream("POST", path, content=envelope(self._sent(path, data)), headers=headers)
            read = response_deserializer or (lambda data: data)
            return HttpStream(stream, lambda data: read(self._received(path, data)))

        return call

    def _headers(self, kind: str, timeout: float | None, metadata: Any) -> list[tuple[str, str]]:
        headers = [("content-type", kind), ("connect-protocol-version", "1"), *(metadata or ())]
        return headers if timeout is None else [*headers, ("connect-timeout-ms", str(int(timeout * 1000)))]

    def _sent(self, path: str, data: bytes) -> bytes:
        if self._kind == "proto":
            return data
        return json_format.MessageToJson(GetMessageClass(METHODS[path].input_type).FromString(data)).encode()

    def _received(self, path: str, data: bytes) -> bytes:
        if self._kind == "proto":
            return data
        message = GetMessageClass(METHODS[path].output_type)()
        found: bytes = json_format.Parse(data, message).SerializeToString()
        return found


class HttpStream:
    """An open stream. It ends with the error that its last envelope has."""

    def __init__(self, stream: Any, read: Callable[[bytes], Any]) -> None:
        self._stack = contextlib.ExitStack()
        self.response: httpx.Response = self._stack.enter_context(stream)
        if self.response.status_code != 200:
            self.response.read()
            self.cancel()
            raise HttpError(self.response.json(), self.response.status_code)
        self._read = read
        self._envelopes = envelopes(self.response.iter_bytes())

    def __iter__(self) -> "HttpStream":
        return self

    def __next__(self) -> Any:
        for flags, data in self._envelopes:
            if not flags & END:
                return self._read(data)
            self.cancel()
            if error := json.loads(data).get("error"):
                raise HttpError(error, 200)
            raise StopIteration
        raise AssertionError("the stream ended without its end")

    def cancel(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def stubs_over_http(url: str, kind: str = "json", **options: Any) -> Iterator[Stubs]:
    with httpx.Client(base_url=url, timeout=60, trust_env=False, **options) as client:
        yield Stubs(HttpChannel(client, kind))
