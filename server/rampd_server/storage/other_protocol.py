"""What speaks at the place of a Redis that does not understand us: TLS where we are plain, or the other way round.

Neither end says so by itself: a plain Redis waits for the rest of a TLS greeting, and a TLS port drops whoever is plain.
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
    """Whether a greeting of TLS is answered; with which certificate is nothing to us, since nothing is sent."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=anyone)
            writer.close()
    except OSError:
        return False
    return True
