"""What one address may do in a process."""

from api.access.visitors import Visitors
from tasks.settings import Settings


def test_however_many_sockets_of_an_address_flood_others_behind_it_wait_for_a_minute_only() -> None:
    visitors = Visitors(Settings(limit_calls_per_address=60))
    assert visitors.flood("an office")
    for _ in range(50):
        assert not visitors.flood("an office")
    assert 0 < visitors.call("an office") <= 60
    assert not visitors.call("another one")
