"""Asks the server of an OIDC issuer, within bounds of time and size."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

import httpx

TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 1 << 20
_REFUSALS: Final = frozenset({400, 401, 403})
"""The statuses with which a token endpoint says in JSON what is wrong (RFC 6749, section 5.2)."""


async def client(ca_file: str | None, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Returns a client for the requests of a moment. It trusts the authorities of a file, or those that the system knows. `transport`
    replaces the network. Raises OSError.
    """
    if transport is not None:
        return httpx.AsyncClient(transport=transport)
    # Reading all authorities of a system takes some 20 ms.
    tls = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
    return httpx.AsyncClient(verify=tls, timeout=TIMEOUT_S)


async def configuration(issuer: str, by: httpx.AsyncClient) -> Mapping[str, Any]:
    """Returns what an issuer says of itself (OpenID Connect Discovery 1.0). Raises httpx.HTTPError; ValueError."""
    about = await json_of(by, "GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if about.get("issuer") != issuer:
        raise ValueError(f"its configuration is about the issuer {about.get('issuer')!r:.80}")
    return about


def address(about: Mapping[str, Any], name: str) -> str:
    """Returns an address that an issuer's configuration names. Raises ValueError."""
    where = about.get(name)
    if not isinstance(where, str):
        raise ValueError(f"its configuration has no {name}")  # noqa: TRY004 - all wrong answers raise ValueError
    if about["issuer"].startswith("https:") and not where.startswith("https:"):
        raise ValueError(f"its {name} is {where!r:.80}, which is not an https:// address")
    return where


async def json_of(
    by: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    takes_refusal: bool = False,
    **request: Any,  # noqa: ANN401 - what httpx takes
) -> Mapping[str, Any]:
    """Returns the JSON object of an answer. `takes_refusal`: also that of a refusal. Raises httpx.HTTPError; ValueError."""
    async with by.stream(method, url, **request) as response:
        if not (takes_refusal and response.status_code in _REFUSALS):
            response.raise_for_status()
        content = b""
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > _MAX_BYTES:
                raise ValueError(f"{url} answers more than {_MAX_BYTES} bytes")
    try:
        found = httpx.Response(200, content=content).json()
    except RecursionError:
        raise ValueError(f"{url} answers JSON that is too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"{url} answers no JSON object")  # noqa: TRY004 - as above
    return found
