"""Where a delivery may go: to public addresses, to the very address that was checked, and nowhere else."""

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from schemas.errors import Refused


class Forbidden(Refused):
    """The host's address is one that a delivery must not reach: private, loopback, link-local, not routed."""

    code = "address-forbidden"


def allowed(address: str) -> bool:
    """Whether an IP address is a public one. What IPv6 carries of IPv4 is looked into."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            embedded.append(ipaddress.IPv4Address(ip.packed[-4:]))
        if not all(inner is None or inner.is_global for inner in embedded):
            return False
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Resolver(AbstractResolver):
    """Resolves a host and checks every address found; to those aiohttp then connects, and to no other.

    A name that resolves to something else a moment later (DNS rebinding) therefore changes nothing. TLS still
    verifies the name. With `private` addresses within the organisation are allowed too.
    """

    def __init__(self, private: bool = False) -> None:
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises `Forbidden` if any of them is, `OSError` where there are none."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        addresses = dict.fromkeys((entry[0], str(entry[4][0])) for entry in found)
        if not addresses:
            raise OSError("the host has no address")
        for _, address in addresses:
            self.check(address)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=of, proto=0, flags=socket.AI_NUMERICHOST
            )
            for of, address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""

    def check(self, address: str) -> None:
        """Raises `Forbidden` for an IP address that nothing may be sent to."""
        if not self._private and not allowed(address):
            raise Forbidden("the host has an address that is not public")

    def socket(self, address: AddrInfoType) -> socket.socket:
        """A socket for one connection, checked by the address that it is to be connected to.

        A host that is an address already was not resolved. Raises `Forbidden`.
        """
        family, kind, protocol, _, place = address
        self.check(str(place[0]))
        return socket.socket(family, kind, protocol)
