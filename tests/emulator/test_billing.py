"""Tokens and dollars that the emulator says it billed, counted again from what was sent and what came back.

The recount knows prices and rules by hand, reads only the wire, and shares no code with the emulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest

from batchforge.emulator import RowRule, Scenario
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import Wire, params, row

# USD per million tokens: input, output, 5 minute write, 1 hour write, read. By hand, from the price list.
PRICES: dict[str, Callable[[int], tuple[float, float, float, float, float]]] = {
    "claude-opus-5-5": lambda prompt: (4, 20, 5, 8, 0.2),
    "claude-opus-4-8": lambda prompt: (5, 25, 6.25, 10, 0.5),
    "claude-haiku-5-5": lambda prompt: (
        (0.1, 0.5, 0.125, 0.2, 0.01) if prompt <= 100_000 else (0.5, 2.5, 0.625, 1.0, 0.05)
    ),
    "claude-haiku-4-5-20251001": lambda prompt: (1, 5, 1.25, 2, 0.1),
}
LONG = "Every ticket belongs to exactly one of the queues that are described here. " * 400
VERY_LONG = "All of this is one long document about nothing in particular. " * 6000


@dataclass
class Recount:
    requests_billed: int = 0
    input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    billed_usd: float = 0.0

    def add(self, message: dict[str, Any], *, in_batch: bool) -> None:
        usage = message["usage"]
        written = usage["cache_creation"]
        parts = (
            usage["input_tokens"],
            usage["output_tokens"],
            written["ephemeral_5m_input_tokens"],
            written["ephemeral_1h_input_tokens"],
            usage["cache_read_input_tokens"],
        )
        assert usage["cache_creation_input_tokens"] == parts[2] + parts[3]
        assert usage["service_tier"] == ("batch" if in_batch else "standard")
        prices = PRICES[message["model"]](parts[0] + parts[2] + parts[3] + parts[4])
        dollars = sum(tokens * price for tokens, price in zip(parts, prices, strict=True)) / 1e6
        self.requests_billed += 1
        self.input_tokens += parts[0]
        self.output_tokens += parts[1]
        self.cache_write_5m_tokens += parts[2]
        self.cache_write_1h_tokens += parts[3]
        self.cache_read_tokens += parts[4]
        geo = 1.1 if usage["inference_geo"] == "us" else 1.0
        self.billed_usd += dollars * (0.5 if in_batch else 1.0) * geo


def marked(text: str, ttl: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}}]


def requests_of(model: str) -> list[dict[str, Any]]:
    return [
        *(row(f"{model}-plain-{n}", text=f"Ticket {n}", model=model) for n in range(20)),
        *(row(f"{model}-5m-{n}", text=f"Ticket {n}", model=model, system=marked(LONG, "5m")) for n in range(20)),
        *(
            row(f"{model}-1h-{n}", text=f"Ticket {n}", model=model, system=marked("Hour. " + LONG, "1h"))
            for n in range(20)
        ),
        row(f"{model}-long", text=VERY_LONG, model=model),
        row(f"{model}-bad", model=model, max_tokens=0),
        row(f"{model}-told-cut", model=model),
        row(f"{model}-told-refused", model=model),
        row(f"{model}-told-errored", model=model),
    ]


RULES = (
    RowRule(outcome="cut", custom_id="told-cut$"),
    RowRule(outcome="refused", custom_id="told-refused$"),
    RowRule(outcome="errored", custom_id="told-errored$"),
)


def run_everything(wire: Wire, recount: Recount) -> None:
    for model in ("claude-opus-5-5", "claude-opus-4-8", "claude-haiku-5-5", "claude-haiku-4-5"):
        for result in wire.run(requests_of(model)).values():
            if result["type"] == "succeeded":
                recount.add(result["message"], in_batch=True)
        for asked in (
            params(model=model),
            params(model=model, system=marked(LONG, "5m")),
            params(model=model, system=marked("Other. " + LONG, "1h")),
            params(model=model, system=marked("Other. " + LONG, "1h")),
        ):
            response = wire.post("/v1/messages", asked)
            assert response.status_code == 200, response.text
            recount.add(response.json(), in_batch=False)


def test_what_was_billed_equals_a_recount_to_the_token(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0.05, parallelism=8, rows=RULES))
    recount = Recount()
    run_everything(connect(server), recount)
    counters = server.counters()
    assert recount.cache_read_tokens > 0
    assert recount.cache_write_5m_tokens > 0
    assert recount.cache_write_1h_tokens > 0
    for field in fields(Recount):
        if field.name != "billed_usd":
            assert getattr(counters, field.name) == getattr(recount, field.name), field.name
    assert counters.billed_usd == pytest.approx(recount.billed_usd, rel=1e-12)
    assert counters.requests_billed == 4 * 63 + 4 * 4
    assert counters.custom_ids_billed_twice == 0


def test_us_inference_costs_a_tenth_more(start: StartEmulator, connect: Connect) -> None:
    server = start()
    wire = connect(server)
    recount = Recount()
    for geo in ({}, {"inference_geo": "us"}):
        recount.add(wire.post("/v1/messages", params(**geo)).json(), in_batch=False)
    assert server.counters().billed_usd == pytest.approx(recount.billed_usd, rel=1e-12)


def test_a_custom_id_that_is_paid_twice_is_noticed(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0, rows=(RowRule(outcome="errored", custom_id="^b$", submissions=1),)))
    wire = connect(server)
    wire.run([row("a"), row("b"), row("c")])
    wire.run([row("a"), row("b")])
    counters = server.counters()
    assert counters.custom_ids_submitted_twice == 2
    assert counters.custom_ids_billed_twice == 1


def test_siblings_that_begin_together_miss_the_cache_together(start: StartEmulator, connect: Connect) -> None:
    asked = [row(f"row-{n}", text=f"Ticket {n}", system=marked(LONG, "1h")) for n in range(100)]

    def reads(**changes: Any) -> int:
        server = start(Scenario(processing_time_s=0.05, **changes))
        wire = connect(server)
        wire.post("/emulator/reset")
        results = wire.run(asked)
        server.stop()
        return sum(bool(r["message"]["usage"]["cache_read_input_tokens"]) for r in results.values())

    one_by_one, ten_at_once, all_at_once = reads(parallelism=1), reads(parallelism=40), reads(parallelism=100)
    assert one_by_one == 99
    assert ten_at_once == 90
    assert all_at_once == 75
    assert reads(parallelism=40, cache_islands=4) < ten_at_once
    assert reads(cache="off") == 0


def test_a_message_can_prime_the_cache_of_a_batch_unless_their_caches_are_apart(
    start: StartEmulator, connect: Connect
) -> None:
    def first_read(**changes: Any) -> int:
        server = start(Scenario(processing_time_s=0, **changes))
        wire = connect(server)
        wire.post("/emulator/reset")
        asked = params(system=marked(LONG, "1h"), max_tokens=0)
        primed = wire.post("/v1/messages", asked).json()
        assert primed["content"] == []
        assert primed["usage"]["cache_creation"]["ephemeral_1h_input_tokens"] > 1024
        result = wire.run([row("a", system=marked(LONG, "1h"))])["a"]
        server.stop()
        return int(result["message"]["usage"]["cache_read_input_tokens"])

    assert first_read() > 1024
    assert first_read(cache="apart") == 0


def test_a_cached_prefix_dies_after_its_life(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0))
    server.clock.speed = 0
    wire = connect(server)

    def read() -> bool:
        usage = wire.post("/v1/messages", params(system=marked(LONG, "5m"))).json()["usage"]
        return bool(usage["cache_read_input_tokens"])

    assert not read()
    server.clock.advance(299)
    assert read()
    server.clock.advance(299)
    assert read()
    server.clock.advance(300)
    assert not read()
