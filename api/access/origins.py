"""Which pages may call: the page's own origin, and those that ALLOWED_ORIGINS names."""

from starlette.requests import HTTPConnection

from tasks.settings import Settings


def allowed(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether a request may come from where it says it comes from; one without an Origin is no browser's."""
    origin = connection.headers.get("origin")
    if origin is None or "*" in settings.allowed_origins:
        return True
    host = connection.headers.get("host")
    return origin in (f"http://{host}", f"https://{host}", *settings.allowed_origins)
