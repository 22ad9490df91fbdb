"""Hosts as network namespaces on one switch, each with an address of its own."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import ParleyError
from tests.hosts.switch import TUN, Link, Switch, open_tap

#: The hosts' network, and the device and the address by which this machine is in it too.
NETWORK, OWN_DEVICE, OWN_ADDRESS = "10.77.0", "parley0", "10.77.0.1"
#: Addresses of hosts begin after this one.
FIRST = 10
NAMESPACES = Path("/run/netns")


class NetworkError(ParleyError):
    """The system does not let us make a network."""


@dataclass(frozen=True)
class Host:
    """A network namespace with an address and a link."""

    number: int
    link: Link

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return f"{NETWORK}.{FIRST + self.number}"

    @property
    def inside(self) -> tuple[str, ...]:
        """What stands before a command that runs on this host."""
        return ("ip", "netns", "exec", _namespace(self.number))


def lacks() -> str | None:
    """What this machine lacks for hosts, in a sentence, apart from TAP devices; None if there is all."""
    if sys.platform != "linux":
        return "Hosts are network namespaces, and only Linux has those."
    if os.geteuid() != 0:
        return "Only root may make network namespaces."
    if shutil.which("ip") is None:
        return "The program `ip` is not on this machine: on Debian and Ubuntu, apt-get install iproute2."
    return None


def lacks_tap() -> str | None:
    """Why there are no TAP devices, in a sentence; None if there are."""
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return f"This machine has no TAP devices: {TUN} cannot be opened ({error.strerror})."
    return None


@contextmanager
def hosts(number: int, seed: int = 0) -> Iterator[list[Host]]:
    """So many hosts on one switch with this machine; they are gone after the block, also after an error.

    Args:
        number: how many; the first has the number 1.
        seed: decides which frames get lost.

    Raises NetworkError if the system does not allow it, or if there are such hosts already.
    """
    with contextlib.ExitStack() as made:

        def plug_in(name: str, device: str, namespace: Path | None = None) -> Link:
            try:
                link = Link(name, open_tap(device, namespace))
            except OSError as error:
                raise NetworkError(f"The TAP device of {name} cannot be opened: {error.strerror}.") from None
            made.callback(os.close, link.device)
            return link

        own = plug_in("this machine", OWN_DEVICE)
        # Two cannot have this device at once, so what is there now is what an earlier run left.
        _remove()
        made.callback(_remove)
        _set_up(OWN_DEVICE, OWN_ADDRESS)
        found = []
        for one in range(1, number + 1):
            name = _namespace(one)
            _ip("netns", "add", name)
            found.append(Host(one, plug_in(f"host {one}", "eth0", NAMESPACES / name)))
            _set_up("eth0", found[-1].address, "-n", name)
            _ip("-n", name, "link", "set", "lo", "up")
        made.enter_context(Switch([own, *(host.link for host in found)], seed))
        yield found


def _set_up(device: str, address: str, *where: str) -> None:
    _ip(*where, "address", "add", f"{address}/24", "dev", device)
    _ip(*where, "link", "set", device, "up")


def _remove() -> None:
    """Remove the namespaces. Devices are gone as soon as nobody has them open."""
    for path in NAMESPACES.glob(_namespace("*")):
        _ip("netns", "delete", path.name)


def _namespace(number: int | str) -> str:
    return f"parley-host-{number}"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NetworkError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}.")
