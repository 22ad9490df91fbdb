"""Takes secrets and people's words out of what a server said, also where it quotes only a part of them. Pure."""

from collections.abc import Iterable

MASK = "***"

#: Characters in a row that count as a part of a secret. A server that cuts its message may quote as few.
SECRET_PART = 4
#: Characters in a row that count as a part of a prompt; fewer are in many a word.
PROMPT_PART = 8


def redact(text: str, parts: Iterable[tuple[str, int]]) -> str:
    """`text` without any run of characters that stands in one of `parts`, each a hidden text and a run's length."""
    hidden = bytearray(len(text))
    for secret, length in parts:
        length = min(length, len(secret))
        runs = {secret[at : at + length] for at in range(len(secret) - length + 1)} if length else set()
        for at in range(len(text) - length + 1):
            if text[at : at + length] in runs:
                hidden[at : at + length] = b"\1" * length
    shown: list[str] = []
    for at, character in enumerate(text):
        if not hidden[at]:
            shown.append(character)
        elif not (at and hidden[at - 1]):
            shown.append(MASK)
    return "".join(shown)
