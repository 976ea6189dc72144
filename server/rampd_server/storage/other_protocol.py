"""What a Redis that does not understand us would say: it speaks TLS where we are plain, or the other way round.

It does not say so by itself. A plain Redis waits for the rest of a TLS greeting, a TLS port drops whoever is plain, and one
that wants a certificate is gone before its alert is read by a client that writes first.
"""

import asyncio
import ssl

_TIMEOUT_S = 0.3


async def speaks_plain_redis(host: str, port: int) -> bool:
    """Whether a plain PING is answered as Redis does, be it with an error."""
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
    """Whether a greeting of TLS is answered."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=_anyone())
            writer.close()
    except OSError:
        return False
    return True


async def wants_certificate(host: str, port: int) -> bool:
    """Whether who greets with TLS and has no certificate is told that one is needed. Nothing is sent after the greeting:
    Redis says so once and hangs up, and what is sent to a closed connection may keep its words from being read.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=_anyone())
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
    """Whether an error is the alert of TLS 1.3 for that; older versions have none of their own."""
    return "CERTIFICATE_REQUIRED" in str(error)


def _anyone() -> ssl.SSLContext:
    """Takes every certificate: nothing is sent to whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
