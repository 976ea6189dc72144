"""An issuer that answers over HTTP on this machine."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx

from tests.oidc_issuer import Issuer


class Answer(NamedTuple):
    status: int
    content: Any = None
    headers: Mapping[str, str] = {}


class HttpIssuer(Issuer):
    """`name` is its address."""

    def configuration(self) -> dict[str, Any]:
        """What it says of itself."""
        return {"issuer": self.name, "jwks_uri": f"{self.name}/.well-known/jwks"}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """The answer without a network."""
        if self.fails_with is not None or "/.well-known/" in request.url.path:
            found = super()._answer(request)
            is_about = request.url.path.endswith("/openid-configuration") and found.is_success
            return httpx.Response(200, json={**found.json(), **self.configuration()}) if is_about else found
        self.asked.append(request.url.path)
        answer = self.answer_to(request.method, str(request.url), dict(request.headers), request.content.decode())
        return httpx.Response(answer.status, json=answer.content, headers=dict(answer.headers))

    def answer_to(self, method: str, target: str, headers: Mapping[str, str], body: str) -> Answer:
        """The answer to everything but its configuration and its keys."""
        raise NotImplementedError


_Kind = TypeVar("_Kind", bound=HttpIssuer)


@contextlib.contextmanager
def serving(kind: Callable[[str], _Kind]) -> Iterator[_Kind]:
    """Runs an issuer for as long as the block lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            issuer.asked.append(path)
            if path == "/.well-known/openid-configuration":
                self._send(Answer(200, issuer.configuration()))
            elif path == "/.well-known/jwks":
                self._send(Answer(200, json.loads(issuer.key_set())))
            else:
                self._send(issuer.answer_to("GET", self.path, self._headers(), ""))

        def do_POST(self) -> None:
            issuer.asked.append(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            self._send(issuer.answer_to("POST", self.path, self._headers(), body))

        def _headers(self) -> dict[str, str]:
            return {name.lower(): value for name, value in self.headers.items()}

        def _send(self, answer: Answer) -> None:
            content = b"" if answer.content is None else json.dumps(answer.content).encode()
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = kind(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
