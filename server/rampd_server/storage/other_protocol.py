"""Finds out whether a port speaks TLS where rampd speaks plain text, or the other way round.

Redis does not report this. A plain port waits for the rest of a TLS greeting. A TLS port closes a plain connection. A port that
wants a certificate closes the connection before a client that writes first has read the alert.
"""

import asyncio
import ssl

_TIMEOUT_S = 0.3


async def speaks_plain_redis(host: str, port: int) -> bool:
    """Returns whether a plain PING gets an answer as from Redis, which may be an error."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return (await reader.read(1)) in {b"+", b"-"}
            finally:
                writer.close()
    except OSError:  # a TimeoutError too
        return False


async def speaks_tls(host: str, port: int) -> bool:
    """Returns whether the port completes a TLS handshake."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=_context_without_checks())
            writer.close()
    except OSError:
        return False
    return True


async def wants_certificate(host: str, port: int) -> bool:
    """Returns whether a TLS client without a certificate is told that it needs a certificate.

    Nothing is sent after the handshake. Redis sends an alert and closes the connection. Data sent to a closed connection could
    prevent the alert from being read.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=_context_without_checks())
            try:
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return is_certificate_wanted(error)
    except OSError:  # a TimeoutError too
        return False
    return False


def is_certificate_wanted(error: ssl.SSLError) -> bool:
    """Returns whether an error is the alert `certificate_required` of TLS 1.3. Older versions have no alert for this case."""
    return "CERTIFICATE_REQUIRED" in str(error)


def _context_without_checks() -> ssl.SSLContext:
    """Accepts every certificate. This is safe, because nothing is sent over the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
