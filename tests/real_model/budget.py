"""The budget's arithmetic, held exactly against the server's own tokenizer, which is GPT-J's."""

import asyncio
from random import Random

from tasks.model.prompt import Turn, build_prompt, least_budget
from tasks.model.tokens import count_bytes, count_tokens
from tasks.settings import DEFAULT_PREAMBLE
from tests.real_model.chat import PATIENCE, Whole
from tests.real_model.server import RealServer
from tests.real_model.texts import KINDS, mixed
from tests.support.client import Chat, new_token

SEED = 6

#: A small window and a short reply: the worker's settings in `fits_live`.
CONTEXT, REPLY = 500, 40


async def never_underestimates(server: RealServer) -> str:
    """No text of any kind has more tokens than are counted, nor more than bytes."""
    random = Random(SEED)
    texts = [text * times for text in KINDS.values() for times in (1, 20)]
    texts += [mixed(random, random.randint(1, 400)) for _ in range(5000)]
    for text, exact in zip(texts, server.count(texts), strict=True):
        assert exact <= count_tokens(text) <= count_bytes(text), (exact, count_tokens(text), text)
    kinds = zip(KINDS.items(), server.count([*KINDS.values()]), strict=True)
    counted = ", ".join(f"{kind} {count_tokens(text) / exact:.1f}" for (kind, text), exact in kinds)
    return f"{len(texts)} texts; counted for each token there is: {counted}"


async def prompts_fit(server: RealServer) -> str:
    """No prompt of any conversation has more tokens than its budget."""
    random = Random(SEED)
    least = least_budget(DEFAULT_PREAMBLE)
    budgets, prompts = [], []
    for _ in range(1000):
        turns = [
            Turn(random.choice(["human", "bot"]), mixed(random, random.randint(0, 300)))
            for _ in range(random.randint(0, 20))
        ]
        last = Turn("human", mixed(random, random.randint(1, 4000)))
        partial = mixed(random, random.randint(0, 2000))
        budgets.append(random.randint(least, 2000))
        name = mixed(random, random.randint(0, 80))
        prompts.append(build_prompt(DEFAULT_PREAMBLE, name, [*turns, last], partial, budgets[-1]).text)
    counts = server.count(prompts)
    for exact, budget, prompt in zip(counts, budgets, prompts, strict=True):
        assert exact <= budget, (exact, budget, prompt)
    used = sum(counts) / sum(budgets)
    return f"{len(prompts)} prompts; they use {used:.0%} of their budgets"


async def fits_live(chat: Whole) -> str:
    """A long conversation in a small window: by the server's own count every prompt leaves room for its reply."""
    for worker in [child for child in chat.stack.processes.children if child.name.startswith("worker")]:
        chat.stack.kill(worker)
    chat.stack.start_worker(MODEL_CONTEXT=str(CONTEXT), MAX_NEW_TOKENS=str(REPLY))
    await asyncio.to_thread(chat.stack.wait_ready, PATIENCE)
    before = len(chat.tap.asked)
    said = [*KINDS.values(), KINDS["English"] * 40]
    async with Chat(chat.stack.url, await new_token(chat.stack.url)) as talk:
        for text in said:
            await talk.send(text)
            async with asyncio.timeout(PATIENCE):
                assert (await talk.until("reply.finished", "reply.failed"))["type"] == "reply.finished"
    asked = chat.tap.accepted(before)
    assert len(asked) >= len(said)
    assert not any(DEFAULT_PREAMBLE[:30] not in one.prompt for one in asked)
    assert KINDS["English"].strip() in asked[0].prompt
    assert KINDS["English"].strip() not in asked[len(said) // 2].prompt
    return await _accounted(chat, before, CONTEXT)


async def all_fitted(chat: Whole) -> str:
    """The same of every request of these checks in the model's own window, continuations included."""
    return await _accounted(chat, 0, 2048)


async def _accounted(chat: Whole, since: int, window: int) -> str:
    """Of each request: the server's count is the tokenizer's, is not above ours, and leaves room for the reply."""
    asked = chat.tap.accepted(since)
    for one, exact in zip(asked, chat.server.count([one.prompt for one in asked]), strict=True):
        assert one.prompt_tokens in (exact, None), (one.prompt_tokens, exact)
        assert exact <= count_tokens(one.prompt) <= window - one.limit, (exact, one)
        assert one.tokens is None or one.tokens <= one.limit
    fullest = max(count_tokens(one.prompt) + one.limit for one in asked)
    return f"{len(asked)} requests, the fullest {fullest} of {window} tokens"


TOKENIZER_CHECKS = (never_underestimates, prompts_fit)
CHAT_CHECKS = (fits_live, all_fitted)
