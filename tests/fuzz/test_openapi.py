"""The OpenAPI document is complete and true: whatever is sent, each call answers as the document says."""

import httpx
import pytest

from tests.fuzz.calls import call_everything
from tests.support.stack import Stack

CALLS = {
    ("/token", "post"): {"200", "400", "403", "429", "503"},
    ("/refresh_token", "get"): {"200", "400", "429", "503"},
    ("/token", "delete"): {"204", "400", "403", "429", "503"},
    ("/healthz", "get"): {"200"},
    ("/readyz", "get"): {"200", "429", "503"},
    ("/metrics", "get"): {"200", "401", "429", "503"},
}


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_whatever_is_sent_the_answer_is_as_described(stack: Stack, path: str, method: str) -> None:
    call_everything(stack.url, path, method, examples=25)


def test_every_call_is_described_with_every_status_it_can_answer(stack: Stack) -> None:
    paths = httpx.get(f"{stack.url}/openapi.json").json()["paths"]
    described = {
        (path, method): set(call["responses"]) for path, calls in paths.items() for method, call in calls.items()
    }
    assert described == CALLS
