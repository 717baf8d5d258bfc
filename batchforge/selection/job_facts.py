"""Jobs and the project's files -> what each job is made of, part by part, and which files that takes. Reads no row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import msgspec

from batchforge.errors import BatchForgeError, Location
from batchforge.inputs import input_paths
from batchforge.project import PROJECT_FILE, Project
from batchforge.requests.templating import make_environment
from batchforge.selection.nodes import exposure_id, exposure_parents, source_id
from batchforge.selection.template_facts import TemplateFacts, Used, template_facts
from batchforge.source_tree import SourceTree
from batchforge.spec import ExposureSpec, InputSpec, JobSpec, TemplateSource

_HASH_HEX = 16
_CHUNK_BYTES = 1 << 20
MOST_HASHED_BYTES = 64 << 20
"""A larger file is compared by its size: no run waits for gigabytes to be hashed."""
_ENCODE = msgspec.json.Encoder(order="sorted").encode
_ABOUT = frozenset({"description", "tags", "group", "enabled"})
"""Settings that change neither a job's requests nor how they are sent: to edit one is no modification."""
_IN_A_PART = frozenset(
    (
        *("user", "messages", "system", "model", "vars", "cache", "input", "output", "tests", "meta"),
        *("max_tokens", "thinking", "effort", "stop_sequences", "tools", "tool_choice", "metadata", "params"),
        *("service_tier", "inference_geo", "betas", "temperature", "top_p", "top_k", "answers", "escalate_on"),
    )
)
"""Settings that are in another part than `run`."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    size_bytes: int
    sha256: str | None
    """None for a large file."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    path: str
    parts: Mapping[str, str]
    """Part -> its hash; of the input, without the content of its files."""
    files: tuple[str, ...]
    """Project-relative paths of all files that it depends on, its own and its rows' among them."""
    data: tuple[str, ...]
    """Of these, the files of its rows."""


@dataclass(frozen=True)
class ProjectFacts:
    """What two states of a project are compared by."""

    jobs: Mapping[str, JobFacts]
    declared: Mapping[str, str]
    """Id of a source or an exposure -> hash of what it says."""
    files: Mapping[str, FileFacts]
    """Path -> size and hash, of files that are there; looked up only where two states are compared."""


class TreeFiles(Mapping[str, FileFacts]):
    """Files of a tree, each read when it is asked for."""

    def __init__(self, tree: SourceTree, paths: Collection[str]) -> None:
        self._tree, self._paths = tree, paths
        self._known: dict[str, FileFacts] = {}

    def __getitem__(self, path: str) -> FileFacts:
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> FileFacts:
        digest = hashlib.sha256()
        try:
            with self._tree.open_binary(path) as file:
                size = file.seek(0, os.SEEK_END)
                if size > MOST_HASHED_BYTES:
                    return FileFacts(size, None)
                file.seek(0)
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except BatchForgeError:
            raise KeyError(path) from None
        return FileFacts(size, digest.hexdigest())

    def __iter__(self) -> Iterator[str]:
        return (path for path in self._paths if path in self)

    def __len__(self) -> int:
        return len(self._paths)


def project_facts(project: Project, jobs: Mapping[str, JobSpec]) -> ProjectFacts:
    """Of all jobs that are not disabled."""
    reader = _Reader(project)
    facts = {name: reader.facts(job) for name, job in jobs.items() if job.enabled}
    declared = {
        **{source_id(name): _hash(_plain(source.input)) for name, source in project.sources.items()},
        **{exposure_id(name): _hash(_exposure(exposure)) for name, exposure in project.exposures.items()},
    }
    paths = dict.fromkeys(path for job in facts.values() for path in job.files)
    return ProjectFacts(facts, declared, TreeFiles(project.tree, tuple(paths)))


def _exposure(exposure: ExposureSpec) -> list[Any]:
    about = [exposure.type, exposure.label, exposure.description, dict(exposure.owner), exposure.url]
    return [*about, sorted(exposure_parents(exposure))]


@dataclass(slots=True)
class _JobTemplates:
    """The templates of one job."""

    prompts: Sequence[TemplateFacts]
    systems: Sequence[TemplateFacts]
    where: Sequence[TemplateFacts]
    paths: Sequence[str]

    @property
    def all(self) -> Iterator[TemplateFacts]:
        yield from (*self.prompts, *self.systems, *self.where)

    @property
    def included(self) -> dict[str, str]:
        return {path: text for each in self.all for path, text in each.included.items()}


