"""How many tokens a text can be: never fewer than GPT-J counts, whose vocabulary is GPT-2's.

`gpt2_words.txt` holds 10,000 of that vocabulary's commonest words, each one token when a space precedes it
(OpenAI's GPT-2, https://github.com/openai/gpt-2, modified MIT licence). A test holds them against the
whole vocabulary.
"""

import re
from functools import cache
from pathlib import Path

#: A space and a whole word. GPT-2 first splits a text into runs of letters, each with the space before it, and
#: encodes every run by itself; so what stands around a run cannot change its tokens. Where a letter beyond
#: ASCII follows, the run goes on.
_WORD = re.compile(r" ([A-Za-z]+)(?![A-Za-z\x80-\U0010ffff])")


def count_tokens(text: str) -> int:
    """At least GPT-2's count: a known word is one token, and of anything else every token is at least one byte.

    About 1.2 times the true count for plain English; for other scripts the number of bytes.
    """
    known = _known_words()
    return count_bytes(text) - sum(len(word) for word in _WORD.findall(text) if word in known)


def count_bytes(text: str) -> int:
    """At least the count of every byte-level vocabulary, whatever its words."""
    return len(text.encode())


@cache
def _known_words() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("gpt2_words.txt").read_text("ascii").split())
