"""A job before and after -> which parts of it were edited, in words. Whether requests differ is told by the rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from batchforge.requests.templating import PromptEnvironment, PromptTemplate, make_environment
from batchforge.review.diff_values import Part, PartChange
from batchforge.source_tree import SourceTree
from batchforge.spec import ContentTree, JobSpec, TemplateSource

_WORDS_LENGTH = 70
_GOES_UP = "the rows that go up are asked as it is now, which the figures for the first model do not hold"
_NOT_COMPARED = frozenset(
    {"name", "path", "locations", "messages", "system", "vars", "lists", "parent_locations", "config", "step"}
)
_PART_OF_FIELD: Mapping[str, Part] = {
    "model": Part.MODEL,
    "ladder": Part.MODEL,
    "params": Part.PARAMS,
    "betas": Part.PARAMS,
    "cache": Part.CACHING,
    "input": Part.INPUT,
    "answers": Part.INPUT,
    "tests": Part.TESTS,
    "mode": Part.DELIVERY,
    "batch": Part.DELIVERY,
    "canary": Part.DELIVERY,
    "min_success": Part.DELIVERY,
    "max_cost_usd": Part.DELIVERY,
    "warn_cost_usd": Part.DELIVERY,
    "folder_budgets": Part.DELIVERY,
}
"""All other fields are meta."""
_SECTIONS: Mapping[Part, frozenset[str]] = {
    Part.PROMPT: frozenset({"messages"}),
    Part.SYSTEM: frozenset({"system"}),
    Part.MACRO: frozenset({"messages", "system"}),
    Part.VARS: frozenset({"messages", "system", "input"}),
    Part.MODEL: frozenset({"model"}),
    Part.PARAMS: frozenset({"params", "tools"}),
    Part.OUTPUT_SCHEMA: frozenset({"schema"}),
    Part.INPUT: frozenset({"input"}),
}
"""Which parts of a request an edit can change."""


class JobSources:
    """A job's templates with the files that they include."""

    def __init__(self, spec: JobSpec, tree: SourceTree) -> None:
        self.spec = spec
        self._environment, self._tree = make_environment(tree), tree
        self.system = list(_templates(spec.system, self._environment, tree))
        self.messages = [
            template for message in spec.messages for template in _templates(message.content, self._environment, tree)
        ]

    @property
    def included(self) -> dict[str, str]:
        """File -> text."""
        names = {name: text for each in (*self.system, *self.messages) for name, text in each.included.items()}
        return {f"prompts/{name}": text for name, text in names.items()}

    def mentions(self, name: str) -> bool:
        texts = [each.texts for each in (*self.system, *self.messages)]
        return any(name in text for text in texts)


def edited_parts(old: JobSources, new: JobSources, asked: Collection[str]) -> list[PartChange]:
    """`asked` names the parts of requests that differ in some row: model, system, messages, tools, params, schema,
    and input where a row's own values differ."""
    found = [
        *_template_edits(Part.PROMPT, old.messages, new.messages, old.spec.messages, new.spec.messages),
        *_template_edits(Part.SYSTEM, old.system, new.system, old.spec.system, new.spec.system),
        *_macro_edits(old.included, new.included),
        *_var_edits(old, new),
        *_field_edits(old.spec, new.spec),
        *_mark_edits(old.spec, new.spec),
    ]
    if "input" in asked and Part.INPUT not in {part for part, _, _ in found}:
        found.append((Part.INPUT, "the rows' data", "input"))
    return [
        PartChange(
            part,
            _changes_requests(part, setting, asked),
            words,
            new.spec.locations.get(_SETTINGS.get(setting, setting)),
        )
        for part, words, setting in found
    ]


def _changes_requests(part: Part, setting: str, asked: Collection[str]) -> bool:
    """Of further models it is not known yet which rows they are asked, but they are."""
    return setting == "ladder" or not _SECTIONS.get(part, frozenset()).isdisjoint(asked)


_SETTINGS: Mapping[str, str] = {"ladder": "model"}
"""Field -> the setting that it comes from, where that has another name."""
_Edit = tuple[Part, str, str]
"""Part, words, and the setting whose place is shown."""


def _templates(
    tree: ContentTree | Sequence[ContentTree], environment: PromptEnvironment, files: SourceTree
) -> Iterator[PromptTemplate]:
    if isinstance(tree, TemplateSource):
        yield PromptTemplate(tree, environment, files)
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _templates(value, environment, files)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _templates(value, environment, files)


