"""What BatchForge takes for true of the Message Batches API -> each fact tried against a server, for cents.

Speaks plain HTTP, not the SDK: what is on the wire is what is checked. The facts were read from the API's pages, the
official SDK and public recordings; this is how a user with a key finds out whether they still hold.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2

from batchforge.claude_models import all_models, ceiling_usd, find_model, price_table

MODEL = "claude-haiku-5-5"
API_VERSION = "2026-10-21"
_BATCHES = "/v1/messages/batches"
_LONGEST_WAIT_S = 3600.0
_PREFIX_WORDS = 1_200
"""Words of a prefix that is well over the 512 tokens which the model can cache, and well under what costs."""
_ROWS_OF_A_CACHE_BATCH = 5


@dataclass(frozen=True, slots=True)
class FactReport:
    """One fact: what was expected, what was seen, and what the emulator of this version answers."""

    name: str
    expected: str
    seen: str
    emulator: str = ""

    @property
    def holds(self) -> bool:
        return self.expected in {self.seen, ANYTHING}

    @property
    def is_alike(self) -> bool:
        """Whether the emulator answers as the server does. Measured rates and times need not be equal."""
        return self.expected == ANYTHING or self.seen == self.emulator


ANYTHING = "(measured)"
"""Expected of what is only measured, such as a delay or a rate."""


@dataclass(slots=True)
class Server:
    """A server that is tried, spoken to in plain HTTP."""

    base_url: str
    api_key: str = field(repr=False)
    looks_for_s: float = 60.0
    """How long a batch is looked for in the list before it is taken for not there."""
    sleep: Callable[[float], None] = time.sleep
    _client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {self.api_key}", "anthropic-version": API_VERSION}
        self._client = httpx2.Client(base_url=self.base_url, headers=headers, timeout=60, follow_redirects=False)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self._client.get(path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._client.post(path, content=data, headers={"content-type": "application/json", **headers})

    def create(self, requests: Sequence[Any]) -> httpx2.Response:
        return self.post(_BATCHES, {"requests": requests})

    def ended(self, batch_id: str) -> dict[str, Any]:
        """The batch once it has ended."""
        waited, pause = 0.0, 0.2
        while waited < _LONGEST_WAIT_S:
            batch: dict[str, Any] = self.get(f"{_BATCHES}/{batch_id}").json()
            if batch["processing_status"] == "ended":
                return batch
            self.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 30.0)
        raise TimeoutError(f"{batch_id} has not ended in {_LONGEST_WAIT_S / 60:.0f} minutes")

    def results(self, batch_id: str) -> tuple[httpx2.Response, list[dict[str, Any]]]:
        self.ended(batch_id)
        response = self.get(f"{_BATCHES}/{batch_id}/results")
        return response, [json.loads(line) for line in response.text.splitlines() if line]

    def post_and_hang_up(self, path: str, body: bytes) -> None:
        """Send a whole POST and close the connection before the answer."""
        parts = urlsplit(self.base_url)
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        with socket.create_connection((host, parts.port or (443 if is_tls else 80)), timeout=60) as plain:
            stream = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if is_tls else plain
            lines = [
                f"POST {path} HTTP/1.1",
                f"host: {parts.netloc}",
                f"authorization: Bearer {self.api_key}",
                f"anthropic-version: {API_VERSION}",
                "content-type: application/json",
                f"content-length: {len(body)}",
            ]
            stream.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            stream.close()

    def close(self) -> None:
        self._client.close()


Fact = tuple[str, str, str]
"""(name, expected, seen)"""


def message(text: str = "Say ok.", **params: Any) -> dict[str, Any]:
    """Parameters of a request that costs next to nothing."""
    return {
        "model": MODEL,
        "max_tokens": 16,
        "thinking": {"type": "disabled"},
        "messages": [{"role": "user", "content": text}],
        **params,
    }


def entry(custom_id: Any, params: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": params}


def check_facts(server: Server, *, tell: Callable[[str], None] = lambda text: None) -> list[Fact]:
    """Try everything. Costs less than `ceiling()` on the real API; takes as long as a few small batches."""
    facts: list[Fact] = []
    for what, check in (
        ("refusals of a whole batch", _envelope),
        ("key, headers, token counts", _plain_requests),
        ("models and limits", _models),
        ("life of a batch, deferred errors", _life),
        ("a POST whose answer nobody reads", _lost_post),
        ("prompt caching in batches", _caching),
    ):
        tell(what)
        facts += check(server)
    return facts


def ceiling() -> float:
    """The most that a check can cost, in USD."""
    model, table = find_model(MODEL), price_table()
    prices = table.prices_of(MODEL)
    assert model is not None
    assert prices is not None
    cached = ceiling_usd(_PREFIX_WORDS * 8, 16, prices, batch=True) * 2 * (_ROWS_OF_A_CACHE_BATCH + 1)
    small = ceiling_usd(1_000, 16, prices, batch=False) * 20
    return float(cached * 2 + small)


# ---- refusals of a whole batch


def _envelope(server: Server) -> Iterator[Fact]:
    two = [entry("dup", message()), entry("dup", message())]
    texts: list[tuple[str, Any, str]] = [
        (
            "a duplicate custom_id",
            two,
            "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
        ),
        ("no custom_id", [{"params": message()}], "requests.0.custom_id: Field required"),
        (
            "a long custom_id",
            [entry("x" * 65, message())],
            "requests.0.custom_id: String should have at most 64 characters",
        ),
        (
            "an odd custom_id",
            [entry("a b", message())],
            "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ),
        ("no requests", [], "requests: List should have at least 1 item after validation, not 0"),
    ]
    for what, requests, expected in texts:
        yield f"{what} is refused at once", f"400 {expected}", _refusal(server.create(requests))
    broken = _refusal(server.post(_BATCHES, b'{"requests": ['))
    yield (
        "broken JSON is refused at once",
        "400 The request body is not valid JSON",
        broken[: len("400 The request body is not valid JSON")],
    )


def _refusal(response: httpx2.Response) -> str:
    return f"{response.status_code} {_error(response).get('message', '')}"


def _error(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        error = response.json().get("error")
    except ValueError:
        return {}
    return error if isinstance(error, dict) else {}


# ---- key, headers, token counts


def _plain_requests(server: Server) -> Iterator[Fact]:
    wrong = server.get(f"{_BATCHES}?limit=1", authorization="Bearer wrong-key", **{"x-api-key": "wrong-key"})
    kind = f"{wrong.status_code} {_error(wrong).get('type')}"
    yield "a wrong key is refused", "401 authentication_error", kind
    listed = server.get(f"{_BATCHES}?limit=1")
    yield "every answer has a request id", "yes", "yes" if listed.headers.get("request-id") else "no"
    yield "answers carry the server's time", "yes", "yes" if listed.headers.get("date") else "no"
    page = "data, first_id, has_more, last_id"
    yield "a page of batches has these keys", page, ", ".join(sorted(listed.json()))
    counted = server.post("/v1/messages/count_tokens", {"model": MODEL, "messages": message()["messages"]})
    yield "tokens are counted for nothing", "200", str(counted.status_code)
    sampled = server.post("/v1/messages", message(temperature=0.5))
    yield "sampling parameters are refused", "400 invalid_request_error", _status_and_type(sampled)
    prefilled = message()
    prefilled["messages"] = [*prefilled["messages"], {"role": "assistant", "content": "ok"}]
    yield "prefill is refused", "400 invalid_request_error", _status_and_type(server.post("/v1/messages", prefilled))
    unknown = server.post("/v1/messages", message(model="claude-no-such-model"))
    yield "an unknown model is not found", "404 not_found_error", _status_and_type(unknown)


def _status_and_type(response: httpx2.Response) -> str:
    return f"{response.status_code} {_error(response).get('type', '')}".strip()


# ---- models and limits


def _models(server: Server) -> Iterator[Fact]:
    listed = {model["id"]: model for model in server.get("/v1/models?limit=1000").json()["data"]}
    ours = {model.id: model for model in all_models() if model.access == "general" and model.status == "active"}
    missing = ", ".join(sorted(set(ours) - set(listed))) or "none"
    yield "models of our table that are not listed", "none", missing
    for name in sorted(set(ours) & set(listed)):
        model, live = ours[name], listed[name]
        expected = f"{model.context_window_tokens} in, {model.max_output_tokens} out"
        yield f"limits of {name}", expected, f"{live.get('max_input_tokens')} in, {live.get('max_tokens')} out"


# ---- life of a batch, deferred errors

_DEFERRED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("no messages", {"messages": None}, "invalid_request_error messages: Field required"),
    (
        "stream",
        {"stream": True},
        'invalid_request_error "stream=True" is not supported in the Message Batches API',
    ),
    ("max_tokens 0", {"max_tokens": 0}, "invalid_request_error max_tokens: must be greater than or equal to 1"),
    ("an unknown model", {"model": "claude-no-such-model"}, "not_found_error model: claude-no-such-model"),
)
_BATCH_KEYS = (
    "id, type, processing_status, request_counts, ended_at, created_at, expires_at, archived_at, cancel_initiated_at, "
    "results_url"
)


def _life(server: Server) -> Iterator[Fact]:
    requests = [entry(f"good-{number}", message()) for number in range(3)]
    for number, (_, changes, _) in enumerate(_DEFERRED):
        params = {key: value for key, value in (message() | changes).items() if value is not None}
        requests.append(entry(f"bad-{number}", params))
    created = server.create(requests)
    yield "faults in params are no reason to refuse a batch", "200", str(created.status_code)
    if created.status_code != 200:
        return
    batch = created.json()
    yield "keys of a batch, in this order", _BATCH_KEYS, ", ".join(batch)
    life = datetime.fromisoformat(batch["expires_at"]) - datetime.fromisoformat(batch["created_at"])
    yield "a batch expires after", str(timedelta(days=1)), str(life)
    yield from _while_in_progress(server, batch)
    yield from _after_the_end(server, batch["id"], requests)


def _while_in_progress(server: Server, batch: Mapping[str, Any]) -> Iterator[Fact]:
    started = time.monotonic()
    while batch["id"] not in [each["id"] for each in server.get(f"{_BATCHES}?limit=20").json()["data"]]:
        if time.monotonic() - started > server.looks_for_s:
            break
        server.sleep(1.0)
    yield "seconds until a new batch is listed", ANYTHING, f"{time.monotonic() - started:.1f}"
    poll = server.get(f"{_BATCHES}/{batch['id']}")
    if poll.json()["processing_status"] == "in_progress":
        yield "retry-after while in progress", ANYTHING, str(poll.headers.get("retry-after"))
        early = server.get(f"{_BATCHES}/{batch['id']}/results")
        yield "results before the end", "404 not_found_error", _status_and_type(early)


def _after_the_end(server: Server, batch_id: str, requests: Sequence[Mapping[str, Any]]) -> Iterator[Fact]:
    response, rows = server.results(batch_id)
    kind = response.headers.get("content-type", "").partition(";")[0]
    yield "content type of results", "application/x-jsonl", kind
    by_id = {str(row.get("custom_id")): row.get("result", {}) for row in rows}
    asked = [request["custom_id"] for request in requests]
    yield (
        "every request has one result",
        "yes",
        "yes" if sorted(by_id) == sorted(asked) and len(rows) == len(asked) else "no",
    )
    order = "as sent" if [row["custom_id"] for row in rows] == asked else "another"
    yield "order of results", ANYTHING, order
    good = by_id.get("good-0", {})
    yield "a good request succeeds", "succeeded", str(good.get("type"))
    usage = good.get("message", {}).get("usage", {})
    yield "service tier of a batch's answer", "batch", str(usage.get("service_tier"))
    for number, (what, _, expected) in enumerate(_DEFERRED):
        yield f"{what} is an error of its row", expected, _row_error(by_id.get(f"bad-{number}", {}))
    counts = server.get(f"{_BATCHES}/{batch_id}").json()["request_counts"]
    expected_counts = f"{len(asked) - len(_DEFERRED)} succeeded, {len(_DEFERRED)} errored, 0 processing"
    seen = f"{counts['succeeded']} succeeded, {counts['errored']} errored, {counts['processing']} processing"
    yield "counts after the end", expected_counts, seen


def _row_error(result: Mapping[str, Any]) -> str:
    """The API nests a row's error in the body of an error."""
    outer = result.get("error") or {}
    inner = outer.get("error")
    if not isinstance(inner, dict):
        return f"not nested: {outer.get('type')} {outer.get('message')}"
    return f"{inner.get('type')} {inner.get('message')}"


