"""One response as its reader sees it: text, an end, or one error, whatever a server says and whenever."""

import socket

import httpx
import pytest

from tasks.model.errors import from_exception
from tasks.model.output_filter import OutputFilter
from tasks.model.response import ResponseReader
from tests.support.model_server import tgi


@pytest.mark.parametrize(
    "error",
    [
        b'{"error":"Input validation error","error_type":"validation"}',
        b'{"error":"no such model","code":404}',
        b'{"message":"no such model","code":404}',
        b'{"detail":"not allowed","status":403}',
    ],
)
@pytest.mark.parametrize("begun", [True, False])
def test_an_error_after_good_words_is_a_break_whatever_the_server_calls_it(error: bytes, begun: bool) -> None:
    """The server has shown that it can answer the request, so asking again can help."""
    reader = ResponseReader("text-generation", OutputFilter("", (), 10), 10)
    shown = reader.feed(tgi(" Well", end=None)) if begun else ""
    shown += reader.feed(b"data: " + error + b"\n\n")
    assert shown.strip() == ("Well" if begun else "")
    assert reader.error
    assert reader.over
    assert (reader.error.reason == "retrying") is begun
    assert reader.error.quoted


def test_a_name_that_nobody_knows_is_said_to_be_unknown() -> None:
    try:
        try:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        except OSError as cause:
            raise httpx.ConnectError("all attempts failed") from cause
    except httpx.ConnectError as error:
        found = from_exception(error, answered=False, began=False)
    assert found.code == "model_dns"
    assert "MODEL_URL" in found.operator
