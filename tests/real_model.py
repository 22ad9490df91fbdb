"""The model client against a server that nobody here wrote: `transformers serve` with a tiny GPT-J of random weights.

Its words are noise; its protocol, its tokens and its context of 2,048 are real. Run with `python -m tests.real_model`,
which installs torch and transformers into a virtual environment of their own (a minute; `--venv` keeps it).
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tasks.model import Model, Text
from tasks.prompt import SHORTENED, Turn
from tests.model_server import Rest, hear, model

PACKAGES = ("torch==2.13.0", "transformers[serving]")

#: Seconds that the server has to start.
START = 120

BUILD = """
import sys
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPTJConfig, GPTJForCausalLM, PreTrainedTokenizerFast
end = "<|endoftext|>"
bytewise = ByteLevelBPETokenizer()
bytewise.train_from_iterator(["Ada: Hello, how are you? Bot: I am well, thank you."] * 3, 400, special_tokens=[end])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise._tokenizer, eos_token=end, bos_token=end, unk_token=end)
torch.manual_seed(0)
shape = dict(n_positions=2048, n_embd=64, n_layer=2, n_head=4, rotary_dim=16, bos_token_id=0, eos_token_id=None)
GPTJForCausalLM(GPTJConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(sys.argv[1])
tokenizer.save_pretrained(sys.argv[1])
"""


def main() -> None:
    """Installs, builds, serves, checks; an AssertionError says what failed."""
    parser = argparse.ArgumentParser(description="Check the model client against transformers serve.")
    parser.add_argument("--venv", type=Path, help="where to install, or where it is installed")
    with tempfile.TemporaryDirectory() as scratch:
        venv = parser.parse_args().venv or Path(scratch, "venv")
        _install(venv)
        folder = Path(scratch, "gptj")
        subprocess.run([venv / "bin/python", "-c", BUILD, folder], check=True)
        with _served(venv, folder) as url:
            asyncio.run(_check(url, str(folder)))


def _install(venv: Path) -> None:
    if not (venv / "bin/transformers").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", *PACKAGES], check=True)


@contextmanager
def _served(venv: Path, folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(venv / "bin/transformers"), "serve", str(folder), "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/health")
            yield url
        finally:
            server.terminate()


def _await(url: str) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"transformers serve did not start within {START} seconds")


async def _check(url: str, name: str) -> None:
    changes = {"model_protocol": "completions", "model_name": name, "model_read_timeout": 60, "max_new_tokens": 40}
    async with model(url, **changes) as client:
        for check in (_streams, _continues, _fits, _stops):
            await check(client)
            print(f"ok: {(check.__doc__ or '').strip()}", flush=True)


async def _streams(client: Model) -> None:
    """a reply streams in pieces and ends with a reason"""
    heard = await hear(client, "Hello, how are you?")
    assert heard.end in ("stop", "length"), heard
    assert len([event for event in heard.events if isinstance(event, Text)]) > 1, heard


async def _continues(client: Model) -> None:
    """a reply that was begun elsewhere is continued"""
    assert (await hear(client, "Hello, how are you?", partial="I am wel")).end in ("stop", "length")


async def _fits(client: Model) -> None:
    """messages of any script and any length fit into the context"""
    for message in ("And then we went to the house of my friend. " * 90, "ünlesbar 日本語 👩 " * 200):
        heard = await hear(client, message[:4000])
        assert heard.text.startswith(SHORTENED), heard
        assert heard.waits == [], heard
        assert heard.end, heard


async def _stops(client: Model) -> None:
    """a reply that is stopped lets go at once, and the next one comes"""
    events = client.reply("Ada", [Turn("human", "Hi")], "", Rest())
    assert isinstance(await anext(events), Text)
    await events.aclose()
    assert (await hear(client, "Hello again")).end


if __name__ == "__main__":
    main()
