"""`batchforge emulator`: the stand-in for Claude's API on a port of this machine, until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.errors import Location, UsageError

if TYPE_CHECKING:
    from batchforge.emulator.answers import AnswerSource
    from batchforge.emulator.scenario import Scenario
    from batchforge.emulator.server import EmulatorServer

DEFAULT_PORT = 8787


@click.command(name="emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="The port to listen on; 0 takes a free one.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Remember everything in this SQLite file. Without it, everything is forgotten at the end.",
)
@click.option(
    "--scenario",
    "scenario_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML file with times, limits, faults and rows that go wrong.",
)
@click.option("--speed", type=click.FloatRange(min=0), help="How fast the clock runs; 3600 makes an hour a second.")
@click.option(
    "--processing-time", type=click.FloatRange(min=0), metavar="SECONDS", help="From a batch's creation to its end."
)
@click.option(
    "--retry-after", type=click.IntRange(min=0), metavar="SECONDS", help="The header on polls of an unfinished batch."
)
@click.option("--seed", type=int, help="Decides the order of results and everything that is drawn.")
@click.option(
    "--answers",
    "answers_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Answers from a script (.py) or from lines of JSON (.jsonl).",
)
@click.option("--upstream", metavar="URL", help="Pass each request on to this server that speaks the Messages API.")
@click.option("--upstream-model", metavar="MODEL", default="", help="The model to ask the upstream server for.")
@click.option("--upstream-key-env", metavar="NAME", help="The environment variable with the upstream server's key.")
@click.option("--api-key", "api_keys", multiple=True, help="Accept only this key; can be given more than once.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    host: str,
    port: int,
    database: Path | None,
    scenario_file: Path | None,
    speed: float | None,
    processing_time: float | None,
    retry_after: int | None,
    seed: int | None,
    answers_file: Path | None,
    upstream: str | None,
    upstream_model: str,
    upstream_key_env: str | None,
    api_keys: tuple[str, ...],
    output: str,
) -> None:
    """Run a stand-in for Claude's Messages and Message Batches API: no key, no money, failures on command.

    Point any client at it with ANTHROPIC_BASE_URL.
    """
    from batchforge.emulator.server import EmulatorServer

    scenario = _scenario(
        scenario_file, {"processing_time_s": processing_time, "retry_after_s": retry_after, "seed": seed}
    )
    answers = _answers(answers_file, upstream, upstream_model, upstream_key_env)
    try:
        server = EmulatorServer(database, host, port, frozenset(api_keys) or None, scenario, answers)
    except (OSError, sqlite3.Error) as error:
        hint = "Choose another file with --database; it is made if there is none."
        raise UsageError("BF975", f"the database {database} cannot be used: {error}", hint=hint) from error
    _start(server, host, port)
    if speed is not None:
        server.clock.speed = speed
    click.echo(_start_line(server, database, output))
    _wait_for_the_end()
    server.stop()


def _scenario(path: Path | None, options: dict[str, Any]) -> Scenario:
    from batchforge.emulator.scenario import Scenario, ScenarioError, load_scenario

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return replace(Scenario() if path is None else load_scenario(path), **given)
    except ScenarioError as error:
        raise UsageError(
            "BF972",
            str(error),
            location=None if path is None else Location(str(path)),
            hint="docs/emulator.md lists what a scenario may say.",
        ) from error


def _answers(path: Path | None, upstream: str | None, model: str, key_env: str | None) -> AnswerSource:
    from batchforge.emulator.rule_answers import RuleAnswers
    from batchforge.emulator.scripted_answers import AnswersFileError, read_answers
    from batchforge.emulator.upstream_answers import UpstreamAnswers

    try:
        key = os.environ.get(key_env, "") if key_env else ""
        source: AnswerSource = UpstreamAnswers(upstream, api_key=key, model=model) if upstream else RuleAnswers()
        return source if path is None else read_answers(path, source)
    except (AnswersFileError, OSError) as error:
        raise UsageError(
            "BF973", str(error), hint="docs/emulator.md shows what a file of answers looks like."
        ) from error
    except ValueError as error:
        raise UsageError("BF974", f"--upstream: {error}", hint="Such as http://127.0.0.1:11434.") from error


def _start(server: EmulatorServer, host: str, port: int) -> None:
    try:
        server.start()
    except OSError as error:
        server.stop()
        raise UsageError(
            "BF971",
            f"the emulator cannot listen on {host}:{port}: {error.strerror or error}",
            hint="Choose another port with --port, or 0 for a free one.",
        ) from error


def _start_line(server: EmulatorServer, database: Path | None, output: str) -> str:
    if output == "json":
        return json.dumps({"base_url": server.base_url, "database": None if database is None else str(database)})
    memory = "remembers nothing after its end" if database is None else f"remembers everything in {database}"
    return f"The emulator listens on {server.base_url} and {memory}. Stop it with Ctrl-C."


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