@dataclass
class _Reader:
    project: Project
    _known: dict[str, TemplateFacts] = field(default_factory=dict)

    @cached_property
    def _environment(self) -> Any:
        return make_environment(self.project.tree)

    def facts(self, job: JobSpec) -> JobFacts:
        prompts = list(_texts([message.content for message in job.messages]))
        systems = list(_texts(job.system))
        templates = _JobTemplates(
            [self._template(each.text) for each in prompts],
            [self._template(each.text) for each in systems],
            [self._template("{{ (" + each.where + ") }}") for each in _tables(job.input) if each.where is not None],
            [each.path for each in (*prompts, *systems)],
        )
        data = self._data(job.input)
        files = dict.fromkeys((job.path, *self._files(job, templates), *data))
        queries = [self._text(path) for path in _queries(job.input)]
        return JobFacts(job.path, _parts(job, templates, queries), tuple(files), data)

    def _text(self, path: str) -> str:
        try:
            return self.project.tree.read_text(path)
        except BatchForgeError:
            return ""

    def _template(self, text: str) -> TemplateFacts:
        if text not in self._known:
            self._known[text] = template_facts(self._environment, text)
        return self._known[text]

    def _data(self, spec: InputSpec) -> tuple[str, ...]:
        """Files of the rows. Of what lives elsewhere there are none: a snapshot is no edit."""
        found: list[str] = []
        for each in _tables(spec):
            if not each.needs_snapshot:
                with suppress(BatchForgeError):
                    found += input_paths(replace(each, joins=()), self.project.tree)
        return tuple(dict.fromkeys(found))

    def _files(self, job: JobSpec, templates: _JobTemplates) -> Iterator[str]:
        """All files that the job comes from but its own and those of its rows."""
        yield from (location.path for location in job.locations.values())
        yield from templates.paths
        yield from templates.included
        yield from _queries(job.input)
        yield from (test.location.path for test in job.tests if test.location is not None)
        config, used = job.config, {use for each in templates.all for use in (*each.used, *each.used_inside)}
        has_alias = not self.project.models.keys().isdisjoint(_models_written(config.get("model")))
        if has_alias or job.input.sources or _uses(used, "vars", self.project.vars):
            yield PROJECT_FILE
        for name, file in self.project.list_files.items():
            if _uses(used, "lists", (name,)) or name in _words(config.get("output")):
                yield str(file.value)
        schema = (config.get("output") or {}).get("schema")
        if isinstance(schema, Mapping) and schema.keys() == {"file"}:
            yield str(schema["file"])


def _models_written(value: Any) -> set[str]:
    """One model, or a list of models, some of them with settings of their own."""
    each = value if isinstance(value, list) else [value]
    return {str(model["model"] if isinstance(model, Mapping) else model) for model in each}


def _uses(used: Collection[tuple[str, str]], scope: str, names: Collection[str]) -> bool:
    return any(use[0] == scope and (use[1] in names or not use[1]) for use in used)


def _words(value: Any) -> Iterator[str]:
    """All texts in a value: whatever in it could name a list."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _words(each)
    elif isinstance(value, list):
        for each in value:
            yield from _words(each)


def _tables(spec: InputSpec) -> Iterator[InputSpec]:
    yield spec
    for join in spec.joins:
        yield from _tables(join.input)


def _queries(spec: InputSpec) -> Iterator[str]:
    """Files of SQL."""
    for each in _tables(spec):
        if each.sql is not None and _is_sql_file(each.sql):
            yield each.sql


def _is_sql_file(sql: str) -> bool:
    return sql.endswith(".sql") and not any(character.isspace() for character in sql)


def _texts(tree: Any) -> Iterator[TemplateSource]:
    if isinstance(tree, TemplateSource):
        yield tree
    elif isinstance(tree, Mapping):
        for each in tree.values():
            yield from _texts(each)
    elif isinstance(tree, list | tuple):
        for each in tree:
            yield from _texts(each)


# ---- hashes


def _parts(job: JobSpec, templates: _JobTemplates, queries: Sequence[str]) -> dict[str, str]:
    inside = frozenset(use for each in templates.all for use in each.used_inside)
    values = {
        "prompt": [[[each.role, _plain(each.content)] for each in job.messages], _values(job, templates.prompts)],
        "system": [_plain(job.system), _values(job, templates.systems)],
        "macro": [templates.included, _values_of(job, inside)],
        "model": _plain(job.ladder) if job.ladder else job.model,
        "params": [dict(job.params), list(job.betas), job.answers],
        "caching": _plain(job.cache),
        "input": [_plain(job.input), queries, _values(job, templates.where)],
        "schema": _plain(job.output),
        "tests": _plain(job.tests),
        "meta": dict(job.meta),
        "run": _run_settings(job),
        "folder": job.path.split("/")[1:-1],
    }
    return {part: _hash(value) for part, value in values.items()}


def _run_settings(job: JobSpec) -> list[Any]:
    written = {name: value for name, value in job.config.items() if name not in _IN_A_PART | _ABOUT}
    return [written, _plain(job.folder_budgets)]


def _values(job: JobSpec, templates: Sequence[TemplateFacts]) -> dict[str, Any]:
    return _values_of(job, frozenset(use for each in templates for use in each.used))


def _values_of(job: JobSpec, used: Used) -> dict[str, Any]:
    """The values of `vars` and `lists` that are used."""
    scopes: Mapping[str, Mapping[str, Any]] = {"vars": job.vars, "lists": job.lists}
    return {f"{scope}.{name}": _plain(scopes[scope].get(name) if name else dict(scopes[scope])) for scope, name in used}


def _plain(value: Any) -> Any:
    """Without places: what stands in another line or file is the same."""
    if isinstance(value, TemplateSource):
        return value.text
    if isinstance(value, Location):
        return None
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value) if each.name != "snapshot"}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _hash(value: Any) -> str:
    return hashlib.sha256(_ENCODE(value)).hexdigest()[:_HASH_HEX]
