"""What a request is named by: golden names of version bf1, what changes a name, and what does not."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.requests.compiler import CompiledJob, compile_job
from batchforge.requests.fingerprint import DELIVERY_FIELDS, canonical_params, custom_id, parse_custom_id, request_id
from batchforge.requests.request import MessageRequest
from batchforge.row_shapes import InputRow
from batchforge.source_tree import SourceTree
from batchforge.spec import InputSpec, JobSpec, MessageSpec, TemplateSource
from tests.builders import ProjectFiles

PARAMS: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 400,
    "system": "Classify the ticket.",
    "messages": [{"role": "user", "content": "My bill is too high."}],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"b": {"type": "string"}, "a": {"type": "integer"}},
    "required": ["b", "a"],
    "additionalProperties": False,
}
TOOL = {
    "name": "look",
    "description": "Look it up.",
    "input_schema": {"type": "object", "properties": {"z": {"type": "string"}, "y": {"type": "number"}}},
}
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"z": 1, "y": 2}}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [CALL]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]},
]
ODD_TEXT = 'Zoë’s 🚲 e\u0301 \u0000 "x" \\ \u2028 </ticket>'


def named(params: Mapping[str, Any], betas: Sequence[str] = ()) -> str:
    return custom_id(request_id(msgspec.json.encode(canonical_params(params, betas))))


def changed(**changes: Any) -> dict[str, Any]:
    return {**PARAMS, **changes}


# Typed by hand from a run that was looked at. A change of one of these means that every answer that anybody has is paid
# again: it is a breaking release with another prefix.
GOLDEN = [
    (PARAMS, (), "bf1_dOJyV9zIyHycf8vcA2F6BogY5hIqRDVvCBEIWM5keXQ"),
    (changed(thinking={"type": "disabled"}), (), "bf1_7yFCrY28-9ZFHLZr8QO82UkS1iBoV6veaCFnFUbU_g8"),
    (
        changed(output_config={"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}),
        (),
        "bf1_PtXaGVszvI6EghO72gwD2Y2VgpuTPQkfWaOVoAYCCMo",
    ),
    (changed(tools=[TOOL], tool_choice={"type": "auto"}), (), "bf1_M4lyJPHiyvayeu6wfBsJxVHkj9w-ivYQMDDcRh3Htpo"),
    (changed(messages=[{"role": "user", "content": ODD_TEXT}]), (), "bf1_Ff0L3IYMjr0Jwiv425qv7HBd5OY3JvPO8D-ERMKaDM0"),
    (PARAMS, ("context-1m-2025-08-07",), "bf1_ikKlJLcn4aQP3JWQJZ1-3MsqUDJ87_TUtahZ_mmyb2Y"),
    (
        changed(field_of_the_future={"b": 1, "a": [2.5, None, True]}),
        (),
        "bf1_wFq0FKtNjZwhqdv2Xf8ZFsaZ3bO5dpS6pi-qUvnqTJE",
    ),
    (changed(messages=TURNS), (), "bf1_qGygoQWGts8D3xDYqkf_iL83uFf6R89xDNek1sNcsoc"),
]


@pytest.mark.parametrize(
    ("params", "betas", "name"),
    GOLDEN,
    ids=["plain", "thinking", "schema", "tools", "text", "betas", "unknown field", "turns"],
)
def test_names_of_version_bf1_stay_what_they_are(params: dict[str, Any], betas: tuple[str, ...], name: str) -> None:
    assert named(params, betas) == name


def test_a_name_is_the_hash_of_the_canonical_bytes() -> None:
    canonical = (
        b'{"model":"claude-haiku-5-5","system":[{"text":"Classify the ticket.","type":"text"}],'
        b'"messages":[{"content":[{"text":"My bill is too high.","type":"text"}],"role":"user"}]}'
    )
    expected = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    assert named(PARAMS) == f"bf1_{expected}"


# ---- what changes nothing


@pytest.mark.parametrize("field", sorted(DELIVERY_FIELDS))
def test_fields_of_delivery_change_nothing(field: str) -> None:
    assert named(changed(**{field: 1})) == named(changed(**{field: {"other": "value"}})) == named(PARAMS)


@pytest.mark.parametrize(
    "same",
    [
        changed(system=[{"type": "text", "text": "Classify the ticket."}]),
        changed(system=[{"type": "text", "text": "Classify the ticket.", "cache_control": {"type": "ephemeral"}}]),
        changed(messages=[{"content": [{"text": "My bill is too high.", "type": "text"}], "role": "user"}]),
        dict(reversed(PARAMS.items())),
    ],
    ids=["system as a block", "marked for the cache", "content as a block", "other order of keys"],
)
def test_other_ways_to_write_the_same_change_nothing(same: dict[str, Any]) -> None:
    assert named(same) == named(PARAMS)


def test_marks_for_the_cache_change_nothing_wherever_they_stand() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    plain = changed(tools=[TOOL], messages=TURNS)
    marked_turns = [{**turn, "content": _marked(turn["content"], mark)} for turn in TURNS]
    assert named(changed(tools=[{**TOOL, **mark}], messages=marked_turns)) == named(plain)


def _marked(content: Any, mark: Mapping[str, Any]) -> Any:
    return content if isinstance(content, str) else [{**block, **mark} for block in content]


def test_the_text_of_a_tool_result_is_one_block() -> None:
    as_block = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ok"}]}
    assert named(changed(messages=[*TURNS[:2], {"role": "user", "content": [as_block]}])) == named(
        changed(messages=TURNS)
    )


def test_betas_count_in_any_order_and_only_those_that_can_change_the_answer() -> None:
    assert named(PARAMS, ("b", "a")) == named(PARAMS, ("a", "b", "a")) != named(PARAMS, ("a",))
    assert named(PARAMS, ("output-300k-2026-03-24",)) == named(PARAMS)


# ---- what changes a name


@pytest.mark.parametrize(
    "other",
    [
        changed(model="claude-opus-5-5"),
        changed(system="Classify the ticket. "),
        changed(messages=[{"role": "user", "content": "my bill is too high."}]),
        changed(messages=[{"role": "user", "content": [{"type": "text", "text": "My bill "}] * 2}]),
        changed(stop_sequences=["END"]),
        changed(thinking={"type": "disabled"}),
        changed(tools=[TOOL]),
        changed(tool_choice={"type": "none"}),
        changed(output_config={"effort": "low"}),
        changed(temperature=0.5),
        changed(container="c1"),
        changed(context_management={"edits": []}),
        changed(a_field_that_nobody_knows=1),
        changed(a_field_that_nobody_knows=None),
    ],
)
def test_what_can_change_the_answer_changes_the_name(other: dict[str, Any]) -> None:
    assert named(other) != named(PARAMS)


def test_the_order_of_keys_counts_inside_schemas_and_tool_inputs() -> None:
    def with_schema(schema: Mapping[str, Any]) -> str:
        return named(changed(output_config={"format": {"type": "json_schema", "schema": schema}}))

    other_order = {**SCHEMA, "properties": dict(reversed(SCHEMA["properties"].items()))}
    assert with_schema(other_order) != with_schema(SCHEMA)
    other_call = {**CALL, "input": {"y": 2, "z": 1}}
    turns = [TURNS[0], {"role": "assistant", "content": [other_call]}, TURNS[2]]
    assert named(changed(messages=turns)) != named(changed(messages=TURNS))


def test_texts_that_unicode_calls_equivalent_are_two_texts() -> None:
    texts = [changed(messages=[{"role": "user", "content": text}]) for text in ("é", "e\u0301")]
    assert named(texts[0]) != named(texts[1])


# ---- custom_ids


@given(st.binary(min_size=32, max_size=32), st.integers(0, 5000))
def test_a_custom_id_can_be_read_back_and_fits_the_api(request: bytes, ordinal: int) -> None:
    name = custom_id(request, ordinal)
    assert parse_custom_id(name) == (request, ordinal)
    assert len(name) <= 64
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "row-1",
        "bf1_short",
        "bf2_dOJyV9zIyHycf8vcA2F6BogY5hIqRDVvCBEIWM5keXQ",
        "bf1_dOJyV9zIyHycf8vcA2F6BogY5hIqRDVvCBEIWM5keXR",  # the unused bits of the last character are set
        "bf1_dOJyV9zIyHycf8vcA2F6BogY5hIqRDVvCBEIWM5keXQ-000",
        "bf1_dOJyV9zIyHycf8vcA2F6BogY5hIqRDVvCBEIWM5keXQ-1",
        "bf1_dOJyV9zIyHycf8vcA2F6BogY5hIqRDVvCBEIWM5keXQ\n",
    ],
)
def test_custom_ids_of_others_are_not_taken_for_ours(name: str) -> None:
    assert parse_custom_id(name) is None


# ---- from rows to names

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_VALUES = st.dictionaries(
    st.sampled_from(["text", "a", "b", "number"]),
    st.one_of(_TEXT, st.integers(-(2**63), 2**63), st.booleans(), st.none(), st.floats(allow_nan=False, width=32)),
    min_size=4,
)


def compiled(rows: Sequence[Mapping[str, Any]], user: str = "{{ row.text }}") -> CompiledJob:
    spec = JobSpec(
        name="job",
        path="jobs/job.yml",
        input=InputSpec(rows=tuple(rows)),
        model="claude-haiku-5-5",
        system=({"type": TemplateSource("text", "p"), "text": TemplateSource("Classify.", "p")},),
        messages=(MessageSpec("user", ({"type": TemplateSource("text", "p"), "text": TemplateSource(user, "p")},)),),
        params={"max_tokens": 400},
    )
    inputs = [InputRow(n, str(n), dict(row), f"rows[{n}]") for n, row in enumerate(rows)]
    return compile_job(spec, SourceTree(Path(__file__).parent), lambda: inputs)


def requests_of(job: CompiledJob) -> list[MessageRequest]:
    return [request for request in job.requests() if isinstance(request, MessageRequest)]


@given(_VALUES, st.randoms(use_true_random=False))
def test_equal_rows_have_equal_names_whatever_the_order_of_their_columns(values: dict[str, Any], order: Any) -> None:
    shuffled = list(values.items())
    order.shuffle(shuffled)
    user = "x{{ row.text }}{{ row.a }}{{ row.b }}{{ row.number }}"
    first, second = requests_of(compiled([values, dict(shuffled)], user))
    assert first.request_id == second.request_id


@given(_TEXT)
def test_any_text_of_a_cell_arrives_unchanged_in_the_request(text: str) -> None:
    (request,) = requests_of(job := compiled([{"text": text}]))
    params = job.params_of(request)
    assert params["messages"][0]["content"] == [{"type": "text", "text": text}]
    body = job.template.body_writer({0: b'{"type":"ephemeral"}'})(request.pieces)
    assert json.loads(body)["messages"][0]["content"][0]["text"] == text


@given(_TEXT)
def test_the_name_that_is_spliced_together_is_that_of_the_whole_request(text: str) -> None:
    (request,) = requests_of(job := compiled([{"text": text}]))
    assert custom_id(request.request_id) == named(job.params_of(request))


@pytest.mark.parametrize(
    "cell", ["{{ row.id }}", "{% raw %}", "{# no #}", "</ticket>", "\\", '"', "\x00", "\ufeff", "𝕏"]
)
def test_templates_in_a_cell_stay_text(project: ProjectFiles, cell: str) -> None:
    project.write_rows([cell])
    project.run()
    assert project.emulator is not None
    (created,) = project.emulator.received("batches.create")
    assert created.json()["requests"][0]["params"]["messages"][0]["content"][0]["text"] == cell
