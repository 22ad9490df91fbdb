"""Caddy in front of a web process, as docker-compose.yml's profile `https` has it, on ports of a test's own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tasks.local.processes import ROOT, Child, wait_until
from tests.support.missing import missing
from tests.support.ports import own_port


@contextmanager
def caddy(web_port: int, folder: Path, *, tls: bool = True) -> Iterator[str]:
    """The address of Caddy in front of web; with TLS its certificate is of its own making.

    Args:
        web_port: where web listens on the loopback interface.
        folder: where Caddy keeps its certificates.
        tls: whether HTTPS is spoken, as in front of the world, or plain HTTP.
    """
    if shutil.which("caddy") is None:
        missing("There is no Caddy on this machine.")
    http, https = own_port(), own_port()
    url = f"https://localhost:{https}" if tls else f"http://localhost:{http}"
    env = {
        "DOMAIN": "localhost" if tls else f"http://localhost:{http}",
        "HTTP_PORT": str(http),
        "HTTPS_PORT": str(https),
        "UPSTREAM": f"127.0.0.1:{web_port}",
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with Child("caddy", ["caddy", "run", "--config", str(ROOT / "Caddyfile")], env) as child:
        wait_until(lambda: _answers(url), "Caddy", [child])
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", verify=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
