"""How fast the models of `make run MODEL=…` are on this computer: the table in README.

`python -m tests.real_model.speed --models FOLDER`. A model that is not in the folder yet is made with random weights of
its full size and exported in 4 bits. For GPT-J this takes ten minutes, 13 GB of memory and 16 GB of disk; `--venv`
keeps what it installs. The words of such a model are noise, and its speed is that of the real one.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tasks.local.embedded_redis import LOOPBACK, free_port
from tasks.local.models import MODELS, LocalModel, is_here
from tasks.local.processes import Child, wait_until
from tests.real_model.exported import build_and_export
from tests.support.stack import answers

#: What transformers calls each kind of model, and its shape where that differs from the kind's own.
FULL_SIZE = {
    "gpt-j": ("GPTJ", {"n_positions": 2048}),
    "pythia-1b": (
        "GPTNeoX",
        {
            "hidden_size": 2048,
            "num_hidden_layers": 16,
            "num_attention_heads": 8,
            "intermediate_size": 8192,
            "max_position_embeddings": 2048,
        },
    ),
}
#: Tokens of a reply, and people at once.
TOKENS, PEOPLE = 64, 4
SHORT = "Ada: Hello, who are you?\nBot:"
#: Some 500 tokens, and the same with a little more.
LONG = "The sea is blue and the sand is warm. " * 50
#: Seconds until a model has to be ready, and a request answered.
READY, ANSWERED = 300, 300


@dataclass(frozen=True)
class Stream:
    """One answer: seconds to its first token and to its last one."""

    first: float
    whole: float


def main() -> None:
    """Build what is missing, then measure every model."""
    parser = argparse.ArgumentParser(description="Measure the local models on this computer.")
    parser.add_argument("--models", type=Path, required=True, help="the folder with the models")
    parser.add_argument("--venv", type=Path, help="where to install optimum-intel, or where it is installed")
    given = parser.parse_args()
    folder = given.models.resolve()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for key, (kind, shape) in FULL_SIZE.items():
            if not (folder / key).exists():
                venv = given.venv or Path(scratch) / "venv"
                build_and_export(venv, Path(scratch) / key, folder / key, kind, "float16", shape, "int4")
    print(f"{TOKENS} tokens of each answer; {psutil.cpu_count()} processors")
    for model in MODELS:
        if model.key in FULL_SIZE or is_here(model, folder):
            print(f"{model.title}: {asyncio.run(measured(model, folder))}", flush=True)


async def measured(model: LocalModel, folder: Path) -> str:
    """Start the server with a model and measure it."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "tasks.local.model_server", "--model", model.key, "--port", str(port)]
    began = time.monotonic()
    with Child("local model", command, {"LOCAL_MODEL_FOLDER": str(folder)}) as server:
        await asyncio.to_thread(wait_until, lambda: answers(f"{url}/health"), "the model", [server], READY)
        ready = time.monotonic() - began
        async with httpx.AsyncClient(base_url=url, timeout=ANSWERED) as http:
            one = await ask(http, model.name, SHORT)
            began = time.monotonic()
            await asyncio.gather(*(ask(http, model.name, f"{number} {SHORT}") for number in range(PEOPLE)))
            together = time.monotonic() - began
            long, again = await ask(http, model.name, LONG), await ask(http, model.name, LONG + "And then it rains.")
        process = psutil.Process(server.pid)
        used = [one.memory_full_info() for one in (process, *process.children(recursive=True))]
    return (
        f"ready in {ready:.0f} s; {(TOKENS - 1) / (one.whole - one.first):.1f} tokens/s for one, "
        f"{PEOPLE * TOKENS / together:.1f} for {PEOPLE} at once; first token after {one.first:.1f} s, after "
        f"{long.first:.1f} s of a prompt of 500 tokens and {again.first:.1f} s of one that goes on from it; "
        f"{sum(some.rss for some in used) / 1e9:.1f} GB of memory, {sum(some.uss for some in used) / 1e9:.1f} of them "
        "its own alone"
    )


async def ask(http: httpx.AsyncClient, model: str, prompt: str) -> Stream:
    """Stream one answer of TOKENS tokens."""
    asked = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "stream": True}
    began, first = time.monotonic(), 0.0
    async with http.stream("POST", "/v1/completions", json=asked) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {") and json.loads(line.removeprefix("data: "))["choices"][0]["text"]:
                first = first or time.monotonic() - began
    return Stream(first, time.monotonic() - began)


if __name__ == "__main__":
    main()
