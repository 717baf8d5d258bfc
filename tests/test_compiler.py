"""A job and its rows into requests: what is sent, what all rows share, and which rows cannot be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import ProjectError
from batchforge.inputs import read_input
from batchforge.requests.compiler import CompiledJob, compile_job
from batchforge.requests.request import BlockedRow, MessageRequest
from tests.builders import ProjectFiles


def compiled(files: ProjectFiles) -> CompiledJob:
    project, (spec,), _ = files.load()
    return compile_job(spec, project.tree, lambda: read_input(spec.input, project.tree, spec.vars))


def bodies(job: CompiledJob) -> list[dict[str, Any]]:
    return [job.params_of(request) for request in job.requests() if isinstance(request, MessageRequest)]


@pytest.fixture
def files(tmp_path: Path) -> ProjectFiles:
    return ProjectFiles(tmp_path / "p")


def test_a_request_is_what_the_job_says(files: ProjectFiles) -> None:
    files.write_job(
        effort="low",
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        model="claude-haiku-5-5",
        output={"fields": {"about": "text"}},
    )
    first = bodies(compiled(files))[0]
    assert first == {
        "model": "claude-haiku-5-5",
        "max_tokens": 200,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "thinking": {"type": "disabled"},
        "system": [{"type": "text", "text": "Say in one sentence what the text is about."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "A red bicycle."}]}],
        "output_config": {
            "effort": "low",
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {"about": {"type": "string"}},
                    "required": ["about"],
                    "additionalProperties": False,
                },
            },
        },
    }


def test_compiling_twice_gives_the_same_bytes(files: ProjectFiles) -> None:
    one, other = compiled(files), compiled(files)
    assert list(one.requests()) == list(other.requests())
    assert one.template.skeleton == other.template.skeleton
    assert one.parts == other.parts


def test_rows_keep_their_order_keys_and_places(files: ProjectFiles) -> None:
    rows = [(row.position, row.key, row.place) for row in compiled(files).requests()]
    assert rows == [(n, str(n), f"data/rows.jsonl:{n + 1}") for n in range(3)]


def test_what_all_rows_share_is_told_from_what_a_row_puts_in(files: ProjectFiles) -> None:
    files.write_job(system="Shared.", user="Before {{ row.text }} after")
    slots = compiled(files).slots
    assert [(slot.part, slot.is_shared) for slot in slots] == [("system", True), ("messages", False)]


def test_breakpoints_are_spliced_in_without_changing_the_name(files: ProjectFiles) -> None:
    job = compiled(files)
    (request, *_) = [each for each in job.requests() if isinstance(each, MessageRequest)]
    body = json.loads(job.template.body_writer({0: b'{"type":"ephemeral","ttl":"1h"}'})(request.pieces))
    assert body["system"][0].pop("cache_control") == {"type": "ephemeral", "ttl": "1h"}
    assert body == job.params_of(request)


def test_a_body_is_as_long_as_was_told(files: ProjectFiles) -> None:
    job = compiled(files)
    for request in job.requests():
        assert isinstance(request, MessageRequest)
        assert len(job.template.body_writer({})(request.pieces)) == job.template.body_bytes(request.pieces)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "BF410"), ("x" * 2_000_000, "BF412")],
    ids=["empty", "too large"],
)
def test_a_row_that_cannot_be_asked_is_a_value_and_the_others_go_on(files: ProjectFiles, text: str, code: str) -> None:
    files.write_rows(["First.", text, "Third."])
    files.write_job(batch={"max_bytes": 1_000_000})
    first, blocked, third = compiled(files).requests()
    assert isinstance(first, MessageRequest)
    assert isinstance(blocked, BlockedRow)
    assert isinstance(third, MessageRequest)
    assert (blocked.code, blocked.place) == (code, "data/rows.jsonl:2")


def test_all_that_is_wrong_with_the_shared_parts_is_said_at_once(files: ProjectFiles) -> None:
    files.write_job(system="{{ vars.nope }}", user="{% if %}")
    with pytest.raises(ProjectError) as refused:
        compiled(files)
    assert sorted(problem.code for problem in refused.value.problems) == ["BF300", "BF301"]


def test_an_edit_changes_the_hash_of_its_part_alone(files: ProjectFiles) -> None:
    before = compiled(files).parts
    files.write_prompt("Say it otherwise.\n")
    after = compiled(files).parts
    changed = [
        name
        for name in ("model", "system", "tools", "messages", "params", "schema")
        if getattr(before, name) != getattr(after, name)
    ]
    assert changed == ["system"]


def test_an_edit_of_an_include_counts_as_one_of_its_part(files: ProjectFiles) -> None:
    files.write_prompt('{% include "rules.md" %}')
    files.write("prompts/rules.md", "Rule one.")
    before = compiled(files).parts
    files.write("prompts/rules.md", "Rule two.")
    assert compiled(files).parts.system != before.system


def test_a_job_without_rows_has_a_request_to_be_checked(files: ProjectFiles) -> None:
    files.write_rows([])
    job = compiled(files)
    assert list(job.requests()) == []
    assert job.sample_params()["messages"][0]["content"][0]["text"] == "row"


def test_reading_stops_at_the_first_row_that_a_template_cannot_use(files: ProjectFiles) -> None:
    files.write_rows([{"id": "a", "text": "One."}, {"id": "b", "txt": "Two."}])
    requests = compiled(files).requests()
    next(requests)
    with pytest.raises(ProjectError, match=r"BF301 jobs/about.yml:\d+: .*'text', which is not there .*rows.jsonl:2"):
        next(requests)
