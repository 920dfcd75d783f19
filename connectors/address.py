"""Where a delivery may go: to public addresses, to the very address that was checked, and nowhere else."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

import httpcore

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


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host once, checks every address found, and connects to one of those and no other.

    A name that resolves to something else a moment later (DNS rebinding) therefore changes nothing. TLS still
    verifies the name. With `private` addresses within the organisation are allowed too.
    """

    def __init__(self, private: bool = False) -> None:
        self._private = private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers. Raises `Forbidden` if any of them is."""
        async with asyncio.timeout(timeout):
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise httpcore.ConnectError("the host has no address") from error
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            if not self._private and not all(allowed(address) for address in addresses):
                raise Forbidden("the host has an address that is not public")
            for last, address in enumerate(addresses, 1 - len(addresses)):
                try:
                    return await self._network.connect_tcp(
                        address, port, local_address=local_address, socket_options=socket_options
                    )
                except httpcore.ConnectError:
                    if last == 0:
                        raise
        raise httpcore.ConnectError("the host has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: nothing leaves by a socket in the file system."""
        raise Forbidden("deliveries leave by TCP only")

    async def sleep(self, seconds: float) -> None:
        """Pause."""
        await asyncio.sleep(seconds)
