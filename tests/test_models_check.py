"""`batchforge models --check`: the table of models against what a server lists of them now."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from batchforge.backends.base import Connection
from batchforge.backends.models import list_models
from batchforge.claude_models import ModelInfo, all_models, find_model
from batchforge.emulator import EmulatorServer
from batchforge.errors import ApiError
from batchforge.model_check import LiveModel, ModelFinding, check_models
from tests.builders import ProjectFiles, run_cli

TODAY = date(2026, 11, 24)


def model(model_id: str) -> ModelInfo:
    found = find_model(model_id)
    assert found is not None
    return found


def live(known: ModelInfo, **changes: Any) -> LiveModel:
    """The model exactly as the table has it, with some of it changed."""
    same = LiveModel(
        id=known.id,
        display_name=known.id,
        lifecycle=known.status,
        retires_on=known.retires_on,
        context_window_tokens=known.context_window_tokens,
        max_output_tokens=known.max_output_tokens,
        takes_batches=True,
        effort_levels=frozenset(known.effort.levels),
        thinking_types=frozenset(known.thinking.types),
    )
    return replace(same, **changes)


def findings(known: ModelInfo, **changes: Any) -> list[tuple[str, str]]:
    return [(finding.kind, finding.what) for finding in check_models([known], [live(known, **changes)], TODAY)]


OPUS = model("claude-opus-5-5")
SONNET_4_5 = model("claude-sonnet-4-5")


def test_a_model_that_is_as_the_table_says_gives_nothing() -> None:
    assert check_models(all_models(), [live(known) for known in all_models()], TODAY) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"context_window_tokens": 2_000_000}, "context: 2,000,000 tokens; the table says 1,000,000"),
        ({"max_output_tokens": 64_000}, "longest answer: 64,000 tokens; the table says 128,000"),
        ({"lifecycle": "deprecated"}, "is deprecated by now; the table says active"),
        (
            {"lifecycle": "deprecated", "retires_on": date(2027, 5, 1)},
            "is deprecated by now, to be retired on 2027-05-01; the table says active",
        ),
        ({"lifecycle": "retired"}, "is retired by now; the table says active"),
        ({"takes_batches": False}, "takes no batches"),
        ({"effort_levels": frozenset({"low"})}, "effort levels: low; the table says high, low, max, medium, xhigh"),
    ],
)
def test_each_change_of_a_model_is_named(changes: dict[str, Any], what: str) -> None:
    assert findings(OPUS, **changes) == [("changed", what)]


def test_another_day_of_retirement_is_named() -> None:
    (found,) = findings(SONNET_4_5, retires_on=date(2026, 12, 31))
    assert found == ("changed", "will be retired on 2026-12-31; the table says 2026-11-30")


def test_a_model_that_has_been_retired_on_its_day_is_no_surprise() -> None:
    retired = live(SONNET_4_5, lifecycle="retired")
    assert check_models([SONNET_4_5], [retired], date(2026, 11, 30)) == []
    assert check_models([SONNET_4_5], [], date(2026, 11, 30)) == []
    assert [found.kind for found in check_models([SONNET_4_5], [], TODAY)] == ["missing"]


def test_what_the_server_does_not_say_is_no_difference() -> None:
    nothing = {"context_window_tokens": None, "max_output_tokens": None, "takes_batches": None}
    assert findings(OPUS, **nothing, effort_levels=None, thinking_types=None) == []


def test_what_the_table_leaves_open_is_a_note() -> None:
    preview = model("claude-mythos-preview")
    assert findings(preview, max_output_tokens=100) == [
        ("note", "longest answer: 100 tokens; the table leaves it open")
    ]


def test_a_model_of_limited_access_may_be_missing() -> None:
    assert [found.kind for found in check_models([model("claude-mythos-5-2")], [], TODAY)] == ["note"]


def test_a_model_may_be_listed_by_its_alias() -> None:
    assert check_models([SONNET_4_5], [live(SONNET_4_5, id="claude-sonnet-4-5")], TODAY) == []


def test_a_new_model_is_named_and_a_retired_one_is_not() -> None:
    new = live(OPUS, id="claude-opus-6", display_name="Claude Opus 6")
    old = live(OPUS, id="claude-2", lifecycle="retired")
    (found,) = check_models([OPUS], [live(OPUS), new, old], TODAY)
    assert found == ModelFinding(
        "claude-opus-6",
        "new",
        "Claude Opus 6, active, context 1,000,000 tokens, longest answer 128,000 tokens; this version knows no limits "
        "and no prices of it",
    )


# ---- asked over HTTP


@contextmanager
def server(status: int, *pages: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers one page after the other; gives its address and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(pages[min(len(asked), len(pages) - 1)]).encode()
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}", asked
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def page(*ids: str, has_more: bool = False) -> dict[str, Any]:
    data = [{"id": model_id, "type": "model"} for model_id in ids]
    return {"data": data, "has_more": has_more, "first_id": ids[0], "last_id": ids[-1]}


def test_the_emulator_and_the_table_agree(emulator: EmulatorServer) -> None:
    listed = list_models(Connection(emulator.base_url, "any-key"))
    assert {model.id for model in all_models()} <= {found.id for found in listed}
    assert all(found.kind == "note" for found in check_models(all_models(), listed, TODAY))


def test_a_sparse_list_of_several_pages_is_read() -> None:
    with server(200, page("one", has_more=True), page("two")) as (base_url, asked):
        listed = list_models(Connection(base_url, "any-key"))
    assert [(found.id, found.lifecycle, found.effort_levels) for found in listed] == [
        ("one", "active", None),
        ("two", "active", None),
    ]
    assert "after_id=one" in asked[1]


def test_a_server_without_a_list_is_said_to_have_none() -> None:
    fault = {"type": "error", "error": {"type": "not_found_error", "message": "Not found"}}
    with server(404, fault) as (base_url, _), pytest.raises(ApiError, match="BF620 the list of models cannot be had"):
        list_models(Connection(base_url, "any-key"))


def test_a_refused_key_is_said_to_be_refused() -> None:
    fault = {"type": "error", "error": {"type": "authentication_error", "message": "API key is invalid."}}
    with server(401, fault) as (base_url, _), pytest.raises(ApiError, match="BF601"):
        list_models(Connection(base_url, "any-key"))


# ---- as a command


def test_the_command_compares_with_the_targets_server(project: ProjectFiles) -> None:
    done = project.cli("models", "--check")
    assert done.exit_code == 0, done.stderr
    assert "the table of this version agrees with it" in done.stdout


def test_the_command_works_on_an_embedded_emulator(project: ProjectFiles) -> None:
    value = project.cli("models", "--check", "--target", "local", "--output", "json").json()
    assert (value["target"], value["is_equal"]) == ("local", True)


def test_a_difference_exits_with_1_and_is_in_json(project: ProjectFiles) -> None:
    with server(200, page("claude-opus-9")) as (base_url, _):
        project.write_project(base_url=base_url)
        done = project.cli("models", "--check", "--output", "json")
    assert done.exit_code == 1
    value = done.json()
    assert value["is_equal"] is False
    kinds = {finding["model"]: finding["kind"] for finding in value["findings"]}
    assert (kinds["claude-opus-9"], kinds["claude-opus-5-5"], kinds["claude-mythos-5-2"]) == ("new", "missing", "note")


def test_outside_of_a_project_a_key_is_needed_only_for_the_check(tmp_path: Any) -> None:
    assert run_cli(tmp_path, "models").exit_code == 0
    done = run_cli(tmp_path, "models", "--check")
    assert done.exit_code == 2
    assert "ANTHROPIC_API_KEY" in done.stderr


def test_the_list_shows_the_projects_own_prices(project: ProjectFiles) -> None:
    own = {"claude-opus-5-5": {"input": 3, "output": 9}, "house-model": {"input": 0.25, "output": 0.5}}
    project.write_project(prices=own)
    lines = [line.split("\t") for line in project.cli("models").stdout.splitlines()]
    by_name = {line[0]: line for line in lines}
    assert by_name["claude-opus-5-5"][5:7] == ["3.00", "9.00"]
    assert by_name["house-model"][1:7] == ["in this project", "-", "-", "-", "0.25", "0.50"]
    assert "The project's own: claude-opus-5-5, house-model." in lines[-1][0]
