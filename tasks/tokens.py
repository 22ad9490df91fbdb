"""How many tokens a text can be: never fewer than the model counts."""


def count_tokens(text: str) -> int:
    """An upper bound. A token of a byte-level vocabulary is at least one byte of UTF-8."""
    return len(text.encode())
