"""Our words for violations never disagree with JSON Schema about what is a violation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from batchforge.config.config_files import SCHEMAS
from batchforge.config.schema_check import SchemaCheck
from batchforge.config.yaml_nodes import parse_yaml
from batchforge.errors import ProblemList
from tests.project_files import lines_of

OURS = ["folder.schema.json", "job.schema.json", "project.schema.json", "selectors.schema.json"]
CHECKED = """
$ref type properties additionalProperties required enum const items minItems uniqueItems minimum maximum
exclusiveMinimum pattern minLength minProperties propertyNames anyOf oneOf
"""
WORDS = "$schema $defs title description default examples patternErrorMessage errorMessage"
REGISTRY: Registry[Any] = Registry().with_resources(
    [(name, Resource.from_contents(dict(SCHEMAS[name]))) for name in OURS]
)


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for keyword in ("properties", "$defs"):
        for child in schema.get(keyword, {}).values():
            yield from subschemas(child)
    for keyword in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(keyword), dict):
            yield from subschemas(schema[keyword])
    for keyword in ("anyOf", "oneOf"):
        for child in schema.get(keyword, []):
            yield from subschemas(child)


@pytest.mark.parametrize("name", OURS)
def test_a_schema_is_one_and_uses_only_what_is_checked(name: str) -> None:
    schema = dict(SCHEMAS[name])
    Draft202012Validator.check_schema(schema)
    for sub in subschemas(schema):
        assert sub.keys() <= {*CHECKED.split(), *WORDS.split()}


def _is_described(rule: dict[str, Any], home: str) -> bool:
    if "description" in rule or "$ref" not in rule:
        return "description" in rule
    file, _, pointer = rule["$ref"].partition("#")
    target: Any = SCHEMAS[file or home]
    for part in pointer.strip("/").split("/"):
        target = target[part]
    return _is_described(target, file or home)


@pytest.mark.parametrize("name", OURS)
def test_every_property_is_described_and_no_object_of_ours_is_open(name: str) -> None:
    for sub in subschemas(dict(SCHEMAS[name])):
        for setting, rule in sub.get("properties", {}).items():
            assert _is_described(rule, name), setting
        if "properties" in sub and sub.get("title") not in ("Thinking", "Tool choice", "Content block"):
            assert sub["additionalProperties"] is False, sub.get("title")


@pytest.mark.parametrize("name", OURS)
def test_every_default_and_example_is_valid(name: str) -> None:
    for sub in subschemas(dict(SCHEMAS[name])):
        for value in (*sub.get("examples", ()), *((sub["default"],) if "default" in sub else ())):
            local = {**sub, "$defs": SCHEMAS[name].get("$defs", {})}
            assert Draft202012Validator(local, registry=REGISTRY).is_valid(value), value


def _words(name: str) -> list[str]:
    schemas = list(subschemas(dict(SCHEMAS[name])))
    names = {key for sub in schemas for key in sub.get("properties", {})}
    values = {value for sub in schemas for value in (*sub.get("enum", ()), sub.get("const")) if value}
    return [*sorted(names | {str(value) for value in values}), "x", "", "a b", "x.csv", "5m", "modle"]


def _configs(name: str) -> st.SearchStrategy[Any]:
    words = st.sampled_from(_words(name))
    leaves = words | st.sampled_from([None, True, False, 0, 1, -1, 0.5, 1.5, 400, 1_000_000_000, "outputs/x.jsonl"])
    return st.recursive(
        leaves,
        lambda child: st.lists(child, max_size=3) | st.dictionaries(words, child, max_size=4),
        max_leaves=12,
    )


def _agrees(name: str, value: Any) -> None:
    problems = ProblemList()
    node = parse_yaml(json.dumps(value), "x.yml", problems)
    assert node is not None
    SchemaCheck(SCHEMAS, name, problems).check(node)
    is_valid = Draft202012Validator({"$ref": name}, registry=REGISTRY).is_valid(value)
    assert is_valid == (not problems.items), lines_of(problems.items)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", OURS)
def test_any_value_is_judged_as_json_schema_judges_it(name: str, data: st.DataObject) -> None:
    _agrees(name, data.draw(_configs(name)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_value_of_a_setting_is_judged_as_json_schema_judges_it(data: st.DataObject) -> None:
    setting = data.draw(st.sampled_from(sorted(SCHEMAS["job.schema.json"]["properties"])))
    _agrees("job.schema.json", {setting: data.draw(_configs("job.schema.json"))})


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_target_is_judged_as_json_schema_judges_it(data: st.DataObject) -> None:
    settings_ = data.draw(
        st.dictionaries(st.sampled_from(_words("project.schema.json")), _configs("project.schema.json"))
    )
    target = {"type": data.draw(st.sampled_from(["emulator", "claude", "other"])), **settings_}
    _agrees("project.schema.json", {"name": "x", "version": 1, "targets": {"local": target}})
