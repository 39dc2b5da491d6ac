"""How often somebody may be wrong: a few times per address, and not very often in all."""

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_ADDRESSES: Final = 4096
"""Remembered at a time; the oldest is forgotten first, and the limit for all goes on counting."""


@dataclass
class WrongTries:
    """Counts wrong tries in a sliding window.

    Parameters
    ----------
    clock : seconds that only go forward.
    """

    clock: Callable[[], float]
    per_address: int = 10
    in_all: int = 200
    window_s: float = 600.0
    _all: deque[float] = field(default_factory=deque, init=False)
    _by_address: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict, init=False)

    def wait_s(self, address: str) -> float:
        """How long ``address`` has to wait before its next try is looked at; 0 for not at all."""
        own = self._by_address.get(network_of(address), deque())
        return max(self._wait(own, self.per_address), self._wait(self._all, self.in_all))

    def count(self, address: str) -> None:
        """``address`` was wrong, just now."""
        now, network = self.clock(), network_of(address)
        self._all.append(now)
        self._by_address.setdefault(network, deque(maxlen=self.per_address)).append(now)
        self._by_address.move_to_end(network)
        while len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)

    def _wait(self, times: deque[float], most: int) -> float:
        begin = self.clock() - self.window_s
        while times and times[0] <= begin:
            times.popleft()
        return times[len(times) - most] - begin if len(times) >= most else 0.0


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or its /64, all of which one machine may have, with IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)
