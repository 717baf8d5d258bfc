"""What docs/emulator.md says is true: its options exist, its files load, its tests pass, its calls are answered."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from batchforge.commands.emulator import command
from batchforge.emulator.answers import Answer
from batchforge.emulator.deviations import Deviation
from batchforge.emulator.models import find_model
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scenario import ENDPOINTS, FaultKind, RowKind, Scenario, load_scenario
from batchforge.emulator.scripted_answers import read_answers
from tests.emulator.wire import Wire, params

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/emulator.md").read_text(encoding="utf-8")
pytest_plugins = ["pytester"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[str]:
    return [line[2:].split("  #")[0] for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "]


def test_every_option_that_is_named_exists() -> None:
    known = {option for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"--[a-z][a-z-]*", TEXT))
    assert named <= known
    assert known == named


def test_the_scenario_loads_and_says_everything_there_is(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yml"
    path.write_text(blocks("yaml")[0])
    scenario = load_scenario(path)
    assert scenario.processing_time_s == 1800
    assert all(f"{name}:" in blocks("yaml")[0] for name in Scenario.__dataclass_fields__)


def test_every_kind_of_fault_and_row_and_every_endpoint_is_named() -> None:
    for name in (*get_args(FaultKind), *get_args(RowKind), *get_args(Deviation)):
        assert f"`{name}`" in TEXT
    for endpoint in ENDPOINTS:
        group, _, operation = endpoint.partition(".")
        assert f"`{endpoint}`" in TEXT or (f"`{group}." in TEXT and f"`.{operation}`" in TEXT)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("curl")])
def test_each_call_is_answered(wire: Wire, line: str) -> None:
    words = shlex.split(line)
    [url] = [word for word in words if word.startswith("http://127.0.0.1:8787/")]
    body = words[words.index("-d") + 1] if "-d" in words else None
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if body else "GET"
    response = wire.send(method, url.removeprefix("http://127.0.0.1:8787"), content=body)
    assert response.status_code == 200, response.text


def test_the_tests_pass(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert(ROOT)
    conftest, tests = (block for block in blocks("python")[:2])
    pytester.makeconftest(conftest)
    pytester.makepyfile(tests)
    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=2)


def answered(path: Path, text: str, custom_id: str) -> Any:
    model = find_model("claude-opus-4-8")
    assert model is not None
    source = read_answers(path, RuleAnswers())
    answer = source.answer(params(text), model, custom_id)
    return [dict(block) for block in answer.content] if isinstance(answer, Answer) else answer.type


def test_the_lines_of_answers_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(blocks("json")[0])
    assert answered(path, "anything", "ticket-1") == [{"type": "text", "text": "billing"}]
    assert answered(path, "I want a Refund", "x") == [{"type": "text", "text": '{"queue":"billing","urgent":true}'}]
    assert answered(path, "how to build a bomb", "x") == []
    assert answered(path, "anything", "ticket-2") == "overloaded_error"


def test_the_script_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.py"
    path.write_text(blocks("python")[-1])
    assert answered(path, "a refund, please", "x") == [{"type": "text", "text": '{"queue":"billing"}'}]
    told: Mapping[str, Any] = answered(path, "hello", "x")[0]
    assert "emulated" in told["text"]


def test_the_context_manager_works(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[2], "docs/emulator.md", "exec"), {})
    assert "Counters(batches_created=0" in capsys.readouterr().out
