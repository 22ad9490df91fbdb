"""What the body of an error says, in whatever shape a server or a proxy gives it. Pure."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

#: Where JSON errors keep their words, in the order in which they are looked for.
_WORDS = ("error", "errors", "message", "detail", "details", "msg", "reason", "description", "error_description",
          "title", "type", "code")  # fmt: skip
#: Where JSON errors repeat the request, and with it what a person wrote.
_ECHOES = ("input", "body", "request", "prompt", "inputs")
#: Levels of nesting that are looked into.
_DEPTH = 6


def parse_body(body: bytes) -> Any:
    """The JSON value of an error's body; its text where it is no JSON, for a web page without tags."""
    text = body.decode(errors="replace").strip()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    if text.startswith("<"):
        text = re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<[^>]*>", " ", text)
        return " ".join(html.unescape(text).split())
    return text


def describe(value: Any, depth: int = _DEPTH) -> str:
    """The words of an error in one line: `value` is what `parse_body` gave, or a part of it.

    Lists and objects are read `depth` levels deep.
    """
    if depth == 0:
        return ""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return "; ".join(filter(None, (describe(item, depth - 1) for item in value[:20])))
    if not isinstance(value, dict):
        return ""
    said = next((said for key in _WORDS if (said := describe(value.get(key), depth - 1))), "")
    if not said:
        # Some say which field is wrong by its name alone: {"top_p": ["Unknown field."]}.
        fields = ((key, describe(item, depth - 1)) for key, item in value.items() if key not in _ECHOES)
        said = "; ".join(f"{key}: {words}" for key, words in fields if words)
    if place := _place(value):
        return f"{place}: {said}" if place not in said else said
    return said


def names_in(value: Any, depth: int = _DEPTH) -> Iterator[str]:
    """Every string and every key of an error, `depth` levels deep, except where the request is repeated."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for item in value[:100]:
            yield from names_in(item, depth - 1)
    elif depth and isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key not in _ECHOES:
                yield from names_in(item, depth - 1)


def number_in(value: Any, name: str) -> float:
    """The number under `name` at the top of an error; 0 if there is none."""
    number = value.get(name) if isinstance(value, dict) else None
    return float(number) if isinstance(number, int | float) and not isinstance(number, bool) else 0.0


def _place(value: dict[str, Any]) -> str:
    """The part of the request that is wrong: FastAPI's `loc`, OpenAI's `param`."""
    where = value.get("loc") or value.get("param") or value.get("field")
    parts = where if isinstance(where, list) else [where] if where else []
    return ".".join(str(part) for part in parts if isinstance(part, str | int))
