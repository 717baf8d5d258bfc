"""The official SDK, synchronous and asynchronous, through every endpoint; raw answers are as the API describes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anthropic
import pytest

from batchforge.emulator import EmulatorServer, Fault, Scenario
from tests.emulator.answer_schemas import check
from tests.emulator.conftest import StartEmulator
from tests.emulator.wire import params, row, rows


@contextmanager
def sdk(server: EmulatorServer, **options: Any) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url=server.base_url, max_retries=0, **options) as client:
        yield client


@asynccontextmanager
async def async_sdk(server: EmulatorServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=server.base_url, max_retries=0) as client:
        yield client


def said(message: anthropic.types.Message) -> list[dict[str, Any]]:
    """The content as it was on the wire; ids of calls are drawn anew for each message."""
    return [block.to_dict(exclude_unset=True) | {"id": None, "parsed_output": None} for block in message.content]


def test_a_batch_lives_through_the_sdk(emulator: EmulatorServer) -> None:
    with sdk(emulator) as client:
        batch = client.messages.batches.create(requests=rows(5))  # type: ignore[arg-type]
        assert batch.id.startswith("msgbatch_01")
        while (batch := client.messages.batches.retrieve(batch.id)).processing_status != "ended":
            pass
        assert batch.request_counts.succeeded == 5
        results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
        assert {result.type for result in results.values()} == {"succeeded"}
        assert [listed.id for listed in client.messages.batches.list()] == [batch.id]
        assert client.messages.batches.delete(batch.id).type == "message_batch_deleted"
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.retrieve(batch.id)


def test_the_async_sdk_does_the_same(emulator: EmulatorServer) -> None:
    async def life() -> None:
        async with async_sdk(emulator) as client:
            batch = await client.messages.batches.create(requests=rows(3))  # type: ignore[arg-type]
            while (await client.messages.batches.retrieve(batch.id)).processing_status != "ended":
                await asyncio.sleep(0.005)
            results = [line async for line in await client.messages.batches.results(batch.id)]
            assert sorted(line.custom_id for line in results) == ["row-0", "row-1", "row-2"]
            assert [listed.id async for listed in client.messages.batches.list(limit=1)] == [batch.id]
            message = await client.messages.create(**params())
            assert message.stop_reason == "end_turn"
            count = await client.messages.count_tokens(model="claude-opus-4-8", messages=params()["messages"])
            assert count.input_tokens == message.usage.input_tokens
            assert (await client.models.retrieve("claude-opus-4-8")).id == "claude-opus-4-8"
            file = await client.files.upload(file=("a.txt", b"hello"))
            assert [listed.id async for listed in client.files.list()] == [file.id]
            assert (await client.files.delete(file.id)).id == file.id
            assert (await client.messages.batches.cancel(batch.id)).processing_status == "ended"
            async with client.messages.stream(**params()) as stream:
                assert said(await stream.get_final_message()) == said(message)

    asyncio.run(life())


def test_cancel_through_the_sdk(start: StartEmulator) -> None:
    with sdk(start(Scenario(processing_time_s=3600, cancel_time_s=3600))) as client:
        batch = client.messages.batches.create(requests=rows(2))  # type: ignore[arg-type]
        canceled = client.messages.batches.cancel(batch.id)
        assert canceled.processing_status == "canceling"
        assert canceled.cancel_initiated_at is not None
        assert canceled.request_counts.processing == 2
        with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
            client.messages.batches.results(batch.id)


def test_pages_of_batches_go_both_ways(emulator: EmulatorServer) -> None:
    with sdk(emulator) as client:
        ids = [client.messages.batches.create(requests=rows(1)).id for _ in range(7)]  # type: ignore[arg-type]
        assert [batch.id for batch in client.messages.batches.list(limit=2)] == ids[::-1]
        page = client.messages.batches.list(limit=2, before_id=ids[2])
        assert [batch.id for batch in page.data] == [ids[4], ids[3]]
        assert page.has_more
        assert [batch.id for batch in page.get_next_page().data] == [ids[6], ids[5]]


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-haiku-5-5", "claude-opus-4-8", "claude-haiku-4-5"])
def test_a_stream_gives_the_message_that_one_piece_gives(emulator: EmulatorServer, model: str) -> None:
    tools = [{"name": "find_order", "description": "Find an order by its number", "input_schema": {"type": "object"}}]
    asked = params(text="Please find order 17 by its number", model=model, max_tokens=3000, tools=tools)
    with sdk(emulator) as client:
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
    assert said(streamed) == said(whole)
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_every_answer_is_as_the_api_describes_it(emulator: EmulatorServer) -> None:
    with sdk(emulator) as client:
        asked = params()
        check(json.loads(client.messages.with_raw_response.create(**asked).http_response.content), "Message")
        raw = client.messages.batches.with_raw_response
        batch = json.loads(raw.create(requests=[*rows(2), row("bad", max_tokens=0)]).http_response.content)  # type: ignore[list-item]
        check(batch, "MessageBatch")
        while (ended := client.messages.batches.retrieve(batch["id"])).processing_status != "ended":
            pass
        check(json.loads(raw.retrieve(ended.id).http_response.content), "MessageBatch")
        check(json.loads(raw.list().http_response.content), "ListResponse_MessageBatch_")
        lines = client.get(f"/v1/messages/batches/{ended.id}/results", cast_to=str).splitlines()
        assert len(lines) == 3
        for line in lines:
            check(json.loads(line), "MessageBatchIndividualResponse")
        check(json.loads(raw.cancel(ended.id).http_response.content), "MessageBatch")
        check(json.loads(raw.delete(ended.id).http_response.content), "DeleteMessageBatchResponse")
        count = client.messages.with_raw_response.count_tokens(model="claude-opus-4-8", messages=asked["messages"])
        check(json.loads(count.http_response.content), "CountMessageTokensResponse")
        check(json.loads(client.models.with_raw_response.list().http_response.content), "ListResponse_ModelInfo_")
        model = client.models.with_raw_response.retrieve("claude-sonnet-5-5")
        check(json.loads(model.http_response.content), "ModelInfo")
        file = json.loads(client.files.with_raw_response.upload(file=("a.pdf", b"%PDF-1.7")).http_response.content)
        check(file, "BetaFileMetadataSchema")
        check(
            json.loads(client.files.with_raw_response.delete(file["id"]).http_response.content),
            "BetaFileDeleteResponse",
        )


ERRORS = [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.AuthenticationError, "authentication_error"),
    (402, anthropic.PaymentRequiredError, "billing_error"),
    (403, anthropic.PermissionDeniedError, "permission_error"),
    (404, anthropic.NotFoundError, "not_found_error"),
    (409, anthropic.ConflictError, "conflict_error"),
    (413, anthropic.RequestTooLargeError, "request_too_large"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (504, anthropic.DeadlineExceededError, "timeout_error"),
    (529, anthropic.OverloadedError, "overloaded_error"),
]


@pytest.mark.parametrize(("status", "kind", "error_type"), ERRORS)
def test_each_error_becomes_the_sdks_exception_for_it(
    emulator: EmulatorServer, status: int, kind: type[anthropic.APIStatusError], error_type: str
) -> None:
    emulator.faults.add(Fault(kind="status", status=status, message="as told"))
    with sdk(emulator) as client, pytest.raises(kind) as caught:
        client.messages.create(**params())
    assert caught.value.type == error_type
    assert caught.value.status_code == status
    assert caught.value.request_id is not None
    assert caught.value.request_id.startswith("req_01")
    assert caught.value.api_message == "as told"
    check(caught.value.body, "ErrorResponse") if status not in (409, 413) else None


def test_a_spend_limit_carries_its_code(emulator: EmulatorServer) -> None:
    emulator.faults.add(
        Fault(kind="status", status=429, details={"error_code": "enforced_spend_limit_reached"}, on="batches.create")
    )
    with sdk(emulator) as client, pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.batches.create(requests=rows(1))  # type: ignore[arg-type]
    assert caught.value.error_code == "enforced_spend_limit_reached"


def test_the_sdk_retries_what_may_be_retried(emulator: EmulatorServer) -> None:
    emulator.faults.add(Fault(kind="status", status=529, times=2, retry_after_s=0.001))
    with anthropic.Anthropic(api_key="any", base_url=emulator.base_url, max_retries=2) as client:
        assert client.messages.create(**params()).stop_reason == "end_turn"
    assert [entry.status for entry in emulator.received("messages")] == [529, 529, 200]


def test_the_sdks_list_of_models_is_the_emulators(emulator: EmulatorServer) -> None:
    with sdk(emulator) as client:
        every = {model.id for model in client.models.list(limit=3)}
        retired = {model.id for model in client.models.list(lifecycle=["retired"])}
        assert "claude-opus-5-5" in every
        assert "claude-3-haiku-20240307" in retired
        assert not every & retired
        assert client.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"
        with pytest.raises(anthropic.NotFoundError, match="model: claude-9"):
            client.models.retrieve("claude-9")


def test_beta_calls_reach_the_same_batches(emulator: EmulatorServer) -> None:
    with sdk(emulator) as client:
        asked = rows(1, model="claude-opus-5-5", max_tokens=200_000)
        batch = client.beta.messages.batches.create(requests=asked, betas=["output-300k-2026-03-24"])  # type: ignore[arg-type]
        while client.beta.messages.batches.retrieve(batch.id).processing_status != "ended":
            pass
        assert [line.result.type for line in client.beta.messages.batches.results(batch.id)] == ["succeeded"]
