"""Where the model server is and what it is asked: addresses, headers and bodies of both protocols."""

from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import orjson

from tasks.errors import SettingsError
from tasks.model.prompt import Prompt
from tasks.settings import Settings

#: vLLM knows it; stricter servers of the same protocol reject a request that holds it.
EXTRA = "repetition_penalty"


class Endpoint:
    """The server of `settings`, ready to be asked.

    Raises SettingsError for a MODEL_URL that cannot belong to MODEL_PROTOCOL.
    """

    def __init__(self, settings: Settings) -> None:
        self.protocol = settings.model_protocol
        self.url = _address(settings.model_url, settings.model_protocol)
        self.headers = _headers(settings)
        self._token = settings.hf_token.get_secret_value() if settings.hf_token else ""
        self._fixed = _sampling(settings)
        if self.protocol == "completions":
            self._fixed = {"model": settings.model_name, "stream": True} | self._fixed

    def body(self, prompt: Prompt, tokens: int) -> bytes:
        """The request for at most `tokens` tokens that continue `prompt`."""
        stop = list(prompt.stop)
        if self.protocol == "completions":
            return orjson.dumps({"prompt": prompt.text, "max_tokens": tokens, "stop": stop} | self._fixed)
        wanted = {"max_new_tokens": tokens, "stop": stop, "return_full_text": False, "details": True}
        return orjson.dumps({"inputs": prompt.text, "parameters": wanted | self._fixed, "stream": True})

    def drop_unsupported_parameter(self, rejection: str) -> bool:
        """Whether `rejection` names the one parameter that only some completions servers know; it is then left
        out from now on."""
        return EXTRA in rejection and self.protocol == "completions" and self._fixed.pop(EXTRA, None) is not None

    def without_token(self, text: str) -> str:
        """`text`, which may quote the server, fit to be logged and shown."""
        return text.replace(self._token, "***") if self._token else text


def _address(url: str, protocol: str) -> str:
    """The full address from a base address or a full path."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not _has_host(parts):
        raise SettingsError("MODEL_URL names no host")
    if parts.username or parts.password:
        raise SettingsError("MODEL_URL holds a user name or password; put a token into HF_TOKEN instead")
    if path.endswith("/chat/completions"):
        raise SettingsError("MODEL_URL is a chat address; GPT-J needs /v1/completions there")
    if protocol == "completions":
        return _at(parts, _completions_path(path))
    if path.endswith("/completions"):
        raise SettingsError("MODEL_URL ends in /completions; set MODEL_PROTOCOL=completions")
    return _at(parts, path + "_stream" if path.endswith("/generate") else path or "/")


def _has_host(parts: SplitResult) -> bool:
    try:
        return bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:  # a port that is no number, or a name that no name server knows
        return False


def _completions_path(path: str) -> str:
    if path.endswith("/completions"):
        return path
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
        if not (token.isascii() and token.isprintable()):
            raise SettingsError("HF_TOKEN holds a line end or other characters that no token has")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _sampling(settings: Settings) -> dict[str, Any]:
    """Only what the protocol accepts: text-generation has no word for "off" but leaving it out."""
    penalty = {} if settings.repetition_penalty == 1 else {"repetition_penalty": settings.repetition_penalty}
    top_p = {} if settings.top_p == 1 else {"top_p": settings.top_p}
    if settings.model_protocol == "completions":
        return {"temperature": settings.temperature} | top_p | penalty
    if settings.temperature == 0:
        return {"do_sample": False} | penalty
    return {"do_sample": True, "temperature": settings.temperature} | top_p | penalty
