"""`make run MODEL=smollm2`: one command, and a real language model answers on the page's address."""

from pathlib import Path

from tasks.local.fetch import fetch
from tasks.local.settings import load_local_settings
from tests.local.conftest import MODEL, LocalServer
from tests.support.client import Chat, new_token
from tests.support.tree import says, text, whole_tree


async def test_one_command_starts_a_chat_with_a_real_model(server: LocalServer, tmp_path: Path) -> None:
    """`server` is not asked; where it can run, this can."""
    folder = load_local_settings().local_model_folder
    fetch(MODEL, folder)
    tree = whole_tree(tmp_path / "whole")
    with tree.running(MODEL=MODEL.key, LOCAL_MODEL_FOLDER=str(folder)) as child:
        assert says(child, "ready at"), text(child)
        assert f"Model: {MODEL.title} on this computer" in text(child)
        url = f"http://127.0.0.1:{tree.port}"
        async with Chat(url, await new_token(url)) as chat:
            assert (await chat.next())["model"] == {"name": MODEL.name, "stand_in": False}
            await chat.send("What is the capital of France?")
            assert "Paris" in (await chat.until("reply.finished"))["message"]["text"]