# ---- a POST whose answer nobody reads


def _lost_post(server: Server) -> Iterator[Fact]:
    """The count tells the batch: no other one of this check has as many requests."""
    count = 11
    before = {batch["id"] for batch in server.get(f"{_BATCHES}?limit=100").json()["data"]}
    body = {"requests": [entry(f"lost-{number}", message()) for number in range(count)]}
    server.post_and_hang_up(_BATCHES, json.dumps(body).encode())
    found = ""
    started = time.monotonic()
    while not found and time.monotonic() - started < server.looks_for_s:
        server.sleep(0.5)
        for batch in server.get(f"{_BATCHES}?limit=100").json()["data"]:
            if batch["id"] not in before and sum(batch["request_counts"].values()) == count:
                found = batch["id"]
    yield "a POST whose client hung up leaves a batch", "yes", "yes" if found else "no"


# ---- prompt caching in batches


def _caching(server: Server) -> Iterator[Fact]:
    cold = _cache_batch(server, _prefix(), _ROWS_OF_A_CACHE_BATCH)
    yield "hits in a cold batch", ANYTHING, f"{_hits(cold)} of {len(cold)}"
    shared = _prefix()
    priming = _cache_batch(server, shared, 1)
    wrote = sum(usage.get("cache_creation_input_tokens") or 0 for usage in priming)
    yield "a priming row writes its prefix", "yes", "yes" if wrote else "no"
    primed = _cache_batch(server, shared, _ROWS_OF_A_CACHE_BATCH)
    yield "hits after a priming row", ANYTHING, f"{_hits(primed)} of {len(primed)}"
    split = all(_writes_add_up(usage) for usage in [*cold, *priming, *primed])
    yield "writes are split by life, and add up", "yes", "yes" if split else "no"
    times = [batch["created_at"] for batch in server.get(f"{_BATCHES}?limit=5").json()["data"]]
    yield "the newest batch is listed first", "yes", "yes" if times == sorted(times, reverse=True) else "no"


