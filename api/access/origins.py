"""Which pages may call: the page's own origin, and those that ALLOWED_ORIGINS names."""

import logging

from starlette.requests import HTTPConnection

from tasks.settings import Settings

log = logging.getLogger("parley.origins")


class Origins:
    """The rule, for one process.

    Args:
        settings: ALLOWED_ORIGINS is read.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.allowed_origins
        self._logged = False

    def allow(self, connection: HTTPConnection) -> bool:
        """Whether a request may come from where it says it comes from; one without an Origin is no browser's.

        The first refusal is logged, since a proxy that does not pass on Host has the page itself refused.
        """
        origin = connection.headers.get("origin")
        if origin is None or "*" in self._allowed:
            return True
        host = connection.headers.get("host", "")
        own = (f"http://{host.removesuffix(':80')}", f"https://{host.removesuffix(':443')}")
        if origin in own or origin in self._allowed:
            return True
        if not self._logged:
            self._logged = True
            log.warning(
                "origin.refused origin=%r host=%r: another site's page called, or a proxy does not pass on Host. If "
                "this is your own page, let the proxy pass it on, or name the origin in ALLOWED_ORIGINS.",
                *(origin[:100], host[:100]),
            )
        return False
