"""No message, to a person or an operator, holds a part of a secret or what a person wrote."""

import logging
from collections.abc import Callable

import orjson
import pytest

from tasks.errors import ModelError
from tasks.model import retry
from tasks.model.redaction import redact
from tests.support.model_server import STREAM_HEAD, Behaviour, hear, model, raw_server, sends, status, tgi

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"  # noqa: S105
KEY = "k3y-9f8e7d6c5b4a-query"
WORDS = "marzipan-elephant"


def in_stream(text: str) -> Behaviour:
    return sends(STREAM_HEAD + b"data: " + orjson.dumps({"error": text, "error_type": "validation"}) + b"\n\n")


QUOTES: dict[str, Callable[[str], str]] = {
    "whole": lambda secret: f"bad header Authorization: Bearer {secret} in the request",
    "late in a long text": lambda secret: f"{'x ' * 140}Authorization: Bearer {secret}",
    "later still": lambda secret: f"{'x ' * 148}{secret}{' y' * 900}",
    "cut by the server": lambda secret: f"bad header Bearer {secret[:12]}...",
    "its end alone": lambda secret: f"token ending in {secret[-6:]}",
    "again and again": lambda secret: secret * 40,
}


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("secret", [TOKEN, KEY, WORDS])
@pytest.mark.parametrize("where", ["body", "plain text", "validation list", "stream", "break"])
async def test_no_part_of_a_secret_is_shown_or_logged(
    quote: str, secret: str, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    caplog.set_level(logging.DEBUG)
    text = QUOTES[quote](secret)
    answer = {
        "body": status(400, orjson.dumps({"error": {"message": text}})),
        "plain text": status(422, text.encode()),
        "validation list": status(
            422, orjson.dumps({"detail": [{"loc": ["header", text], "msg": text, "input": text}]})
        ),
        "stream": in_stream(text),
        "break": sends(STREAM_HEAD + tgi(" One", end=None) + b"data: " + orjson.dumps({"error": text}) + b"\n\n"),
    }[where]
    async with raw_server(answer) as server, model(f"{server.url}/x?api_key={KEY}", hf_token=TOKEN) as client:
        with pytest.raises(ModelError) as error:
            await hear(client, f"What is a {WORDS}?")
    assert KEY.encode() in server.requests[0]
    assert TOKEN.encode() in server.requests[0]
    said = error.value.detail + error.value.operator + "".join(record.getMessage() for record in caplog.records)
    length = 8 if secret == WORDS else 6
    assert not [secret[at : at + length] for at in range(len(secret) - length) if secret[at : at + length] in said]


async def test_the_address_is_logged_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        raw_server(sends(STREAM_HEAD + tgi(" Hi."))) as server,
        model(f"{server.url}/x?api_key={KEY}&stream=1") as client,
    ):
        await hear(client)
        assert client.url == f"{server.url}/x"
    assert KEY not in caplog.text


@pytest.mark.parametrize("path", [f"/v1/{KEY}/", f"/?api_key={KEY}", f"/#{KEY}", f"/?x={TOKEN}"])
async def test_a_redirect_that_repeats_a_secret_shows_none(path: str) -> None:
    async with (
        raw_server(status(307, b"", f"Location: {path}")) as server,
        model(f"{server.url}/x?api_key={KEY}", hf_token=TOKEN) as client,
    ):
        with pytest.raises(ModelError) as error:
            await hear(client)
    assert KEY not in error.value.operator
    assert TOKEN not in error.value.operator


def test_only_the_parts_are_hidden() -> None:
    assert redact("before hf_secret, after", [("hf_secret", 4)]) == "before ***, after"
    assert redact("hf_s and cret", [("hf_secret", 4)]) == "*** and ***"
    assert redact("nothing here", [("hf_secret", 4), ("", 4)]) == "nothing here"
    assert redact("ab abc", [("ab", 4)]) == "*** ***c"
    assert redact("", [("hf_secret", 4)]) == ""
