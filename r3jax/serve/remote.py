"""Images of the web, fetched for a request: only public addresses, only so many bytes and seconds.

A name is looked up once, and what was checked is what is connected to; redirects are not followed.
"""

import asyncio
import ipaddress
import socket

import aiohttp
import yarl
from aiohttp import abc, resolver

from r3jax.serve.errors import RequestError


class PublicOnly(abc.AbstractResolver):
    """Looks names up as usual and drops addresses of private networks."""

    def __init__(self):
        self._inner = resolver.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET):
        """The public addresses of a host.

        Raises: OSError where it has none.
        """
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if is_public(one["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        """Nothing is kept."""
        await self._inner.close()


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, and not of this machine or a private network.

    >>> is_public("93.184.215.14"), is_public("127.0.0.1"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    >>> is_public("2606:2800:21f:cb07::1"), is_public("64:ff9b::7f00:1")
    (True, False)
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.sixtofour or found.teredo:
            return False  # they lead to addresses of the older kind, whatever these are
        if found.ipv4_mapped:
            found = found.ipv4_mapped
        elif found not in _GIVEN_OUT:
            return False
    return found.is_global and not found.is_multicast


_GIVEN_OUT = ipaddress.ip_network("2000::/3")  # of IPv6, all that is in use on the internet


def session() -> aiohttp.ClientSession:
    """What fetches images: no cookies, no proxies, no names that it resolves by itself."""
    connector = aiohttp.TCPConnector(resolver=PublicOnly(), use_dns_cache=False, limit=16)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    )


async def fetch(
    client: aiohttp.ClientSession, url: str, place: str, limit_bytes: int, timeout_s: float
) -> bytes:
    """The bytes behind a URL.

    Raises: RequestError (400) where they cannot be had.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _fetch(client, url, limit_bytes)
    except TimeoutError as error:
        raise _failed(place, f"no answer within {timeout_s:g} seconds") from error
    except (aiohttp.ClientError, OSError) as error:  # nobody is told which names there are
        raise _failed(place, "it cannot be reached") from error
    except ValueError as error:
        raise _failed(place, str(error)[:200]) from error


async def _fetch(client: aiohttp.ClientSession, url: str, limit_bytes: int) -> bytes:
    host = yarl.URL(url).host or ""
    if host.replace(".", "").isdigit() or ":" in host:  # an address is not looked up
        _check_address(host)
    async with client.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"its server answers {response.status}, expected 200")
        data = bytearray()
        async for part in response.content.iter_chunked(2**16):
            data += part
            if len(data) > limit_bytes:
                raise ValueError(f"it has more than {limit_bytes} bytes")
        return bytes(data)


def _check_address(host: str) -> None:
    if not is_public(host):
        raise ValueError(f"{host} is no public address")


def _failed(place: str, why: str) -> RequestError:
    return RequestError(400, f"{place}: the image cannot be fetched: {why}", place, "fetch_failed")
