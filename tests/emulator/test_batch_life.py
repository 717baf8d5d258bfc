"""A batch from its creation to its archive, by a clock that the tests set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer, RowRule, Scenario
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import BATCHES, HEADERS, Wire, row, rows

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def slow(**changes: Any) -> Scenario:
    """An hour a batch, ten rows at a time; nothing happens unless the clock is moved."""
    return Scenario(processing_time_s=HOUR_S, parallelism=10, **changes)


def counts(batch: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in batch["request_counts"].items() if count}


def test_a_new_batch_looks_as_on_the_wire(wire: Wire) -> None:
    batch = wire.create(rows(2))
    assert list(batch) == [
        "id",
        "type",
        "processing_status",
        "request_counts",
        "ended_at",
        "created_at",
        "expires_at",
        "archived_at",
        "cancel_initiated_at",
        "results_url",
    ]
    assert list(batch["request_counts"]) == ["processing", "succeeded", "errored", "canceled", "expired"]
    created, expires = (datetime.fromisoformat(batch[key]) for key in ("created_at", "expires_at"))
    assert expires - created == timedelta(hours=24)
    assert batch["created_at"].endswith("+00:00")
    assert len(batch["id"]) == len("msgbatch_015Myz5Wcm1Ua9o4n8qaw5zt")


def test_an_unfinished_batch_says_when_to_ask_again(start: StartEmulator, connect: Connect) -> None:
    server = start(slow())
    wire = connect(server)
    batch_id = wire.create(rows(1))["id"]
    assert wire.get(f"{BATCHES}/{batch_id}").headers["retry-after"] == "10"
    server.clock.advance(HOUR_S)
    assert "retry-after" not in wire.get(f"{BATCHES}/{batch_id}").headers


def test_counts_stay_until_the_end(start: StartEmulator, connect: Connect) -> None:
    server = start(slow())
    wire = connect(server)
    batch_id = wire.create([*rows(99), row("bad", max_tokens=0)])["id"]
    server.clock.advance(HOUR_S - 1)
    batch = wire.batch(batch_id)
    assert (batch["processing_status"], counts(batch)) == ("in_progress", {"processing": 100})
    server.clock.advance(1)
    batch = wire.batch(batch_id)
    assert (batch["processing_status"], counts(batch)) == ("ended", {"succeeded": 99, "errored": 1})
    assert datetime.fromisoformat(batch["ended_at"]) - datetime.fromisoformat(batch["created_at"]) == timedelta(hours=1)


def test_counts_move_if_they_are_told_to_and_always_add_up(start: StartEmulator, connect: Connect) -> None:
    server = start(slow(counts="move"))
    wire = connect(server)
    batch_id = wire.create([*rows(95), *(row(f"bad-{number}", max_tokens=0) for number in range(5))])["id"]
    seen = []
    for _ in range(6):
        batch = wire.batch(batch_id)
        assert sum(batch["request_counts"].values()) == 100
        seen.append(batch["request_counts"]["processing"])
        server.clock.advance(HOUR_S / 5)
    assert seen[0] == 100
    assert seen[-1] == 0
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) > 4
    assert counts(wire.batch(batch_id)) == {"succeeded": 95, "errored": 5}


def test_results_are_there_only_after_the_end(start: StartEmulator, connect: Connect) -> None:
    server = start(slow())
    wire = connect(server)
    batch_id = wire.create(rows(3))["id"]
    response = wire.get(f"{BATCHES}/{batch_id}/results")
    assert response.status_code == 404
    assert response.json()["error"]["message"] == f"Message Batch {batch_id} has no available results."
    assert wire.batch(batch_id)["results_url"] is None
    server.clock.advance(HOUR_S)
    assert wire.batch(batch_id)["results_url"] == f"{server.base_url}{BATCHES}/{batch_id}/results"
    response = wire.get(f"{BATCHES}/{batch_id}/results")
    assert response.headers["content-type"] == "application/x-jsonl"
    assert response.headers["content-disposition"] == f'attachment; filename="{batch_id}_results.jsonl"'
    assert len(response.text.splitlines()) == 3


@pytest.mark.parametrize(
    ("order", "expected"), [("as_sent", list(range(50))), ("reversed", list(range(49, -1, -1))), ("shuffled", None)]
)
def test_results_come_in_the_order_that_was_chosen(
    start: StartEmulator, order: Any, expected: list[int] | None, connect: Connect
) -> None:
    wire = connect(start(Scenario(processing_time_s=0, result_order=order)))
    batch_id = wire.create(rows(50))["id"]
    wire.ended(batch_id)
    positions = [int(line["custom_id"].removeprefix("row-")) for line in wire.results(batch_id)]
    assert sorted(positions) == list(range(50))
    if expected is None:
        assert positions not in (sorted(positions), sorted(positions, reverse=True))
    else:
        assert positions == expected


def test_a_cancel_keeps_what_is_done(start: StartEmulator, connect: Connect) -> None:
    server = start(slow(cancel_time_s=25))
    wire = connect(server)
    batch_id = wire.create(rows(100))["id"]
    server.clock.advance(HOUR_S / 2)
    canceled = wire.post(f"{BATCHES}/{batch_id}/cancel").json()
    assert canceled["processing_status"] == "canceling"
    assert counts(canceled) == {"processing": 100}
    assert canceled["cancel_initiated_at"] is not None
    server.clock.advance(24)
    assert wire.batch(batch_id)["processing_status"] == "canceling"
    server.clock.advance(1)
    ended = wire.batch(batch_id)
    assert ended["processing_status"] == "ended"
    assert 0 < ended["request_counts"]["succeeded"] < 100
    assert ended["request_counts"]["succeeded"] + ended["request_counts"]["canceled"] == 100
    kinds = {line["result"]["type"] for line in wire.results(batch_id)}
    assert kinds == {"succeeded", "canceled"}
    assert {"type": "canceled"} in [line["result"] for line in wire.results(batch_id)]
    assert server.counters().requests_billed == ended["request_counts"]["succeeded"]


def test_a_second_cancel_changes_nothing(start: StartEmulator, connect: Connect) -> None:
    server = start(slow(cancel_time_s=25))
    wire = connect(server)
    batch_id = wire.create(rows(2))["id"]
    first = wire.post(f"{BATCHES}/{batch_id}/cancel").json()
    server.clock.advance(5)
    assert wire.post(f"{BATCHES}/{batch_id}/cancel").json() == first
    server.clock.advance(20)
    ended = wire.batch(batch_id)
    assert counts(ended) == {"canceled": 2}
    assert wire.post(f"{BATCHES}/{batch_id}/cancel").json() == ended


def test_after_24_hours_the_rest_is_expired(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=2 * DAY_S, parallelism=10))
    wire = connect(server)
    batch_id = wire.create(rows(100))["id"]
    server.clock.advance(DAY_S - 1)
    assert wire.batch(batch_id)["processing_status"] == "in_progress"
    server.clock.advance(1)
    ended = wire.batch(batch_id)
    assert ended["ended_at"] == ended["expires_at"]
    assert 30 < ended["request_counts"]["expired"] < 70
    expired = [line["result"] for line in wire.results(batch_id) if line["result"]["type"] == "expired"]
    assert expired == [{"type": "expired"}] * ended["request_counts"]["expired"]
    assert server.counters().requests_expired == len(expired)


def test_after_29_days_the_results_are_gone_and_the_batch_is_not(start: StartEmulator, connect: Connect) -> None:
    server = start(slow())
    wire = connect(server)
    batch_id = wire.create(rows(2))["id"]
    server.clock.advance(29 * DAY_S - 1)
    assert len(wire.results(batch_id)) == 2
    server.clock.advance(1)
    batch = wire.batch(batch_id)
    assert batch["archived_at"] is not None
    assert batch["results_url"] is None
    assert counts(batch) == {"succeeded": 2}
    assert wire.get(f"{BATCHES}/{batch_id}/results").status_code == 404
    assert [listed["id"] for listed in wire.get(BATCHES).json()["data"]] == [batch_id]


def test_a_running_batch_cannot_be_deleted(start: StartEmulator, connect: Connect) -> None:
    server = start(slow())
    wire = connect(server)
    batch_id = wire.create(rows(1))["id"]
    response = wire.send("DELETE", f"{BATCHES}/{batch_id}")
    assert response.status_code == 400
    assert response.json()["error"]["message"] == (
        "In progress batches cannot be deleted. Consider canceling the batch instead."
    )
    server.clock.advance(HOUR_S)
    assert wire.send("DELETE", f"{BATCHES}/{batch_id}").json() == {"id": batch_id, "type": "message_batch_deleted"}
    assert wire.get(f"{BATCHES}/{batch_id}").json()["error"]["message"] == f"Message Batch {batch_id} not found."
    assert wire.get(BATCHES).json() == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert server.counters().requests_billed == 1


def test_the_list_is_newest_first_and_pages_both_ways(wire: Wire) -> None:
    ids = [wire.create(rows(1))["id"] for _ in range(5)][::-1]
    page = wire.get(BATCHES, params={"limit": 2}).json()
    assert [batch["id"] for batch in page["data"]] == ids[:2]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, ids[0], ids[1])
    page = wire.get(BATCHES, params={"limit": 2, "after_id": ids[1]}).json()
    assert [batch["id"] for batch in page["data"]] == ids[2:4]
    page = wire.get(BATCHES, params={"limit": 2, "after_id": ids[3]}).json()
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == ([ids[4]], False)
    page = wire.get(BATCHES, params={"limit": 2, "before_id": ids[4]}).json()
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (ids[2:4], True)
    page = wire.get(BATCHES, params={"limit": 2, "before_id": ids[1]}).json()
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == ([ids[0]], False)


@pytest.mark.parametrize("limit", ["0", "1001", "many", "-1"])
def test_a_limit_out_of_range_is_refused(wire: Wire, limit: str) -> None:
    response = wire.get(BATCHES, params={"limit": limit})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("limit: Input should be")


def test_an_unknown_cursor_is_not_found(wire: Wire) -> None:
    assert wire.get(BATCHES, params={"after_id": "msgbatch_none"}).status_code == 404


def test_workspaces_do_not_see_each_other(emulator: EmulatorServer, wire: Wire, connect: Connect) -> None:
    other = connect(emulator, {**HEADERS, "anthropic-workspace-id": "wrkspc_other"})
    ours, theirs = wire.create(rows(1))["id"], other.create(rows(1))["id"]
    assert [batch["id"] for batch in wire.get(BATCHES).json()["data"]] == [ours]
    assert [batch["id"] for batch in other.get(BATCHES).json()["data"]] == [theirs]
    assert wire.get(f"{BATCHES}/{theirs}").status_code == 404


def test_other_peoples_batches_are_listed_and_count_for_nothing(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0, other_batches=4))
    wire = connect(server)
    ours = wire.create(rows(2))["id"]
    listed = wire.get(BATCHES).json()["data"]
    assert listed[0]["id"] == ours
    assert [sum(batch["request_counts"].values()) for batch in listed] == [2, 1, 3, 2, 1]
    theirs = wire.results(listed[1]["id"])
    assert theirs[0]["custom_id"].startswith("other-")
    wire.ended(ours)
    counters = server.counters()
    assert (counters.batches_created, counters.requests_accepted, counters.requests_billed) == (1, 2, 2)


def test_a_new_batch_can_be_missing_from_the_list_for_a_while(start: StartEmulator, connect: Connect) -> None:
    server = start(slow(list_delay_s=60))
    wire = connect(server)
    batch_id = wire.create(rows(1))["id"]
    assert wire.get(BATCHES).json()["data"] == []
    assert wire.batch(batch_id)["id"] == batch_id
    server.clock.advance(60)
    assert len(wire.get(BATCHES).json()["data"]) == 1


def test_a_clock_at_speed_lets_days_pass(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=5 * HOUR_S))
    server.clock.speed = 100 * HOUR_S
    assert connect(server).run(rows(2))["row-0"]["type"] == "succeeded"


def test_the_date_header_follows_the_clock(start: StartEmulator, connect: Connect) -> None:
    server = start(slow())
    server.clock.set(datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC))
    server.clock.speed = 0
    response = connect(server).get(BATCHES)
    assert parsedate_to_datetime(response.headers["date"]) == datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)


ROW_OUTCOMES: dict[str, Callable[[Any], bool]] = {
    "expired": lambda result: result == {"type": "expired"},
    "canceled": lambda result: result == {"type": "canceled"},
    "errored": lambda result: result["error"]["error"]["type"] == "overloaded_error",
    "refused": lambda result: (
        result["message"]["stop_reason"] == "refusal" and result["message"]["stop_details"]["type"] == "refusal"
    ),
    "schema_breaking": lambda result: not result["message"]["content"][-1]["text"].startswith("{"),
    "cut": lambda result: (
        result["message"]["stop_reason"] == "max_tokens" and result["message"]["usage"]["output_tokens"] == 200
    ),
    "empty": lambda result: result["message"]["content"] == [],
    "thinking_only": lambda result: [block["type"] for block in result["message"]["content"]] == ["thinking"],
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize("outcome", ROW_OUTCOMES)
def test_rows_can_be_told_how_to_end(start: StartEmulator, outcome: Any, connect: Connect) -> None:
    rule = RowRule(outcome=outcome, custom_id="^row-3$", error_type="overloaded_error")
    server = start(Scenario(processing_time_s=0, rows=(rule,)))
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
    results = connect(server).run(rows(5, output_config=wanted))
    assert ROW_OUTCOMES[outcome](results["row-3"])
    for key in ("row-0", "row-1", "row-2", "row-4"):
        assert results[key]["message"]["stop_reason"] == "end_turn"
        assert results[key]["message"]["content"][-1]["text"].startswith('{"a":')
    unbilled = outcome in ("expired", "canceled", "errored")
    assert server.counters().requests_billed == (4 if unbilled else 5)


def test_a_share_of_rows_is_drawn_from_the_seed(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0, seed=3, rows=(RowRule(outcome="errored", share=0.2),)))
    wire = connect(server)
    first = wire.ended(wire.create(rows(400))["id"])["request_counts"]["errored"]
    assert 50 < first < 110


def test_a_rule_can_spare_a_custom_id_the_second_time(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0, rows=(RowRule(outcome="errored", submissions=1),)))
    wire = connect(server)
    assert wire.run(rows(1))["row-0"]["type"] == "errored"
    assert wire.run(rows(1))["row-0"]["type"] == "succeeded"
