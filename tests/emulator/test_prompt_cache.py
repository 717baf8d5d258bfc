"""Prompt caching: who writes, who reads, for how long, and how the input is split for the bill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.emulator.models import find_model
from batchforge.emulator.prompt import Prompt, read_prompt
from batchforge.emulator.prompt_cache import InputUsage, MemoryCacheEntries, account, cache_scope
from batchforge.emulator.tokens import count_input_tokens

HAIKU = "claude-haiku-4-5"
LONG = "All work and no play makes for a long prompt. " * 600
SHORT = "Too short to be cached. "
TTFT_S = 2.0
"""How long an answer lets wait for its beginning."""


@dataclass
class Cache:
    """One cache and what is asked of it."""

    model_id: str = "claude-opus-5-5"
    entries: MemoryCacheEntries = field(default_factory=MemoryCacheEntries)

    def ask(self, now_s: float, *, workspace: str = "w", pool: str = "", **changes: Any) -> InputUsage:
        model = find_model(changes.get("model", self.model_id))
        assert model is not None
        prompt = read_prompt(params(**{"model": self.model_id, **changes}), model)
        usage = account(
            prompt,
            model,
            self.entries,
            scope=cache_scope(workspace, pool),
            started_s=now_s,
            answer_begins_s=now_s + TTFT_S,
        )
        assert usage.prompt_tokens == prompt.input_tokens
        return usage


def params(**changes: Any) -> dict[str, Any]:
    return {"max_tokens": 10, "messages": [{"role": "user", "content": "Go"}], **changes}


def text(value: str, ttl: str | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": value}
    return {**block, "cache_control": {"type": "ephemeral", "ttl": ttl}} if ttl else block


def user(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


MARKED = [text(LONG, "5m")]
TOOL = {"name": "t", "description": LONG, "input_schema": {"type": "object"}}


# Lives


def test_the_first_writes_and_the_second_reads() -> None:
    cache = Cache()
    first, second = cache.ask(0, system=MARKED), cache.ask(10, system=MARKED)
    assert first.cache_write_5m_tokens > 5000
    assert first.cache_read_tokens == 0
    assert second.cache_read_tokens == first.cache_write_5m_tokens
    assert second.cache_write_5m_tokens == 0
    assert first.input_tokens == second.input_tokens < 20


def test_without_a_mark_nothing_is_written() -> None:
    cache = Cache()
    usage = cache.ask(0, system=LONG)
    assert (usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (0, 0, 0)
    assert len(cache.entries) == 0


def test_siblings_that_start_before_the_answer_begins_write_too() -> None:
    cache = Cache()
    usages = [cache.ask(at, system=MARKED) for at in (0, 0.5, TTFT_S - 0.01, TTFT_S)]
    assert [usage.cache_read_tokens > 0 for usage in usages] == [False, False, False, True]
    assert [usage.cache_write_5m_tokens > 0 for usage in usages] == [True, True, True, False]


@pytest.mark.parametrize(("ttl", "life_s"), [("5m", 300), ("1h", 3600)])
def test_a_life_is_measured_from_the_start_of_the_request(ttl: str, life_s: int) -> None:
    for wait_s, hit in ((life_s - 1, True), (life_s, False)):
        cache = Cache()
        cache.ask(100, system=[text(LONG, ttl)])
        assert (cache.ask(100 + wait_s, system=[text(LONG, ttl)]).cache_read_tokens > 0) == hit


def test_a_read_begins_the_life_anew() -> None:
    cache = Cache()
    cache.ask(0, system=MARKED)
    assert all(cache.ask(at, system=MARKED).cache_read_tokens for at in (250, 500, 750, 1000))
    assert cache.ask(1301, system=MARKED).cache_read_tokens == 0


def test_reading_a_longer_prefix_renews_the_marked_ones_inside_it() -> None:
    cache = Cache()
    both: dict[str, Any] = {"system": MARKED, "messages": user(text("one", "5m"))}
    cache.ask(0, **both)
    cache.ask(250, **both)
    assert cache.ask(500, system=MARKED, messages=user(text("two"))).cache_read_tokens > 0


def test_a_prefix_written_again_for_an_hour_lives_for_an_hour() -> None:
    cache = Cache()
    cache.ask(0, system=[text(LONG, "5m")])
    cache.ask(1, system=[text(LONG, "1h")])
    assert cache.ask(3000, system=[text(LONG, "5m")]).cache_read_tokens > 0


# Identity


def test_other_bytes_are_another_prefix() -> None:
    cache = Cache()
    cache.ask(0, system=MARKED)
    assert cache.ask(10, system=[text(LONG + "!", "5m")]).cache_read_tokens == 0
    assert cache.ask(20, system=[text("!" + LONG, "5m")]).cache_read_tokens == 0


def test_a_string_and_one_text_block_are_the_same_prefix() -> None:
    cache = Cache()
    cache.ask(0, system=LONG, messages=user(text("one", "5m")))
    read = cache.ask(10, system=[text(LONG)], messages=user(text("one", "5m")))
    assert read.cache_read_tokens > 0
    as_string: dict[str, Any] = {"system": LONG, "cache_control": {"type": "ephemeral"}}
    assert cache.ask(20, messages=[{"role": "user", "content": "one"}], **as_string).cache_read_tokens > 0


def test_moving_a_mark_or_changing_its_life_keeps_the_prefix() -> None:
    cache = Cache()
    cache.ask(0, system=[text(LONG, "5m"), text(SHORT)])
    assert cache.ask(10, system=[text(LONG, "1h"), text(SHORT)]).cache_read_tokens > 0
    assert cache.ask(20, system=[text(LONG), text(SHORT, "5m")]).cache_read_tokens > 0


def test_the_order_of_a_blocks_own_keys_does_not_matter_and_that_inside_its_input_does() -> None:
    def asked(use: dict[str, Any]) -> dict[str, Any]:
        messages = [
            {"role": "user", "content": LONG},
            {"role": "assistant", "content": [use]},
            *user({"type": "tool_result", "tool_use_id": "a", "content": "x", "cache_control": {"type": "ephemeral"}}),
        ]
        return {"messages": messages}

    cache = Cache()
    use = {"type": "tool_use", "id": "a", "name": "t", "input": {"p": 1, "q": 2}}
    cache.ask(0, **asked(use))
    assert cache.ask(10, **asked(dict(reversed(use.items())))).cache_read_tokens > 0
    assert cache.ask(20, **asked({**use, "input": {"q": 2, "p": 1}})).cache_read_tokens == 0


def test_workspaces_and_pools_do_not_share() -> None:
    cache = Cache()
    cache.ask(0, system=MARKED)
    assert cache.ask(10, workspace="other", system=MARKED).cache_read_tokens == 0
    assert cache.ask(10, pool="batch", system=MARKED).cache_read_tokens == 0
    assert cache.ask(20, pool="batch", system=MARKED).cache_read_tokens > 0


def test_models_do_not_share() -> None:
    cache = Cache()
    cache.ask(0, system=MARKED)
    assert cache.ask(10, model="claude-fable-5", system=MARKED).cache_read_tokens == 0


SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, "tools system messages"),
        ({"tools": [{**TOOL, "description": "Other. " + LONG}]}, ""),
        ({"tool_choice": {"type": "none"}}, "tools system"),
        ({"tool_choice": {"type": "auto"}}, "tools system messages"),
        ({"thinking": {"type": "disabled"}}, "tools system"),
        ({"thinking": {"type": "adaptive"}}, "tools system messages"),
        ({"output_config": {"effort": "low"}}, "tools system"),
        ({"output_config": {"effort": "high"}}, "tools system messages"),
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "tools"),
        ({"speed": "fast"}, "tools"),
        ({"speed": "standard"}, "tools system messages"),
        ({"messages": user(text(LONG, "5m"), IMAGE)}, "tools system"),
        ({"max_tokens": 20}, "tools system messages"),
        ({"metadata": {"user_id": "x"}}, "tools system messages"),
        ({"system": [text("Other. " + LONG, "5m")]}, "tools"),
    ],
)
def test_a_change_loses_the_caches_that_it_must(change: dict[str, Any], kept: str) -> None:
    base: dict[str, Any] = {
        "model": "claude-opus-5",
        "tools": [{**TOOL, "cache_control": {"type": "ephemeral"}}],
        "system": MARKED,
        "messages": user(text(LONG, "5m")),
    }
    cache = Cache()
    written = cache.ask(0, **base).cache_write_5m_tokens
    share = cache.ask(10, **{**base, **change}).cache_read_tokens / written
    assert round(3 * share) == len(kept.split())


def test_a_web_search_or_citations_that_come_and_go_lose_system_and_messages_and_keep_the_tools() -> None:
    search = {"type": "web_search_20260318", "name": "web_search"}
    cited = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": LONG},
        "citations": {"enabled": True},
    }
    base: dict[str, Any] = {"tools": [{**TOOL, "cache_control": {"type": "ephemeral"}}], "system": MARKED}
    for change in ({"tools": [*base["tools"], search]}, {"messages": user(cited)}):
        cache = Cache()
        cache.ask(0, **base)
        usage = cache.ask(10, **{**base, **change})
        assert 0 < usage.cache_read_tokens < 0.6 * usage.prompt_tokens


# Minimum


MINIMUMS = {
    "claude-fable-5-2": 512,
    "claude-opus-5-5": 512,
    "claude-sonnet-5-5": 512,
    "claude-haiku-5-5": 512,
    "claude-opus-5": 512,
    "claude-sonnet-5": 1024,
    "claude-opus-4-8": 1024,
    "claude-opus-4-7": 2048,
    "claude-sonnet-4-6": 1024,
    "claude-sonnet-4-5": 1024,
    "claude-opus-4-6": 4096,
    "claude-opus-4-5": 4096,
    "claude-haiku-4-5": 4096,
}


@pytest.mark.parametrize("model_id", sorted(MINIMUMS))
def test_a_prefix_below_the_minimum_of_its_model_is_silently_not_cached(model_id: str) -> None:
    words = 1
    while Cache(model_id).ask(0, system=[text("word " * words, "5m")]).cache_write_5m_tokens == 0:
        words += 5
    written = Cache(model_id).ask(0, system=[text("word " * words, "5m")]).cache_write_5m_tokens
    assert MINIMUMS[model_id] <= written < MINIMUMS[model_id] + 20


def test_a_short_mark_before_a_long_one_is_passed_over() -> None:
    usage = Cache().ask(0, system=[text(SHORT, "1h"), text(LONG, "5m")])
    assert usage.cache_write_1h_tokens == 0
    assert usage.cache_write_5m_tokens > 0


# Marks


def test_lives_are_split_as_the_api_bills_them() -> None:
    cache = Cache()
    cache.ask(0, system=[text(LONG, "1h")])
    read = cache.ask(10, system=[text(LONG, "1h")]).cache_read_tokens
    usage = cache.ask(
        20, system=[text(LONG, "1h"), text(LONG, "1h")], messages=user(text(LONG, "5m"), text("and this"))
    )
    assert usage.cache_read_tokens == read
    assert usage.cache_write_1h_tokens == pytest.approx(read, rel=0.01)
    assert usage.cache_write_5m_tokens == pytest.approx(read, rel=0.01)
    assert 0 < usage.input_tokens < 20


def test_usage_fields_are_those_of_the_wire() -> None:
    fields = InputUsage(10, 20, 30, 40).fields()
    assert fields == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 70,
        "cache_read_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 40},
    }


def test_the_automatic_mark_falls_on_the_last_block_and_moves_on_with_the_conversation() -> None:
    cache, automatic = Cache(), {"type": "ephemeral"}
    messages = [{"role": "user", "content": LONG}]
    first = cache.ask(0, messages=messages, cache_control=automatic)
    assert first.cache_write_5m_tokens > 5000
    messages = [*messages, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And then?"}]
    second = cache.ask(10, messages=messages, cache_control=automatic)
    assert second.cache_read_tokens == first.cache_write_5m_tokens
    assert 0 < second.cache_write_5m_tokens < 40
    assert second.input_tokens == first.input_tokens


def test_the_automatic_mark_steps_back_over_what_cannot_be_cached() -> None:
    thought = {"type": "thinking", "thinking": "", "signature": "x"}
    messages = [{"role": "user", "content": LONG}, {"role": "assistant", "content": [thought]}]
    usage = Cache().ask(0, messages=messages, cache_control={"type": "ephemeral"})
    assert usage.cache_write_5m_tokens > 5000


def test_an_hour_may_be_automatic() -> None:
    usage = Cache().ask(0, system=LONG, cache_control={"type": "ephemeral", "ttl": "1h"})
    assert usage.cache_write_1h_tokens > 5000
    assert usage.cache_write_5m_tokens == 0


@pytest.mark.parametrize(("between", "hit"), [(0, True), (18, True), (19, True), (20, False), (40, False)])
def test_a_mark_looks_back_over_twenty_positions_its_own_among_them(between: int, hit: bool) -> None:
    cache = Cache()
    cache.ask(0, messages=user(text(LONG, "5m")))
    added = [text(f"Block {n}. ") for n in range(between)]
    blocks = [text(LONG), *added[:-1], text(f"Block {between - 1}. ", "5m")] if added else [text(LONG, "5m")]
    assert (cache.ask(10, messages=user(*blocks)).cache_read_tokens > 0) == hit


def test_a_second_mark_finds_what_the_last_one_is_too_far_from() -> None:
    cache = Cache()
    cache.ask(0, messages=user(text(LONG, "5m")))
    added = [text(f"Block {n}. ") for n in range(30)]
    blocks = [text(LONG, "5m"), *added[:-1], text("Block 29. ", "5m")]
    assert cache.ask(10, messages=user(*blocks)).cache_read_tokens > 0


def test_only_marked_positions_are_written() -> None:
    cache = Cache()
    cache.ask(0, system=[text(LONG), text("x", "5m")])
    assert cache.ask(10, system=[text(LONG, "5m"), text("y")]).cache_read_tokens == 0


def test_a_mark_inside_a_tool_result_ends_where_the_result_ends() -> None:
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "t", "input": {}}]},
        *user({"type": "tool_result", "tool_use_id": "a", "content": [text(LONG, "5m")]}),
    ]
    cache = Cache()
    assert cache.ask(0, messages=messages).cache_write_5m_tokens > 5000
    unmarked = [*messages[:2], *user({"type": "tool_result", "tool_use_id": "a", "content": [text(LONG)]})]
    assert cache.ask(10, messages=unmarked, cache_control={"type": "ephemeral"}).cache_read_tokens > 5000


def test_dead_entries_do_not_pile_up() -> None:
    cache = Cache()
    for at in range(3000):
        cache.ask(at * 100.0, system=[text(f"{at} {LONG[:6000]}", "5m")])
    assert len(cache.entries) < 1200


# Against a simple account of the same


TEXTS = ["alpha " * 700, "beta " * 700, "gamma " * 700]
BLOCKS = st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from([None, None, "5m", "1h"])), min_size=1, max_size=6)


def _legal(blocks: Sequence[tuple[str, str | None]]) -> bool:
    lives = [ttl for _, ttl in blocks if ttl]
    return len(lives) <= 4 and lives == sorted(lives)


class SimpleCache:
    """Prefixes as tuples of texts, and the published sentence about billing, word for word."""

    def __init__(self) -> None:
        self.readable: dict[tuple[str, ...], float] = {}
        self.dies: dict[tuple[str, ...], float] = {}
        self.life: dict[tuple[str, ...], int] = {}

    def ask(self, now: float, blocks: Sequence[tuple[str, str | None]], ends: Sequence[int]) -> tuple[int, int, int]:
        texts = tuple(text for text, _ in blocks)
        marks = {at + 1: 300 if ttl == "5m" else 3600 for at, (_, ttl) in enumerate(blocks) if ttl}
        live = [n for n in range(1, len(texts) + 1) if self.readable.get(texts[:n], now + 1) <= now]
        live = [n for n in live if self.dies[texts[:n]] > now]
        # Nothing after the last mark is looked at.
        hit = max((n for n in live if n <= max(marks, default=0)), default=0)
        for n in {hit, *(m for m in marks if m <= hit)} & set(live):
            self.dies[texts[:n]] = max(self.dies[texts[:n]], now + self.life[texts[:n]])
        for n, life in marks.items():
            if n > hit:
                self._write(texts[:n], life, now)
        a = ends[hit]
        b = max((ends[n] for n, life in marks.items() if life == 3600 and n > hit), default=a)
        c = max((ends[n] for n in marks if n > hit), default=a)
        return a, max(c - b, 0), b - a

    def _write(self, prefix: tuple[str, ...], life: int, now: float) -> None:
        if self.dies.get(prefix, 0) > now:
            self.readable[prefix] = min(self.readable[prefix], now + TTFT_S)
            self.life[prefix] = max(self.life[prefix], life)
            self.dies[prefix] = max(self.dies[prefix], now + life)
        else:
            self.readable[prefix], self.life[prefix], self.dies[prefix] = now + TTFT_S, life, now + life


@given(st.lists(st.tuples(BLOCKS.filter(_legal), st.sampled_from([0.5, 1, 60, 299, 301, 3000])), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_run_of_requests_is_split_as_a_simple_account_splits_it(
    requests: list[tuple[list[tuple[str, str | None]], float]],
) -> None:
    cache, simple, now = Cache("claude-opus-5"), SimpleCache(), 0.0
    model = find_model("claude-opus-5")
    assert model is not None
    for blocks, wait_s in requests:
        now += wait_s
        sent = [text(value, ttl) for value, ttl in blocks]
        whole = read_prompt(params(system=sent, cache_control={"type": "ephemeral"}), model)
        ends = [0, *(position.tokens for position in whole.positions)]
        usage = cache.ask(now, system=sent)
        assert (usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == simple.ask(
            now, blocks, ends
        )


@given(BLOCKS.filter(_legal), st.booleans())
@settings(max_examples=60, deadline=None)
def test_marks_never_change_what_a_prompt_counts(blocks: list[tuple[str, str | None]], in_messages: bool) -> None:
    model = find_model(HAIKU)
    assert model is not None

    def prompt(keep: bool) -> Prompt:
        sent = [text(value, ttl if keep else None) for value, ttl in blocks]
        return read_prompt(params(**({"messages": user(*sent)} if in_messages else {"system": sent})), model)

    assert prompt(True).input_tokens == prompt(False).input_tokens
    assert prompt(False).marks == ()
    ends = [position.tokens for position in prompt(True).positions]
    assert ends == sorted(ends)


def test_what_is_remembered_of_a_system_prompt_is_not_mistaken_for_another() -> None:
    model = find_model(HAIKU)
    assert model is not None
    digests = {
        read_prompt(params(tools=tools, cache_control={"type": "ephemeral"}), model).positions[0].digest
        for tools in ([{**TOOL, "input_schema": {"type": "object", "x": value}}] for value in (True, 1, 1.0))
    }
    assert len(digests) == 3
    counts = {
        count_input_tokens(params(system=system, tools=tools), model)
        for system in ("a", "a" * 50)
        for tools in ([], [TOOL])
    }
    assert len(counts) == 4
