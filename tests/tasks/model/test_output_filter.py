"""What may be shown of a reply: never what would have to be withdrawn, and never later than need be."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.decoder import FinishReason
from tasks.model.output_filter import WORD_TOKENS, OutputFilter

STOP = ("\nAda:", "\nBot:")


def shown(
    pieces: list[str], partial: str = "", end: FinishReason = "stop", limit: int = 1000, stop: tuple[str, ...] = STOP
) -> list[str]:
    """What each piece makes visible, and the end."""
    reply = OutputFilter(partial, stop, limit)
    out = []
    for piece in pieces:
        out.append(reply.add(piece))
        if reply.stopped:
            return [*out, reply.finish("stop")]
        if reply.full:
            return [*out, reply.finish("length")]
    return [*out, reply.finish(end)]


WHOLE = {
    "leading space": (" Hello", "Hello"),
    "leading line ends": ("\n\n  Hello", "Hello"),
    "the label again": (" Bot: Hello", "Hello"),
    "the label without a space": ("Bot:Hello", "Hello"),
    "what only begins like the label": (" Bots are fine", "Bots are fine"),
    "what is only part of the label": (" Bo", "Bo"),
    "the label alone": (" Bot:", ""),
    "the label in the middle": ("I am Bot: ha", "I am Bot: ha"),
    "a stop sequence": ("Hello\nAda: Hi\nBot: Ho", "Hello"),
    "the other stop sequence": ("Hello\nBot: Ho", "Hello"),
    "line ends before a stop sequence": ("Hello\n\n\nAda: Hi", "Hello"),
    "a stop sequence at once": ("\nAda: Hi", ""),
    "a stop sequence after spaces": (" \n\nAda:", ""),
    "what only begins like a stop sequence": ("Hello\nAdam is here", "Hello\nAdam is here"),
    "the start of a stop sequence at the end": ("Hello\nAd", "Hello\nAd"),
    "line ends at the end": ("Hello\n\n", "Hello"),
    "line ends within": ("One\n\nTwo\n - three", "One\n\nTwo\n - three"),
    "nothing": ("", ""),
    "only spaces": (" \n ", ""),
    "no ASCII": (" Grüße 😀\nЩи", "Grüße 😀\nЩи"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_reply_is_the_same_however_its_text_is_split(name: str) -> None:
    text, expected = WHOLE[name]
    for count in range(min(len(text), 3) + 1):
        for at in combinations(range(1, len(text)), count):
            edges = [0, *at, len(text)]
            pieces = [text[a:b] for a, b in pairwise(edges)]
            assert "".join(shown(pieces)) == expected, pieces


@given(st.text(alphabet="Adm: \nBotx", max_size=40), st.data())
def test_no_split_shows_another_text(text: str, data: st.DataObject) -> None:
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]
    whole = "".join(shown([text]))
    assert "".join(shown(pieces)).rstrip() == whole.rstrip()
    assert not any(stop in whole for stop in STOP)


def test_a_token_is_shown_at_once() -> None:
    assert shown([" Hello", " there", ",", " Ada", "."]) == ["Hello", " there", ",", " Ada", ".", ""]


def test_only_what_may_become_a_stop_sequence_is_held_back() -> None:
    assert shown(["One", "\n", "A", "da", " Lovelace"]) == ["One", "", "", "", "\nAda Lovelace", ""]
    assert shown(["One", "\n", "Two"]) == ["One", "", "\nTwo", ""]


def test_a_name_of_another_script_stops_a_reply_as_well() -> None:
    assert "".join(shown(["Hi", "\n", "🦊", ":", " x"], stop=("\n🦊:", "\nBot:"))) == "Hi"


# a reply that goes on


def test_a_continuation_is_taken_as_it_is() -> None:
    assert shown(["come", " in"], partial="You are wel") == ["come", " in", ""]
    assert shown([" welcome"], partial="You are") == [" welcome", ""]
    assert "".join(shown(["\n", "Next"], partial="One.")) == "\nNext"
    assert "".join(shown(["Bot: x"], partial="The label of a ")) == "Bot: x"


def test_a_continuation_after_a_space_brings_no_second_one() -> None:
    assert shown([" welcome"], partial="You are ") == ["welcome", ""]
    assert shown([" ", " welcome"], partial="You are\n") == ["", "welcome", ""]


# the limit


def test_the_word_that_the_limit_cut_is_not_shown() -> None:
    assert "".join(shown([" I", " am", " wel"], end="length", limit=3)) == "I am"
    assert "".join(shown([" I", " am", " un", "believ"], end="length", limit=4)) == "I am"


def test_a_word_that_is_complete_is_shown_at_the_limit() -> None:
    assert "".join(shown([" I", " am", "."], end="length", limit=3)) == "I am."
    assert "".join(shown([" I", " am", " "], end="length", limit=3)).strip() == "I am"


def test_nothing_is_cut_where_the_model_came_to_its_end() -> None:
    assert "".join(shown([" I", " am", " wel"], limit=3)) == "I am wel"


def test_a_reply_of_one_cut_word_is_better_than_none() -> None:
    assert "".join(shown([" Hel"], end="length", limit=1)) == "Hel"


def test_scripts_without_spaces_lose_nothing() -> None:
    assert "".join(shown(["今日は", "いい", "天"], end="length", limit=3)) == "今日はいい天"


def test_what_is_too_long_for_a_word_is_not_held_back() -> None:
    assert len("".join(shown(["x" * 10] * 20, end="length", limit=20))) > 100


def test_far_from_the_limit_no_word_waits_for_the_next() -> None:
    tokens = [" word"] * 20
    lag = [piece == "" for piece in shown(tokens, limit=20)]
    assert not any(lag[: 20 - WORD_TOKENS])


def test_near_the_limit_a_word_waits_for_the_next_one_only() -> None:
    out = shown([" word"] * 20, end="length", limit=20)
    assert out[20 - WORD_TOKENS :] == ["", *[" word"] * (WORD_TOKENS - 1), ""]


@given(
    st.lists(st.sampled_from([" a", "b", " word", ".", "\n", " Ada", ":", "Bot", " ", "\u00e9"]), max_size=30),
    st.integers(1, 30),
)
def test_what_was_shown_is_never_longer_than_what_stays(pieces: list[str], limit: int) -> None:
    text = "".join(shown(pieces, end="length", limit=limit))
    assert "".join(pieces[:limit]).lstrip().removeprefix("Bot:").lstrip().startswith(text)
