"""The HTTP calls with whatever schemathesis thinks of, within and beyond what the OpenAPI document allows."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

#: What holds for every answer. Any text is a valid name or token for the document, so nothing is "wrong" in its
#: sense, and a GET of an address that has none is the page's.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def call_everything(url: str, path: str, method: str, *, examples: int, start: int = 0) -> None:
    """Send so many requests of both kinds to one call; raises if an answer is not as the document says."""
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]
    # A call without parameters can be sent no wrong ones.
    modes = list(GenerationMode) if operation.query else [GenerationMode.POSITIVE]
    for mode in modes:

        @seed(start)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=CHECKS)

        send()