def _prefix() -> str:
    """A text of this check alone, so that no earlier one can be read from the cache."""
    return " ".join(f"{secrets.token_hex(2)} word" for _ in range(_PREFIX_WORDS // 2))


def _cache_batch(server: Server, prefix: str, count: int) -> list[dict[str, Any]]:
    """Usages of a batch whose rows share a prefix that is marked for an hour."""
    block = {"type": "text", "text": prefix, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    requests = [entry(f"cache-{n}", message(f"Say {n}.", system=[block])) for n in range(count)]
    _, rows = server.results(server.create(requests).json()["id"])
    return [row["result"]["message"]["usage"] for row in rows if row["result"]["type"] == "succeeded"]


def _hits(usages: Sequence[Mapping[str, Any]]) -> int:
    return sum((usage.get("cache_read_input_tokens") or 0) > 0 for usage in usages)


def _writes_add_up(usage: Mapping[str, Any]) -> bool:
    split = usage.get("cache_creation") or {}
    return bool(sum(split.values()) == (usage.get("cache_creation_input_tokens") or 0))


def compare(live: Sequence[Fact], emulated: Sequence[Fact]) -> list[FactReport]:
    """The facts of a server, beside what the emulator says to the same."""
    ours = {name: seen for name, _, seen in emulated}
    return [FactReport(name, expected, seen, ours.get(name, "")) for name, expected, seen in live]
