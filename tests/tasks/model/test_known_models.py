"""What known models want, by their names as hubs and servers write them."""

import pytest

from tasks.model.known_models import KnownModel, known_model


@pytest.mark.parametrize("name", ["EleutherAI/gpt-j-6b", "GPT-J-6B", "OpenVINO/gpt-j-6b-int4-ov"])
def test_gpt_j_continues_a_transcript_and_has_gpt_2s_vocabulary(name: str) -> None:
    known = known_model(name)
    assert (known.style, known.vocabulary, known.window) == ("transcript", "gpt-2", 2048)


def test_an_instructed_smollm2_reads_turns_between_marks() -> None:
    known = known_model("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert (known.style, known.vocabulary, known.stop_tokens) == ("chatml", "bytes", ("<|im_end|>",))


@pytest.mark.parametrize("name", ["EleutherAI/pythia-1b", "HuggingFaceTB/SmolLM2-135M", "a-model-of-tomorrow"])
def test_any_other_continues_a_transcript_and_its_bytes_are_counted(name: str) -> None:
    assert known_model(name) == KnownModel(style="transcript", vocabulary="bytes")
