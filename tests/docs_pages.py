"""The pages of docs/ that are made from the program: settings from schemas/, commands from click, errors, events.

`python -m tests.docs_pages` writes them anew; tests/test_docs.py fails where one is stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from batchforge.cli import batchforge
from batchforge.config.config_files import load_schema
from batchforge.error_codes import ERROR_CODES
from batchforge.terminal.log_format import COMMON_FIELDS, EVENTS

TREE = Path(__file__).parents[1]
_FILES = {
    "project.schema.json": "batchforge.yml",
    "job.schema.json": "A job file: jobs/**/*.yml",
    "folder.schema.json": "Defaults: jobs/**/_defaults.yml, and `defaults` in batchforge.yml",
    "selectors.schema.json": "Selectors: selectors.yml and selectors/**/*.yml",
}
_ROOMS = {
    "1": "Project files",
    "2": "Inputs and tables",
    "3": "Prompts",
    "4": "Requests and models",
    "5": "State and locks",
    "6": "Claude's API",
    "7": "Outputs",
    "8": "Money",
    "9": "The command line",
}


def pages() -> dict[str, str]:
    """Path in docs/ -> text."""
    made = {"yaml.md": _yaml(), "commands.md": _commands(), "errors.md": _errors(), "log.md": _log()}
    return {name: "\n".join(lines).rstrip() + "\n" for name, lines in made.items()}


# ---- settings


def _yaml() -> Iterator[str]:
    yield "# Settings"
    yield "\nEvery setting of the project's files, made from the JSON Schemas by which they are checked."
    for name, title in _FILES.items():
        schema = load_schema(name)
        yield f"\n## {title}\n"
        yield schema["description"]
        if name == "folder.schema.json":
            names = ", ".join(f"`{setting}`" for setting in schema["properties"])
            yield f"\nSettings that can stand here, each as in a job file: {names}."
        else:
            yield from _settings(schema, name, "", ())


def _settings(schema: Mapping[str, Any], file: str, prefix: str, seen: tuple[int, ...]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, written in schema.get("properties", {}).items():
        setting, where = _resolved(written, file)
        path = f"{prefix}{name}"
        yield f"\n### `{path}`\n"
        yield setting.get("description") or written.get("description", "")
        facts = list(_facts(setting, name in required))
        if facts:
            yield "\n" + " · ".join(facts)
        yield from _nested(setting, where, path, seen)


def _nested(setting: Mapping[str, Any], file: str, path: str, seen: tuple[int, ...]) -> Iterator[str]:
    """What stands below a setting: of a mapping, of each entry of a list or mapping, of each form it can take."""
    if id(setting) in seen:
        yield "\nIts entries are such settings again."
        return
    seen = (*seen, id(setting))
    if setting.get("properties"):
        yield from _settings(setting, file, f"{path}.", seen)
    for form in (*setting.get("anyOf", ()), *setting.get("oneOf", ())):
        resolved, where = _resolved(form, file)
        if resolved.get("title") and resolved.get("properties"):
            yield f"\n_{resolved['title']}:_ {resolved.get('description', f'`{path}` as a mapping.')}"
        yield from _nested(resolved, where, path, seen)
    for name, mark in (("items", "[]"), ("additionalProperties", ".<name>")):
        if isinstance(setting.get(name), dict):
            resolved, where = _resolved(setting[name], file)
            yield from _nested(resolved, where, path + mark, seen)


def _resolved(schema: Mapping[str, Any], file: str) -> tuple[Mapping[str, Any], str]:
    """The schema with its $ref followed; its own description wins."""
    if "$ref" not in schema:
        return schema, file
    name, _, pointer = schema["$ref"].partition("#")
    file = name or file
    found: Any = load_schema(file)
    for part in pointer.strip("/").split("/"):
        found = found[part] if part else found
    target, where = _resolved(found, file)
    return (target if "description" not in schema else {**target, "description": schema["description"]}), where


def _facts(setting: Mapping[str, Any], is_required: bool) -> Iterator[str]:
    if is_required:
        yield "required"
    if kinds := _kinds(setting):
        yield kinds
    if "default" in setting:
        yield f"default: `{json.dumps(setting['default'], ensure_ascii=False)}`"
    for name, words in (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most")):
        if name in setting:
            yield f"{words} {setting[name]:,}"
    if examples := setting.get("examples"):
        yield "e.g. " + ", ".join(f"`{_flow(example)}`" for example in examples)


def _kinds(setting: Mapping[str, Any]) -> str:
    if "const" in setting:
        return f"`{setting['const']}`"
    if "enum" in setting:
        return "one of " + ", ".join(f"`{word}`" for word in setting["enum"])
    kind = setting.get("type")
    words = {"string": "text", "array": "list", "object": "mapping"}
    return " or ".join(words.get(one, one) for one in ([kind] if isinstance(kind, str) else kind or ()))


def _flow(value: Any) -> str:
    """As YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return f'"{value}"' if isinstance(value, str) and "{" in value else str(value)


# ---- commands


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "Made from the commands themselves; `batchforge COMMAND --help` says the same."
    yield "\nExit codes: 0 ok · 1 rows or tests failed · 2 usage or project error · 3 still pending · 4 state locked ·"
    yield "5 budget or policy refused · 70 a bug of BatchForge · 130 interrupted."
    context = click.Context(batchforge, info_name="batchforge")
    yield "\nOptions before the command's name:\n"
    yield from _options(batchforge, context)
    for name in batchforge.list_commands(context):
        command = batchforge.get_command(context, name)
        assert command is not None
        yield from _command(command, click.Context(command, info_name=f"batchforge {name}"))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.info_name}\n"
    yield f"    {' '.join([str(context.info_name), *command.collect_usage_pieces(context)])}\n"
    yield re.sub(r"\n\n+", "\n\n", "\n".join(line.strip() for line in (command.help or "").splitlines())).strip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, click.Context(child, info_name=f"{context.info_name} {name}"))
        return
    yield ""
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            yield f"- `{record[0]}`: {' '.join(record[1].split())}"


# ---- errors and events


def _errors() -> Iterator[str]:
    yield "# Errors and warnings\n"
    yield "Every code that BatchForge can show. `batchforge explain BF101` says the same in the terminal."
    room = ""
    for code, entry in ERROR_CODES.items():
        if code[2] != room:
            room = code[2]
            yield f"\n## {_ROOMS[room]}"
        yield f"\n### {code}\n"
        yield f"**{entry.title}.** {entry.cause}\n"
        yield f"What to do: {entry.cure}"
        if entry.example:
            yield f"\n    {entry.example}"


def _log() -> Iterator[str]:
    yield "# The log of a run\n"
    yield "With `--log-format json`, `run`, `collect`, `resume`, `retry` and `cancel` write one event a line to"
    yield "stderr, each a JSON object. Names and fields are stable: new ones may come, none is renamed. No event holds"
    yield "the text of a prompt or an answer.\n"
    yield "Fields of every event:\n"
    yield from (f"- `{name}`: {meaning}" for name, meaning in COMMON_FIELDS.items())
    for name, event in EVENTS.items():
        yield f"\n## {name}\n\n{event.meaning}"
        if event.fields:
            yield ""
            yield from (f"- `{field}`: {meaning}" for field, meaning in event.fields.items())


def main() -> None:
    for name, text in pages().items():
        (TREE / "docs" / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
