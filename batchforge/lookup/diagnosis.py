"""What `debug` says: versions, project, target, key, state and server, and which setting wins where two compete.

Everything is looked at, nothing is changed, and no key is ever part of a value.
"""

from __future__ import annotations

import platform
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from batchforge.config.job_files import JobLoader
from batchforge.errors import BatchForgeError, Problem, ProblemList, Severity
from batchforge.project import Project
from batchforge.target import ENV_VAR, Target

if TYPE_CHECKING:
    from batchforge.state.records import StateReader
    from batchforge.state.sql_state import SqlState

ASK_TIMEOUT_S = 5.0
_TEXTS = frozenset({"system", "user", "messages", "vars"})
"""Settings that are told by their place alone: they are long, or may come from the environment."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be set in several places, and which place wins."""

    what: str
    used: str
    source: str
    over: tuple[str, ...] = ()
    """What would be used without it, nearest first."""


@dataclass(slots=True)
class Findings:
    """Groups of values in the order in which they are shown, and what is wrong."""

    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    problems: ProblemList = field(default_factory=ProblemList)


def versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("batchforge", "anthropic", "duckdb")}
    python = f"{platform.python_version()} ({sys.executable})"
    return {**packages, "python": python, "sqlite": sqlite3.sqlite_version, "system": platform.platform()}


# ---- target, key, server


def target_facts(project: Project, target: Target, problems: ProblemList) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": target.name, "type": target.type}
    with _noting(problems):
        facts["origin"] = str(target.origin())
        facts["outputs"] = target.outputs_dir
    if target.type == "claude":
        with _noting(problems):
            facts["base_url"] = target.base_url()
        facts["anthropic_version"] = target.anthropic_version
        facts["key"] = _key_words(target)
    return facts


def _key_words(target: Target) -> str:
    """Whether there is a key, and where it comes from; never the key."""
    written = str(target.settings.get("api_key", "{{ env_var('ANTHROPIC_API_KEY') }}"))
    names = [match["name"] for match in ENV_VAR.finditer(written)]
    where = f"from {', '.join(names)}" if names else "written in batchforge.yml"
    try:
        return f"{'present' if target.api_key() else 'empty'}, {where}"
    except BatchForgeError:
        return f"missing, {where}" if names else "not sent anywhere"


def server_facts(target: Target, problems: ProblemList) -> dict[str, Any]:
    """Ask for the list of models, which is free; an embedded emulator runs only while a run does."""
    if target.type == "emulator":
        return {"reachable": "embedded: it runs as long as a run does"}
    from batchforge.backends.base import BatchGone, Unavailable
    from batchforge.backends.probe import list_models
    from batchforge.targets import connection_of

    try:
        models = list_models(replace(connection_of(target), timeout_s=ASK_TIMEOUT_S))
    except BatchForgeError as exc:
        problems.extend(exc)
        return {"reachable": "not asked" if exc.problems[0].code != "BF601" else "yes, but it refuses the key"}
    except BatchGone:
        return {"reachable": "yes, but it does not list models"}
    except Unavailable as exc:
        hint = "Look at base_url, the network and a proxy between. Nothing was sent that costs."
        problems.add("BF690", f"The server of target `{target.name}` cannot be reached: {exc}", hint=hint)
        return {"reachable": "no"}
    return {"reachable": "yes", "models": len(models), "models_unknown_to_this_version": _unknown(models)}


def connection_facts(project: Project, target: Target, problems: ProblemList) -> dict[str, Any]:
    """Whether each declared database answers."""
    from batchforge.databases.probing import probe

    facts: dict[str, Any] = {}
    for name, connection in sorted(project.connections_of(target).items()):
        facts[name] = "not usable"
        with _noting(problems):
            facts[name] = probe(connection, project.tree)
    return facts


def _unknown(models: Iterable[str]) -> list[str]:
    from batchforge.claude_models import find_model

    return [model for model in models if find_model(model) is None]


# ---- state


def state_facts(project: Project, target: Target, problems: ProblemList) -> dict[str, Any]:
    from batchforge.state.schema import MIGRATIONS
    from batchforge.state.stores import shown_url, sqlite_path
    from batchforge.targets import has_state, read_state, state_url

    facts: dict[str, Any] = {}
    with _noting(problems):
        url = state_url(project, target)
        facts |= {"path": str(sqlite_path(url) or shown_url(url)), "exists": has_state(project, target)}
        with read_state(project, target) as state:
            if state is not None:
                facts |= _health(state, problems)
                facts |= {"schema_known_to_this_version": len(MIGRATIONS), "size_bytes": _sql(state).size_bytes()}
    return facts


def _sql(state: StateReader) -> SqlState:
    from batchforge.state.sql_state import SqlState

    assert isinstance(state, SqlState)
    return state


def _health(state: StateReader, problems: ProblemList) -> dict[str, Any]:
    found = _sql(state).damage()
    if found:
        hint = "Move it away and keep it. What was paid can be read from the API for 29 days."
        problems.add("BF503", f"the state {state.url} is damaged: {'; '.join(found)}", hint=hint)
    attempts = state.open_attempts()
    return {
        "integrity": "damaged" if found else "ok",
        "schema": _sql(state).schema_version(),
        "holds_answers_of": str(state.origin() or "nobody yet"),
        "batches_in_flight": len(attempts),
        **{name: count for name, count in state.counts().items() if name in ("runs", "requests", "results")},
    }


# ---- where two settings compete


def job_choices(project: Project, path: str) -> Iterator[Choice]:
    """Each setting of a job: where it is set, and what it hides."""
    layers = JobLoader(project, ProblemList()).setting_layers(path)
    for name in sorted({name for layer in layers for name in layer}):
        nodes = [layer[name] for layer in reversed(layers) if name in layer]
        places = [f"{node.source.path}:{node.key_line}" for node in nodes]
        values = ["" if name in _TEXTS else _short(node.data) for node in nodes]
        others = tuple(f"{value} from {place}".lstrip() for value, place in zip(values[1:], places[1:], strict=True))
        if name in ("tags", "meta", "vars") and others:
            yield Choice(name, f"{values[0]} and what stands above it".lstrip(), places[0], others)
        else:
            yield Choice(name, values[0], places[0], others)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ---- problems


class _noting:
    """What is wrong is a finding here, not the end."""

    def __init__(self, problems: ProblemList) -> None:
        self.problems = problems

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> bool:
        if isinstance(exc, BatchForgeError):
            self.problems.extend(exc)
            return True
        return False


def unique_problems(problems: ProblemList) -> list[Problem]:
    """Errors first; one that was found twice is told once."""
    found = dict.fromkeys(problems.items)
    return sorted(found, key=lambda problem: problem.severity is not Severity.ERROR)


def environment(names: Mapping[str, str]) -> dict[str, str]:
    """Variables that change what BatchForge does, where they are set. None of them is a secret."""
    return {name: value for name, value in sorted(names.items()) if name in SHOWN_VARIABLES}


SHOWN_VARIABLES = frozenset(
    {
        "BATCHFORGE_PROJECT_DIR",
        "BATCHFORGE_ALLOWED_HOSTS",
        "BATCHFORGE_ALLOWED_STORES",
        "BATCHFORGE_ENV_ALLOW",
        "BATCHFORGE_ALLOW_COMMANDS",
        "CI",
        "NO_COLOR",
        "TERM",
    }
)
