"""Answers of the user's own: lines of JSON (custom_id or regex -> answer), or a Python file with `answer()`.

What the script has no answer for is answered by another source.
"""

from __future__ import annotations

import re
import runpy
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from batchforge.emulator.answers import (
    Answer,
    AnswerSource,
    Block,
    Params,
    finish,
    json_text,
    last_user_text,
)
from batchforge.emulator.api_fault import STATUS_OF_TYPE, ApiFault, fault_of_type, internal
from batchforge.emulator.models import EmulatedModel

_ANSWER_KEYS = frozenset({"content", "stop_reason", "stop_details", "thinking_tokens"})
_LINE_KEYS = frozenset({"custom_id", "regex", "answer"})


class AnswersFileError(ValueError):
    """The file of answers cannot be used; the message names the place."""


@dataclass(frozen=True, slots=True)
class _RegexAnswer:
    regex: re.Pattern[str]
    answer: Any


def read_answers(path: Path, otherwise: AnswerSource) -> AnswerSource:
    """The answers of a file: a script if it ends in .py, else lines of JSON."""
    if path.suffix == ".py":
        return ScriptAnswers(load_script(path), otherwise)
    return ScriptedAnswers(path.read_bytes().splitlines(), otherwise, name=str(path))


class ScriptedAnswers:
    """Lines such as `{"custom_id": "a", "answer": …}` and `{"regex": "refund", "answer": …}`.

    A custom_id decides first; then the first regex that is found in the last user text.
    """

    def __init__(self, lines: Sequence[bytes | str], otherwise: AnswerSource, *, name: str = "answers") -> None:
        self._otherwise = otherwise
        self._by_custom_id: dict[str, Any] = {}
        self._by_regex: list[_RegexAnswer] = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._add(_read_line(line, f"{name}:{number}"), f"{name}:{number}")

    def _add(self, line: Mapping[str, Any], place: str) -> None:
        check_scripted(line["answer"], place)
        if "custom_id" in line:
            self._by_custom_id[str(line["custom_id"])] = line["answer"]
            return
        try:
            self._by_regex.append(_RegexAnswer(re.compile(line["regex"]), line["answer"]))
        except (re.error, TypeError) as error:
            raise AnswersFileError(f"{place}: not a regular expression: {error}") from None

    def answer(self, params: Params, model: EmulatedModel, custom_id: str | None) -> Answer | ApiFault:
        if custom_id is not None and custom_id in self._by_custom_id:
            return scripted_answer(self._by_custom_id[custom_id], params, model)
        text = last_user_text(params) if self._by_regex else ""
        for entry in self._by_regex:
            if entry.regex.search(text):
                return scripted_answer(entry.answer, params, model)
        return self._otherwise.answer(params, model, custom_id)


def _read_line(line: bytes | str, place: str) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise AnswersFileError(f"{place}: not JSON: {error}") from None
    if not isinstance(value, dict) or "answer" not in value or len({"custom_id", "regex"} & value.keys()) != 1:
        raise AnswersFileError(f"{place}: a line has `answer`, and either `custom_id` or `regex`")
    if unknown := sorted(value.keys() - _LINE_KEYS):
        raise AnswersFileError(f"{place}: unknown key '{unknown[0]}'")
    return value


Script = Callable[[Params, str | None], Any]


class ScriptAnswers:
    """A function `answer(params, custom_id)` that returns text, a dict, blocks, an Answer, an ApiFault, or None."""

    def __init__(self, script: Script, otherwise: AnswerSource) -> None:
        self._script = script
        self._otherwise = otherwise

    def answer(self, params: Params, model: EmulatedModel, custom_id: str | None) -> Answer | ApiFault:
        try:
            value = self._script(params, custom_id)
        except Exception as error:
            # One row that the script fails on is an errored row; the others go on.
            line = traceback.extract_tb(error.__traceback__)[-1].lineno
            return internal(f"answer() raised {type(error).__name__} in line {line}: {error}")
        if value is None:
            return self._otherwise.answer(params, model, custom_id)
        try:
            check_scripted(value, "answer()")
        except AnswersFileError as error:
            return internal(str(error))
        return scripted_answer(value, params, model)


def load_script(path: Path) -> Script:
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise AnswersFileError(f"{path}: {type(error).__name__}: {error}") from error
    script = names.get("answer")
    if not callable(script):
        raise AnswersFileError(f"{path}: there is no function `answer(params, custom_id)`")
    return script  # type: ignore[no-any-return]


def check_scripted(value: Any, place: str) -> None:
    """Refuse what would otherwise fail in the middle of a batch."""
    if isinstance(value, str | Answer | ApiFault):
        return
    if isinstance(value, list):
        _check_blocks(value, place)
    elif not isinstance(value, dict):
        raise AnswersFileError(f"{place}: an answer is text, an object, or a list of content blocks")
    elif _is_fault(value):
        kind = value["error"].get("type")
        if kind not in STATUS_OF_TYPE:
            raise AnswersFileError(f"{place}: '{kind}' is not a type of error: {', '.join(STATUS_OF_TYPE)}")
    elif _is_answer(value):
        _check_blocks(value["content"], place)


def _check_blocks(blocks: Sequence[Any], place: str) -> None:
    for block in blocks:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise AnswersFileError(f"{place}: a content block is an object with a `type`")
        if block["type"] == "text" and not isinstance(block.get("text"), str):
            raise AnswersFileError(f"{place}: a text block has a `text`")
        if block["type"] == "tool_use" and not {"name", "input"} <= block.keys():
            raise AnswersFileError(f"{place}: a tool_use block has `name` and `input`")


def scripted_answer(value: Any, params: Params, model: EmulatedModel) -> Answer | ApiFault:
    """Text is a text block; an object is JSON text, unless it looks like an error or the content of a message."""
    if isinstance(value, Answer | ApiFault):
        return value
    if isinstance(value, str):
        return finish(_text(value), params, model)
    if isinstance(value, list):
        return finish(_completed(value), params, model)
    if _is_fault(value):
        return fault_of_type(value["error"]["type"], str(value["error"].get("message", "")))
    if _is_answer(value):
        return finish(
            _completed(value["content"]),
            params,
            model,
            thinking_tokens=int(value.get("thinking_tokens", 0)),
            stop_reason=value.get("stop_reason"),
            stop_details=value.get("stop_details"),
        )
    return finish(_text(json_text(value)), params, model)


def _text(text: str) -> Sequence[Block]:
    return ({"type": "text", "text": text},) if text else ()


def _completed(blocks: Sequence[Block]) -> Sequence[Block]:
    """What a user need not write, since it says nothing."""
    return [
        {"id": f"toolu_01scripted{at:014}", "caller": {"type": "direct"}, **block}
        if block["type"] == "tool_use"
        else block
        for at, block in enumerate(blocks)
    ]


def _is_fault(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("error"), dict) and value.keys() <= {"type", "error"}


def _is_answer(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("content"), list) and value.keys() <= _ANSWER_KEYS
