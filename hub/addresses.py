"""How often one address may ask where nobody says who they are.

An address is known as a keyed hash, in memory, under a key that this process makes for the day and then
drops. It is in no record, metric or file.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from fastapi import Request

from hub.rates import Rates

DAY_MS: Final = 86_400_000
NETWORK_BITS: Final = 64  # of IPv6: what one household or host is given


class Addresses:
    """Buckets by address. For one event loop."""

    def __init__(
        self, per_s: float, burst: int, proxies: Iterable[object], clock_ms: Callable[[], int]
    ) -> None:
        """In: requests a second in the long run, and at once; proxies whose word about addresses counts."""
        self._rates = Rates(per_s, burst)
        self._proxies = frozenset(map(str, proxies))
        self._clock_ms = clock_ms
        self._day = -1
        self._key = b""

    def take(self, request: Request) -> int:
        """Take one request. Out: 0, or after how many whole seconds there is one again."""
        day = self._clock_ms() // DAY_MS
        if day != self._day:
            self._day, self._key = day, secrets.token_bytes(32)
        return self._rates.take(hmac.digest(self._key, self.network(request), "sha256").hex())

    def network(self, request: Request) -> bytes:
        """Where a request comes from: the address, of IPv6 its network. What is none is one place."""
        host = request.client.host if request.client else ""
        if host in self._proxies:
            host = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return b""
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is None:
                return address.packed[: NETWORK_BITS // 8]
            address = address.ipv4_mapped
        return address.packed
