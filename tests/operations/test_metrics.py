"""/metrics of any web process has the figures of all processes, workers included."""

from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasks.local.processes import wait_until
from tests.support.client import Chat, new_token
from tests.support.stack import Stack

NAMES = {
    "parley_open_websockets",
    "parley_queue_depth",
    "parley_workers",
    "parley_redis_latency_seconds",
    "parley_messages_accepted",
    "parley_frames_rejected",
    "parley_replies",
    "parley_retries",
    "parley_tokens",
    "parley_takeovers",
    "parley_requeued",
    "parley_crashes",
    "parley_model_waits",
    "parley_model_errors",
    "parley_queue_wait_seconds",
    "parley_time_to_first_token_seconds",
}

Metrics = dict[tuple[str, ...], float]


def metrics(stack: Stack, web: int = 0) -> Metrics:
    """Every sample of one web process: (name, label values…) to value."""
    answer = httpx.get(f"http://127.0.0.1:{stack.ports[web]}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(stack: Stack, web: int, before: Metrics, *name: str) -> float:
    """By how much a figure is more than it was."""
    return metrics(stack, web).get(name, 0.0) - before.get(name, 0.0)


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until the figures of all processes have travelled."""
    wait_until(true, "the figures", pause=0.2)


def test_every_figure_is_there_with_its_type(stack: Stack) -> None:
    text = httpx.get(f"{stack.url}/metrics").text
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert families.keys() >= NAMES
    assert [families[f"parley_{name}"] for name in ("replies", "open_websockets", "queue_wait_seconds")] == [
        "counter",
        "gauge",
        "histogram",
    ]


async def test_a_reply_of_a_worker_shows_in_the_figures_of_every_web_process(stack: Stack) -> None:
    before = [metrics(stack, web) for web in (0, 1)]
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.send("Count this")
        tokens = len((await chat.until("reply.finished"))["message"]["text"].split())
    for web in (0, 1):
        wait_for(lambda web=web: grown(stack, web, before[web], "parley_replies_total", "stop") >= 1)  # type: ignore[misc]
        assert grown(stack, web, before[web], "parley_messages_accepted_total") >= 1
        assert grown(stack, web, before[web], "parley_tokens_total") >= tokens / 2
        for histogram in ("parley_queue_wait_seconds", "parley_time_to_first_token_seconds"):
            assert grown(stack, web, before[web], f"{histogram}_count") >= 1
            assert grown(stack, web, before[web], f"{histogram}_bucket", "+Inf") >= 1
            assert grown(stack, web, before[web], f"{histogram}_sum") > 0


async def test_failures_refusals_stops_and_retries_are_counted_by_kind(stack: Stack) -> None:
    before = metrics(stack)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        stack.fault(mode="status", status=404)
        id = await chat.send("This fails")
        await chat.until("reply.failed")
        await chat.retry(id)
        await chat.until("reply.finished")
        stack.pace(rate=20, stamped=100)
        id = await chat.send("This is stopped")
        await chat.until("reply.delta")
        await chat.stop(id)
        assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stopped"
    for name in (
        ("parley_replies_total", "failed"),
        ("parley_replies_total", "stopped"),
        ("parley_model_errors_total", "model_not_found"),
        ("parley_retries_total",),
    ):
        wait_for(lambda name=name: grown(stack, 0, before, *name) >= 1)  # type: ignore[misc]


async def test_open_sockets_and_live_workers_are_counted_across_processes(stack: Stack) -> None:
    token = await new_token(stack.url)
    before = metrics(stack, 1)
    async with Chat(stack.url, token), Chat(stack.url, token), Chat(stack.url, token):
        wait_for(lambda: metrics(stack, 1)[("parley_open_websockets",)] >= 3)
    wait_for(lambda: metrics(stack, 1)[("parley_open_websockets",)] <= max(before[("parley_open_websockets",)] - 3, 0))
    assert metrics(stack, 1)[("parley_workers",)] == 1
    assert metrics(stack, 1)[("parley_queue_depth",)] >= 0
    assert 0 < metrics(stack, 1)[("parley_redis_latency_seconds",)] < 5


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_figure_says_what_it_is(stack: Stack, name: str) -> None:
    lines = httpx.get(f"{stack.url}/metrics").text.splitlines()
    assert any(line.startswith((f"# HELP {name} ", f"# HELP {name}_total ")) for line in lines)


def test_with_a_token_metrics_and_the_details_of_readyz_are_closed_to_strangers(own_stack: Stack) -> None:
    own_stack.start_web(METRICS_TOKEN="operators-only")  # noqa: S106
    operator = {"Authorization": "Bearer operators-only"}
    for wrong in (
        {"Accept": "text/plain"},
        {"Authorization": "Bearer operators-onl"},
        {"Authorization": "operators-only"},
    ):
        assert httpx.get(f"{own_stack.url}/metrics", headers=wrong).status_code == 401
        ready = httpx.get(f"{own_stack.url}/readyz", headers=wrong)
        assert ready.status_code == 503
        assert "worker" not in ready.text
    assert "parley_workers" in httpx.get(f"{own_stack.url}/metrics", headers=operator).text
    assert "No worker is alive" in httpx.get(f"{own_stack.url}/readyz", headers=operator).text
