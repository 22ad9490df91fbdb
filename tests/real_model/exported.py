"""Our own model server with a GPT-J of the real one's depth and vocabulary, small and with random weights.

It is built by transformers and exported by optimum-intel, the way in which the hub's GPT-J was made.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tasks.local.embedded_redis import LOOPBACK, free_port
from tasks.local.models import local_model
from tasks.local.processes import Child, wait_until
from tests.real_model.server import BUILD, gpt2_vocabulary
from tests.support.stack import answers

GPT_J = local_model("gpt-j")

PACKAGES = ("torch==2.13.0", "optimum-intel[openvino]>=2.2,<3")

#: As many layers as GPT-J-6B has.
SHAPE = {"n_positions": 2048, "n_layer": 28, "n_embd": 256, "n_head": 4, "rotary_dim": 64}

#: Arguments: the model's folder. Reads a JSON list of prompts, prints the list of their likeliest texts.
GREEDY = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
texts = []
for prompt in json.load(sys.stdin):
    asked = tokenizer(prompt, return_tensors="pt").input_ids
    whole = model.generate(asked, do_sample=False, max_new_tokens=24, pad_token_id=0)[0]
    texts.append(tokenizer.decode(whole[asked.shape[1]:], clean_up_tokenization_spaces=False))
print(json.dumps(texts))
"""

PROMPTS = ("Once upon a time", "The sea is blue. " * 40, "Ada: Hello 😀 é\nBot:", "日本語のテキスト")


@dataclass(frozen=True)
class Exported:
    """The running server, and what transformers says to the same prompts."""

    url: str
    expected: Sequence[str]

    def greedy(self, prompt: str) -> str:
        """The likeliest text of the server."""
        asked = {"model": GPT_J.name, "prompt": prompt, "max_tokens": 24, "temperature": 0}
        text: str = httpx.post(f"{self.url}/v1/completions", json=asked, timeout=60).json()["choices"][0]["text"]
        return text


@contextmanager
def exported_server(venv: Path, scratch: Path) -> Iterator[Exported]:
    """Install what is not there yet, build and export the model, serve it while the block lasts."""
    built, folder = scratch / "gpt-j-deep", scratch / "models"
    build_and_export(venv, built, folder / GPT_J.key, "GPTJ", "float32", SHAPE, "fp32")
    expected = json.loads(_run(venv / "bin/python", "-c", GREEDY, built, given=json.dumps(PROMPTS)))
    port = free_port()
    command = [sys.executable, "-m", "tasks.local.model_server", "--model", GPT_J.key, "--port", str(port)]
    with Child("local model", command, {"LOCAL_MODEL_FOLDER": str(folder)}) as process:
        url = f"http://{LOOPBACK}:{port}"
        wait_until(lambda: answers(f"{url}/health"), "the local model server", [process], 120)
        yield Exported(url, expected)


def build_and_export(
    venv: Path, built: Path, exported: Path, kind: str, numbers: str, shape: Mapping[str, int], weights: str
) -> None:
    """Make a model of random weights, and the files from it that our server loads.

    Args:
        venv: where optimum-intel is installed, or is to be.
        built: the folder for transformers' files.
        exported: the folder for OpenVINO's.
        kind: what transformers calls the kind of model, such as `GPTJ`.
        numbers: torch's name for the type of the weights.
        shape: the model's shape, by the names of transformers' configuration.
        weights: what optimum-intel calls the format of the exported weights.
    """
    _install(venv)
    _run(venv / "bin/python", "-c", BUILD, built, *gpt2_vocabulary(), kind, numbers, json.dumps(shape))
    export = ("export", "openvino", "--task", "text-generation-with-past", "--weight-format", weights)
    _run(venv / "bin/optimum-cli", *export, "--model", built, exported)


def _run(*command: str | Path, given: str = "") -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _install(venv: Path) -> None:
    if not (venv / "bin/optimum-cli").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", *PACKAGES], check=True)
        # It comes along, is not needed, and keeps transformers from being imported where its build is not torch's.
        subprocess.run([venv / "bin/pip", "uninstall", "--quiet", "--yes", "torchvision"], check=True)


async def says_what_transformers_says(server: Exported) -> str:
    """The local model server's likeliest text is that of transformers, for every prompt."""
    for prompt, text in zip(PROMPTS, server.expected, strict=True):
        assert server.greedy(prompt) == text, (prompt, server.greedy(prompt), text)
    return f"{len(PROMPTS)} prompts of 24 tokens each"


async def says_it_again_from_its_cache(server: Exported) -> str:
    """A prompt that begins as an earlier one did is continued as if it had been read anew."""
    for prompt, text in zip(reversed(PROMPTS), reversed(server.expected), strict=True):
        assert server.greedy(prompt) == text, (prompt, text)
    return "the same texts"


CHECKS = (says_what_transformers_says, says_it_again_from_its_cache)
