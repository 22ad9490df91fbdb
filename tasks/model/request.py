"""Where the model server is and what it is asked: addresses, headers and bodies of both protocols."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

import httpx
import orjson

from tasks.errors import SettingsError
from tasks.model.prompt import Prompt
from tasks.model.redaction import PROMPT_PART, SECRET_PART, redact
from tasks.settings import Settings

#: Parameters that some servers do not know and reject. A reply can do without each of them; the rarest comes first.
OPTIONAL = ("repetition_penalty", "details", "return_full_text", "do_sample", "top_p", "temperature")


class Endpoint:
    """The server of `settings`, ready to be asked.

    Raises SettingsError for a MODEL_URL that cannot belong to MODEL_PROTOCOL.
    """

    def __init__(self, settings: Settings) -> None:
        self.protocol = settings.model_protocol
        self.url = _address(settings.model_url, settings.model_protocol)
        self.headers = _headers(settings)
        self._secrets = _secrets(settings)
        self._fixed = _sampling(settings)
        if self.protocol == "completions":
            self._fixed = {"model": settings.model_name, "stream": True} | self._fixed
        else:
            self._fixed = {"return_full_text": False, "details": True} | self._fixed

    @property
    def shown_url(self) -> str:
        """The address for the log: without its query, which may hold a key."""
        parts = urlsplit(self.url)
        return redact(_at(parts._replace(query=""), parts.path), self._secrets)

    def body(self, prompt: Prompt, tokens: int) -> bytes:
        """The request for at most `tokens` tokens that continue `prompt`."""
        stop = list(prompt.stop)
        if self.protocol == "completions":
            return orjson.dumps({"prompt": prompt.text, "max_tokens": tokens, "stop": stop} | self._fixed)
        parameters = {"max_new_tokens": tokens, "stop": stop} | self._fixed
        return orjson.dumps({"inputs": prompt.text, "parameters": parameters, "stream": True})

    def drop_unsupported_parameter(self, named: Iterable[str]) -> str:
        """The optional parameter that a rejection names, or "". It is left out of every further request.

        `named` are the strings of the rejection. A list of what the server does know is no complaint.
        """
        complaint = re.split(r"(?i)\bexpected\b|\bsupported (?:fields|parameters)\b", "\n".join(named))[0]
        words = set(re.findall(r"\w+", complaint))
        for name in OPTIONAL:
            if name in words and name in self._fixed:
                del self._fixed[name]
                return name
        return ""

    def redact(self, text: str, prompt: Prompt) -> str:
        """`text`, which may quote the request, fit for the log: no part of a secret, no words of the prompt."""
        return redact(text, [*self._secrets, (prompt.text, PROMPT_PART)])


def _address(url: str, protocol: str) -> str:
    """The full address from a base address; a full path stays as it is, with or without a slash at its end."""
    try:
        parts = urlsplit(url)
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise SettingsError("MODEL_URL is no valid address") from None
    path = parts.path.rstrip("/")
    if not _has_host(parts):
        raise SettingsError("MODEL_URL names no host")
    if parts.username or parts.password:
        raise SettingsError("MODEL_URL holds a user name or password; put a token into HF_TOKEN instead")
    if path.endswith("/chat/completions"):
        raise SettingsError("MODEL_URL is a chat address; GPT-J needs /v1/completions there")
    if protocol == "completions":
        return _at(parts, _completions_path(parts.path))
    if path.endswith("/completions"):
        raise SettingsError("MODEL_URL ends in /completions; set MODEL_PROTOCOL=completions")
    return _at(parts, path + "_stream" if path.endswith("/generate") else parts.path or "/")


def _has_host(parts: SplitResult) -> bool:
    try:
        named = parts.hostname and parts.hostname.encode("idna") and not re.search(r"[\s\\]", parts.netloc)
        return bool(named) and parts.port != 0
    except ValueError:  # a port that is no number, or a name that no name server knows
        return False


def _completions_path(full: str) -> str:
    path = full.rstrip("/")
    if path.endswith("/completions"):
        return full
    if path.endswith(("/generate", "/generate_stream")):
        raise SettingsError("MODEL_URL ends in /generate; set MODEL_PROTOCOL=text-generation")
    return path + ("/completions" if path.endswith("/v1") else "/v1/completions")


def _at(parts: SplitResult, path: str) -> str:
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _headers(settings: Settings) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "parley",
    }
    if settings.hf_token is not None:
        token = settings.hf_token.get_secret_value()
        if not re.fullmatch(r"[!-~]+", token):
            raise SettingsError("HF_TOKEN holds a line end, a space or other characters that no token has")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _secrets(settings: Settings) -> list[tuple[str, int]]:
    """The token, and what MODEL_URL's query holds; each with the length of the parts that nobody may see."""
    query = urlsplit(settings.model_url).query
    values = [value for _, value in parse_qsl(query)] + re.split("[&=]", query) + [unquote(query)]
    token = settings.hf_token.get_secret_value() if settings.hf_token else ""
    # A short value of a query, as of `?stream=1`, is no secret.
    return [(token, SECRET_PART), *((value, SECRET_PART * 2) for value in values if len(value) >= SECRET_PART * 2)]


def _sampling(settings: Settings) -> dict[str, Any]:
    """Only what the protocol accepts: text-generation has no word for "off" but leaving it out."""
    penalty = {} if settings.repetition_penalty == 1 else {"repetition_penalty": settings.repetition_penalty}
    top_p = {} if settings.top_p == 1 else {"top_p": settings.top_p}
    if settings.model_protocol == "completions":
        return {"temperature": settings.temperature} | top_p | penalty
    if settings.temperature == 0:
        return {"do_sample": False} | penalty
    return {"do_sample": True, "temperature": settings.temperature} | top_p | penalty
