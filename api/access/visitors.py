"""Who calls, and what one address may do in this process, over all its calls and sockets.

What is counted here costs no trip to Redis, so counting is never the load that it should prevent. It holds for each web
process by itself. What has to hold over all processes is counted in Redis: `rate_limits` and `connection_limits`.
"""

import math

from starlette.requests import HTTPConnection

from api.access.client_ip import ProxyCheck, client_ip
from api.access.throttle import Throttle, per_minute
from tasks.settings import Settings

#: Frames that an address may send, for each message that it may: people also stop replies, ask for others, and so on.
FRAMES_PER_MESSAGE = 10
#: Seconds of that rate that an address may use at once.
FRAMES_BURST_SECONDS = 3
#: Bytes of a history that cost as much as one call.
BYTES_PER_CALL = 50_000


class Visitors:
    """The allowances of all addresses.

    Args:
        settings: TRUSTED_PROXIES, LIMIT_CALLS_PER_ADDRESS and LIMIT_MESSAGES_PER_ADDRESS are read.
    """

    def __init__(self, settings: Settings) -> None:
        self._trusted_proxies = settings.trusted_proxies
        self._proxy_check = ProxyCheck(settings.trusted_proxies)
        self._calls_per_minute = settings.limit_calls_per_address
        self._calls = per_minute(settings.limit_calls_per_address)
        frames = FRAMES_PER_MESSAGE * settings.limit_messages_per_address / 60
        self._frames = Throttle(frames or math.inf, FRAMES_BURST_SECONDS * frames)

    def address_of(self, connection: HTTPConnection) -> str:
        """The name under which the client is counted."""
        address = client_ip(connection, self._trusted_proxies)
        self._proxy_check.see(connection, address)
        return address

    def call(self, address: str) -> int:
        """Count a call or a handshake; returns 0, or the whole seconds to wait, and then it is refused."""
        return math.ceil(self._calls.take(address))

    def history(self, address: str, size: int) -> None:
        """Count what a history of `size` bytes costs beyond the call itself."""
        self._calls.charge(address, size / BYTES_PER_CALL)

    def flood(self, address: str) -> bool:
        """Charge an address for a flooding socket: a minute of calls. True if it had no such debt before.

        uvicorn reads on for ten seconds after a close frame, and parses what comes. That is spent for the first flood
        only: it may be a client with a fault, whose author needs the code. The minute is charged once, too, however
        many sockets flood: others may share the address.
        """
        first = self._calls.take(address) == 0
        if first:
            self._calls.charge(address, self._calls_per_minute)
        return first

    def frame(self, address: str) -> float:
        """Count a frame; returns 0, or the seconds to wait, and then it is refused."""
        return self._frames.take(address)
