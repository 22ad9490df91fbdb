"""The local model server as a process: a model's name in, its address on the first line out.

It answers `/health` with 503 until the model is loaded and warm.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from tasks.errors import ParleyError
from tasks.local.model_server.app import create_app
from tasks.local.model_server.engine import Engine
from tasks.local.model_server.messages import Options
from tasks.local.models import MODELS, local_model, model_path
from tasks.local.settings import load_local_settings
from tasks.startup import set_up_logging

#: Seconds that open streams get when the server is asked to stop.
GRACE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGTERM or SIGINT."""
    given = _parser().parse_args(arguments)
    set_up_logging()
    try:
        asyncio.run(_serve(given.model, given.host, given.port))
    except KeyboardInterrupt:
        pass  # uvicorn has stopped already
    except ParleyError as error:
        sys.exit(f"parley: {error}")


async def _serve(key: str, host: str, port: int) -> None:
    """Serve one model. Raises ParleyError if it cannot be loaded."""
    settings, model = load_local_settings(), local_model(key)
    slots = settings.local_model_slots or model.slots
    options = Options(
        path=model_path(model, settings.local_model_folder),
        window=model.known.window,
        slots=slots,
        cache_gb=settings.local_model_cache_gb or model.cache_gb,
        stop_tokens=model.known.stop_tokens,
    )
    engine = Engine((sys.executable, "-m", "tasks.local.model_server.engine_process", options.model_dump_json()))
    app = create_app(engine, model.name, options.window, slots)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        print(f"{model.title} at http://{host}:{listening.getsockname()[1]}", flush=True)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE)
        )
        running = asyncio.create_task(engine.run())
        running.add_done_callback(lambda _: setattr(server, "should_exit", True))
        try:
            await server.serve(sockets=[listening])
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.local.model_server", description="A language model on this computer's processor."
    )
    parser.add_argument("--model", choices=[model.key for model in MODELS], required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3502, help="0 finds a free one")
    return parser


if __name__ == "__main__":
    main()