def _template_edits(
    part: Part, old: Sequence[PromptTemplate], new: Sequence[PromptTemplate], old_tree: Any, new_tree: Any
) -> Iterator[_Edit]:
    old_texts = {each.source.text for each in old}
    edited = dict.fromkeys(each.source.path for each in new if each.source.text not in old_texts)
    setting = "system" if part is Part.SYSTEM else "user"
    if edited:
        yield part, ", ".join(edited), setting
    elif without_places(old_tree) != without_places(new_tree):
        yield part, "blocks added, removed or put in another order", setting


def _macro_edits(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[_Edit]:
    """A file that only changed its name is none."""
    edited = [path for path, text in new.items() if text not in old.values()]
    edited += [f"{path} (no longer included)" for path, text in old.items() if path not in new and not edited]
    if edited and sorted(old.values()) != sorted(new.values()):
        yield Part.MACRO, ", ".join(sorted(edited)), "user"


def _var_edits(old: JobSources, new: JobSources) -> Iterator[_Edit]:
    before, after = old.spec.vars, new.spec.vars
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name) and (old.mentions(name) or new.mentions(name)):
            yield Part.VARS, f"{name}: {_change(before.get(name), after.get(name))}", "vars"
    for name in sorted({*old.spec.lists, *new.spec.lists}):
        if old.spec.lists.get(name) != new.spec.lists.get(name) and (old.mentions(name) or new.mentions(name)):
            yield Part.VARS, f"the list {name}", "lists"


def _field_edits(old: JobSpec, new: JobSpec) -> Iterator[_Edit]:
    for field in fields(JobSpec):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.name in _NOT_COMPARED or without_places(before) == without_places(after):
            continue
        if field.name == "params":
            yield from _param_edits(before, after)
        elif field.name == "output":
            yield from _output_edits(before, after)
        elif field.name == "ladder":
            yield Part.MODEL, f"{_ladder_change(old, new)}; {_GOES_UP}", field.name
        else:
            part = _PART_OF_FIELD.get(field.name, Part.META)
            yield part, f"{field.name}: {_change(before, after)}", field.name


def _ladder_change(old: JobSpec, new: JobSpec) -> str:
    if old.models != new.models:
        return f"models: {', '.join(old.models)} → {', '.join(new.models)}"
    return "which rows go up, or how further models are asked"


def _param_edits(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[_Edit]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Part.PARAMS, f"{name}: {_change(before.get(name), after.get(name))}", name


def _output_edits(before: Any, after: Any) -> Iterator[_Edit]:
    if _json(before.schema) != _json(after.schema):
        yield Part.OUTPUT_SCHEMA, _schema_words(before.schema or {}, after.schema or {}), "output"
    for name in ("file", "columns", "text_column", "escape_formulas"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield Part.DELIVERY, f"output {name}: {_change(old, new)}", "output"


def _schema_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    old, new = before.get("properties", {}), after.get("properties", {})
    words = [f"+{name}" for name in new if name not in old]
    words += [f"-{name}" for name in old if name not in new]
    words += [f"~{name}" for name in new if name in old and _json(old[name]) != _json(new[name])]
    return ", ".join(words) or "the order or the form of fields"


def _mark_edits(old: JobSpec, new: JobSpec) -> Iterator[_Edit]:
    """Cache marks that the job's own blocks hold."""
    before, after = (list(_marks([_content(each.system), _content(each.messages)])) for each in (old, new))
    if before != after:
        yield Part.CACHING, f"cache_control of blocks: {_change(before, after)}", "user"


def _marks(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        if "cache_control" in value:
            yield value["cache_control"]
        for item in value.values():
            yield from _marks(item)
    elif isinstance(value, list):
        for item in value:
            yield from _marks(item)


def _content(tree: Any) -> Any:
    return without_places(tree, with_marks=True)


def without_places(value: Any, *, with_marks: bool = False) -> Any:
    """Without the places where things stand, and without cache marks, which are compared apart."""
    if isinstance(value, TemplateSource):
        return value.text
    if isinstance(value, Mapping):
        return {
            key: without_places(item, with_marks=with_marks)
            for key, item in value.items()
            if with_marks or key != "cache_control"
        }
    if isinstance(value, list | tuple):
        return [without_places(item, with_marks=with_marks) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        named = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "location"}
        return without_places(named, with_marks=with_marks)
    return value


def _change(before: Any, after: Any) -> str:
    return f"{_short(before)} → {_short(after)}"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = value if isinstance(value, str) else _json(without_places(value))
    text = " ".join(text.split())
    return text if len(text) <= _WORDS_LENGTH else f"{text[: _WORDS_LENGTH - 1]}…"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
