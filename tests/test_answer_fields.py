"""Fields become JSON Schema as the API takes it; schemas that it would refuse are refused at their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import Severity
from tests.project_files import load, load_one, problems_of, write_project

PATH = "jobs/triage/classify_tickets.yml"
RULES = [
    *("minLength: 1", "maxLength: 1", "minimum: 1", "multipleOf: 2", "maxItems: 1", "uniqueItems: true", "not: {}"),
    *("if: {}", "patternProperties: {}", "minItems: 2", "pattern: '(?=a)'", "pattern: '\\ba'", "oneOf: [{}, {}]"),
]
BASE = "input: {file: a.csv}\nuser: hello\noutput:\n"


def schema_of(tmp_path: Path, output: str, **files: str) -> Any:
    paths = {name.replace("_", "."): text for name, text in files.items()}
    return load_one(tmp_path, BASE + output, paths).output.schema


def property_of(tmp_path: Path, field: str) -> Any:
    schema = schema_of(tmp_path, f"  fields:\n    a: {field}\n")
    assert schema["additionalProperties"] is False
    return schema["properties"]["a"]


def schema_problems(tmp_path: Path, schema: str) -> list[str]:
    return problems_of(tmp_path, {PATH: f"{BASE}  schema: {schema}\n"})


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("text", {"type": "string"}),
        ("integer", {"type": "integer"}),
        ("number", {"type": "number"}),
        ("boolean", {"type": "boolean"}),
        ("{type: text, description: why}", {"type": "string", "description": "why"}),
        ("{one_of: categories}", {"type": "string", "enum": ["billing", "claim", "no"]}),
        ("{one_of: [yes, no, 1.10, 007, null]}", {"type": "string", "enum": ["yes", "no", "1.10", "007", "null"]}),
        ("{list_of: text}", {"type": "array", "items": {"type": "string"}}),
        (
            "{list_of: {one_of: categories}, description: all}",
            {"type": "array", "items": {"type": "string", "enum": ["billing", "claim", "no"]}, "description": "all"},
        ),
        (
            "{fields: {b: text, c: {type: integer, optional: true}}}",
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "c": {"type": "integer"}},
                "required": ["b"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_field_becomes_a_schema(tmp_path: Path, field: str, schema: object) -> None:
    assert property_of(tmp_path, field) == schema


def test_fields_keep_their_order_and_are_required_unless_optional(tmp_path: Path) -> None:
    schema = schema_of(tmp_path, "  fields:\n    z: text\n    a: {type: text, optional: true}\n    m: text\n")
    assert list(schema["properties"]) == ["z", "a", "m"]
    assert schema["required"] == ["z", "m"]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("txt", "BF104"),
        ("{one_of: categorys}", "BF156"),
        ("{one_of: [a, A]}", "BF157"),
        ("{one_of: []}", "BF117"),
        ("{type: text, one_of: [a]}", "BF105"),
        ("{description: x}", "BF105"),
        ("{fields: {}}", "BF117"),
        ("[text]", "BF102"),
    ],
)
def test_a_field_that_is_none_is_refused(tmp_path: Path, field: str, code: str) -> None:
    assert problems_of(tmp_path, {PATH: f"{BASE}  fields:\n    a: {field}\n"})[0].startswith(f"{code} {PATH}:5:")


def test_objects_of_a_schema_are_closed_at_every_depth(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        "  schema:\n    type: object\n    properties:\n      a: {type: array, items: {type: object, properties: {}}}\n"
        "      b: {anyOf: [{type: 'null'}, {$ref: '#/$defs/c'}]}\n    required: [a, b]\n"
        "    $defs: {c: {properties: {d: {type: [string, 'null'], default: x}}, required: [d]}}\n",
    )
    assert schema["additionalProperties"] is False
    assert schema["properties"]["a"]["items"]["additionalProperties"] is False
    assert schema["$defs"]["c"]["additionalProperties"] is False
    assert schema["properties"]["b"] == {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/c"}]}
    assert list(schema) == ["type", "properties", "required", "$defs", "additionalProperties"]


def test_a_schema_can_stand_in_a_json_file(tmp_path: Path) -> None:
    text = json.dumps({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, indent="\t")
    schema = schema_of(tmp_path, "  schema: {file: a.json}\n", a_json=text)
    assert schema["properties"] == {"a": {"type": "string"}}
    job = BASE + "  schema: {file: a.json}\n"
    (problem,) = problems_of(tmp_path, {PATH: job, "a.json": text.replace('"string"', '"string", "maxLength": 5')})
    said = "BF164 a.json:5:22: The API does not take this `maxLength`; it is checked once the answer is there."
    assert problem == said


def test_a_schema_file_that_is_missing_is_told_where_it_is_named(tmp_path: Path) -> None:
    assert schema_problems(tmp_path, "{file: none.json}")[0].startswith(f"BF121 {PATH}:4:18")
    assert schema_problems(tmp_path, "{file: 5}")[0].startswith(f"BF102 {PATH}:4:18")


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ("{type: object, properties: {a: {type: string, maxLenght: 5}}}", "BF160"),
        ("{type: object, properties: {a: {type: string, format: iban}}}", "BF160"),
        ("{type: object, properties: {a: {type: text}}}", "BF160"),
        ("{type: object, properties: {a: {enum: [{b: 1}]}}}", "BF160"),
        ("{type: object, properties: {a: {enum: x}}}", "BF160"),
        ("{type: object, properties: {a: {type: string}}, required: [b]}", "BF160"),
        ("{type: object, properties: {a: text}}", "BF160"),
        ("{type: array, items: {type: string}}", "BF160"),
        ("{$ref: '#/$defs/a', $defs: {a: {type: string}}}", "BF160"),
        ("{type: object, properties: {a: {$ref: 'https://x.example/s.json'}}}", "BF161"),
        ("{type: object, properties: {a: {$ref: '#/$defs/b'}}, $defs: {b: {items: {$ref: '#/$defs/b'}}}}", "BF161"),
        ("{type: object, properties: {a: {additionalProperties: {}, type: object}}}", "BF163"),
        ("{type: object, properties: {" + ", ".join(f"a{n}: {{type: string}}" for n in range(25)) + "}}", "BF162"),
        (
            "{type: object, required: ["
            + ", ".join(f"a{n}" for n in range(17))
            + "], properties: {"
            + ", ".join(f"a{n}: {{type: [string, 'null']}}" for n in range(17))
            + "}}",
            "BF162",
        ),
    ],
)
def test_what_the_api_would_refuse_is_refused(tmp_path: Path, schema: str, code: str) -> None:
    (problem,) = schema_problems(tmp_path, schema)
    assert problem.startswith(f"{code} {PATH}:")


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_the_api_does_not_take_is_kept_for_our_own_check(tmp_path: Path, rule: str) -> None:
    settings = f"{BASE}  schema: {{type: object, properties: {{a: {{{rule}}}}}}}\n"
    _, jobs, (problem,) = load(write_project(tmp_path, {PATH: settings}))
    assert (problem.code, problem.severity) == ("BF164", Severity.WARNING)
    output = jobs["classify_tickets"].output
    name = rule.partition(":")[0]
    assert output.schema is not None
    assert name in output.schema["properties"]["a"]
    assert output.sent_schema is not None
    left = output.sent_schema["properties"]["a"]
    assert left == {"oneOf": {"anyOf": [{}, {}]}, "minItems": {"minItems": 1}}.get(name, {})


def test_a_rule_that_is_none_is_told(tmp_path: Path) -> None:
    problems = schema_problems(tmp_path, "{type: object, properties: {a: {maxLength: long}}}")
    assert [problem.split(" ")[0] for problem in problems] == ["BF164", "BF160"]


def test_fields_have_rules_that_are_checked_by_us(tmp_path: Path) -> None:
    field = "{type: integer, min: 0, max: 9}, b: {list_of: {type: text, pattern: '^x', max_length: 3}, min_length: 2}"
    output = load_one(tmp_path, f"{BASE}  fields: {{a: {field}}}\n").output
    assert output.schema is not None
    assert output.schema["properties"]["a"] == {"type": "integer", "minimum": 0, "maximum": 9}
    items = {"type": "string", "maxLength": 3, "pattern": "^x"}
    assert output.schema["properties"]["b"] == {"type": "array", "items": items, "minItems": 2}
    assert output.sent_schema is not None
    assert output.sent_schema["properties"]["a"] == {"type": "integer"}


def test_a_rule_of_another_type_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, {PATH: f"{BASE}  fields: {{a: {{type: text, max: 9}}}}\n"})
    assert problem.startswith(f"BF105 {PATH}:4:28: `max` does nothing for such a field.")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("from: {tool: record}", "BF165 {PATH}:4:16: There is no tool `record`."),
        ("from: {regex: '('}", "BF165 {PATH}:4:17: The pattern cannot be read"),
        ("from: {regex: 'a'}", "BF165 {PATH}:4:17: The pattern has no named groups."),
        ("from: {regex: '(?P<a>.)'}\n  fields: {b: text}", "BF165 {PATH}:5:12: The pattern has no group for the field"),
        ("from: json", "BF105 {PATH}:4:3: `from` does nothing without `fields` or `schema`."),
        ("on_invalid: keep", "BF105 {PATH}:4:3: `on_invalid` does nothing without"),
        ("from: yaml", "BF104 {PATH}:4:9:"),
        ("from: {xml: true}", "BF101 {PATH}:4:10:"),
        ("keep: [thought]", "BF104 {PATH}:4:10:"),
        ("fields: {a: text}\n  on_invalid: {retry: 0}", "BF117 {PATH}:5:23:"),
        ("fields: {a: text}\n  on_invalid: ask", "BF104 {PATH}:5:15:"),
        ("from: json\n  schema: {type: objekt}", "BF160 {PATH}:5:3: This is no JSON Schema"),
    ],
)
def test_settings_of_answers_that_cannot_be_are_told_at_their_place(tmp_path: Path, output: str, said: str) -> None:
    problem = problems_of(tmp_path, {PATH: f"{BASE}  {output}\n"})[0]
    assert problem.startswith(said.replace("{PATH}", PATH))


def test_a_schema_that_claude_is_not_held_to_may_be_any(tmp_path: Path) -> None:
    schema = "{type: object, properties: {a: {type: string, format: iban, maxLength: 3}}, additionalProperties: true}"
    output = load_one(tmp_path, f"{BASE}  from: json\n  schema: {schema}\n").output
    assert output.sent_schema is None


def test_fields_come_from_a_pattern_or_a_tool(tmp_path: Path) -> None:
    output = load_one(tmp_path, f"{BASE}  from: {{regex: '(?P<one>.)-(?P<two>.)'}}\n").output
    assert output.schema is not None
    assert list(output.schema["properties"]) == ["one", "two"]
    tool = "{name: record, input_schema: {type: object, properties: {kind: {type: string}}, required: [kind]}}"
    output = load_one(tmp_path, f"tools: [{tool}]\n{BASE}  from: {{tool: record}}\n").output
    assert output.schema is not None
    assert list(output.schema["properties"]) == ["kind"]


@pytest.mark.parametrize(
    "schema",
    [
        "{type: object, title: T, description: d, properties: {a: {type: string, format: date, pattern: '^a+$'}}}",
        "{type: object, properties: {a: {const: 5}, b: {type: array, minItems: 1, items: {enum: [1, null, x]}}}}",
        "{$ref: '#/$defs/a', $defs: {a: {type: object, properties: {}}}}",
        "{type: object, properties: {type: {type: string}, properties: {type: string}, $ref: {type: string}}}",
    ],
)
def test_what_the_api_takes_is_taken(tmp_path: Path, schema: str) -> None:
    assert schema_problems(tmp_path, schema) == []
