"""The words for what came back: one `RequestResult` for each request that was asked, one `ResultKind` for each result.

Succeeded is not answered: the API's "succeeded" can hold a refusal, a cut answer, thinking and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class ResultKind(StrEnum):
    ANSWERED = "answered"
    TRUNCATED = "truncated"
    """Cut at max_tokens."""
    REFUSED = "refused"
    THINKING_ONLY = "thinking_only"
    """Cut at max_tokens before anything but thinking had come back."""
    CONTEXT_EXCEEDED = "context_exceeded"
    """Cut at the end of the model's context window."""
    EMPTY = "empty"
    PAUSED = "paused"
    """A server tool loop stopped at its limit (pause_turn)."""
    ERRORED = "errored"
    EXPIRED = "expired"
    CANCELED = "canceled"

    @property
    def is_billed(self) -> bool:
        return self not in UNBILLED


CUT = frozenset({ResultKind.TRUNCATED, ResultKind.THINKING_ONLY})
"""Cut at max_tokens: a higher one can give more."""
UNBILLED = frozenset({ResultKind.ERRORED, ResultKind.EXPIRED, ResultKind.CANCELED})
TRANSIENT_ERRORS = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})
"""Error types after which the same bytes may well succeed. An invalid_request_error is not among them."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. Total input = input + cache_read + cache_write_5m + cache_write_1h."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_searches: int = 0
    """Searches by the server's tool, each of which has a price of its own."""

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_5m_tokens + other.cache_write_5m_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            self.web_searches + other.web_searches,
        )


class RequestResult(msgspec.Struct, frozen=True):
    """What came back for one request, as state keeps it.

    A struct, since one is made, priced and loaded for every row: that takes a fifth of the time of a dataclass.
    """

    custom_id: str
    kind: ResultKind
    usage: Usage = Usage()
    message: bytes | None = None
    """The full message as JSON, byte for byte as it came; None where there is none."""
    message_id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    inference_geo: str | None = None
    cost_pico_usd: int | None = None
    """Price in 10⁻¹² USD, a whole number for every price there is; None where the model has no known price."""
    api_request_id: str | None = None
    """What the API calls the HTTP request, or the line of a batch, that it came with; where it says so."""
    standard_pico_usd: int | None = None
    """What its tokens would have cost one by one, at no discount; not stored."""
    uncached_pico_usd: int | None = None
    """The same had nothing been cached; not stored."""

    @property
    def may_be_resent(self) -> bool:
        """An unbilled, transient failure: a plain run sends it again."""
        if self.kind is ResultKind.ERRORED:
            return self.error_type in TRANSIENT_ERRORS
        return self.kind in UNBILLED


@dataclass(frozen=True, slots=True)
class Brought:
    """What some results amount to."""

    results: int = 0
    billed: int = 0
    answered: int = 0
    cache_hits: int = 0
    """Results that read something from the cache."""
    usage: Usage = Usage()
    cost_pico_usd: int = 0
    standard_pico_usd: int = 0
    uncached_pico_usd: int = 0
    unpriced: int = 0
    """Billed results of models whose price is not known."""
    transient: int = 0
    """Failures that cost nothing and may well not happen again."""

    @property
    def cost_usd(self) -> float:
        return self.cost_pico_usd / 1e12

    @property
    def cache_hit_rate(self) -> float | None:
        """The share of the billed results that read something from the cache; None without any."""
        return self.cache_hits / self.billed if self.billed else None

    def __add__(self, other: Brought) -> Brought:
        return Brought(
            self.results + other.results,
            self.billed + other.billed,
            self.answered + other.answered,
            self.cache_hits + other.cache_hits,
            self.usage + other.usage,
            self.cost_pico_usd + other.cost_pico_usd,
            self.standard_pico_usd + other.standard_pico_usd,
            self.uncached_pico_usd + other.uncached_pico_usd,
            self.unpriced + other.unpriced,
            self.transient + other.transient,
        )


def brought_by(results: Sequence[RequestResult]) -> Brought:
    """What these results amount to. In one pass: every result that is stored goes through it."""
    billed = answered = hits = unpriced = transient = cost = standard = uncached = 0
    inputs = outputs = reads = writes_5m = writes_1h = searches = 0
    for result in results:
        if result.kind in UNBILLED:
            transient += result.may_be_resent
            continue
        usage = result.usage
        billed += 1
        answered += result.kind is ResultKind.ANSWERED
        hits += usage.cache_read_tokens > 0
        inputs += usage.input_tokens
        outputs += usage.output_tokens
        reads += usage.cache_read_tokens
        writes_5m += usage.cache_write_5m_tokens
        writes_1h += usage.cache_write_1h_tokens
        searches += usage.web_searches
        unpriced += result.cost_pico_usd is None
        cost += result.cost_pico_usd or 0
        standard += result.standard_pico_usd or 0
        uncached += result.uncached_pico_usd or 0
    usage_of_all = Usage(inputs, outputs, reads, writes_5m, writes_1h, searches)
    return Brought(len(results), billed, answered, hits, usage_of_all, cost, standard, uncached, unpriced, transient)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a job's own results have taught; `results` is 0 where there are none."""

    results: int = 0
    input_ratio: float = 1.0
    """Billed input tokens over estimated ones."""
    output_tokens: float | None = None
    """Mean length of an answer, thinking included."""
    cold_hit_rate: float | None = None
    primed_hit_rate: float | None = None
