"""Prompts: what a template may do, how values are written into it, and what is said when it goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.errors import Problem, ProjectError
from batchforge.requests.templating import PromptTemplate, make_environment
from batchforge.source_tree import SourceTree
from batchforge.spec import TemplateSource
from tests.project_files import write_files

PLACE = "data/rows.jsonl:7"


def template(text: str, root: Path, files: Mapping[str, str] | None = None) -> PromptTemplate:
    write_files(root, {"prompts/main.md.j2": text, **(files or {})})
    return anew(text, root)


def anew(text: str, root: Path) -> PromptTemplate:
    tree = SourceTree(root)
    return PromptTemplate(TemplateSource(text, "prompts/main.md.j2"), make_environment(tree), tree)


def rendered(text: str, root: Path, files: Mapping[str, str] | None = None, /, **row: Any) -> str:
    return template(text, root, files).render({"row": row, "vars": {"tone": "kind"}}, PLACE)


def problem(text: str, root: Path, files: Mapping[str, str] | None = None, /, **row: Any) -> Problem:
    with pytest.raises(ProjectError) as refused:
        rendered(text, root, files, **row)
    return refused.value.problems[0]


# ---- values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("{{ vars.tone }}", "{{ vars.tone }}"),
        ("<b>&</b>", "<b>&</b>"),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        (10**20, "100000000000000000000"),
        ([1, None, "ä"], '[1,null,"ä"]'),
        ({"a": {"b": True}}, '{"a":{"b":true}}'),
    ],
)
def test_values_are_written_as_data(tmp_path: Path, value: Any, text: str) -> None:
    assert rendered("<{{ row.text }}>", tmp_path, text=value) == f"<{text}>"


def test_columns_come_before_methods_of_a_mapping(tmp_path: Path) -> None:
    assert rendered("{{ row.items }} {{ row.keys }}", tmp_path, items="three", keys="two") == "three two"


def test_columns_with_odd_names_can_be_reached(tmp_path: Path) -> None:
    assert rendered("{{ row['a b'] }}", tmp_path, **{"a b": "here"}) == "here"


def test_json_is_not_escaped_for_html(tmp_path: Path) -> None:
    assert rendered("{{ row.x | tojson }}", tmp_path, x={"a": "<&>"}) == '{"a":"<&>"}'


def test_line_ends_of_the_template_stay(tmp_path: Path) -> None:
    assert rendered("{{ row.x }}\n\n", tmp_path, x="a") == "a\n\n"


# ---- includes, macros, what needs the row


def test_includes_and_macros_come_from_prompts(tmp_path: Path) -> None:
    files = {
        "prompts/rules.md": "Be {{ vars.tone }}.",
        "prompts/forms.j2": "{% macro ticket(text) %}<t>{{ text }}</t>{% endmacro %}",
    }
    text = '{% include "rules.md" %} {% from "forms.j2" import ticket %}{{ ticket(row.text) }}'
    assert rendered(text, tmp_path, files, text="hot") == "Be kind. <t>hot</t>"


@pytest.mark.parametrize(
    ("text", "is_per_row"),
    [
        ("Plain.", False),
        ("{{ vars.tone }}", False),
        ("{{ row.text }}", True),
        ("{% if row.vip %}a{% endif %}", True),
        ('{% include "shared.md" %}', False),
        ('{% include "of_row.md" %}', True),
        ("{% include vars.which %}", True),
        ("{% set row = 1 %}{{ row }}", False),
        ("{% for row in vars.rows %}{{ row }}{% endfor %}", False),
    ],
)
def test_it_is_known_which_templates_need_the_row(tmp_path: Path, text: str, is_per_row: bool) -> None:
    files = {"prompts/shared.md": "{{ vars.tone }}", "prompts/of_row.md": "{{ row.x }}"}
    assert template(text, tmp_path, files).is_per_row is is_per_row


def test_the_texts_of_a_template_hold_those_of_its_includes(tmp_path: Path) -> None:
    files = {"prompts/a.md": 'A {% include "b.md" %}', "prompts/b.md": "BBB"}
    assert "BBB" in template('{% include "a.md" %}', tmp_path, files).texts


# ---- row after row

_CELL = st.one_of(st.text(max_size=5), st.integers(), st.none(), st.booleans())
_TEMPLATES = (
    "{{ row.a }}-{{ row.b }}",
    "{% if row.a %}{{ row.b }}{% else %}no{% endif %}",
    "{% for c in [row.a, row.b] %}{{ loop.index }}{{ c }}{% endfor %}{{ c is defined }}",
    "{% set x = row.a %}{{ x }}{{ row.b }}",
    "{% if row.a is string %}{% set seen = row.a %}{% endif %}{{ seen is defined }}",
    "{% macro m(v) %}{{ v }}{{ row.b }}{% endmacro %}{{ m(row.a) }}",
    '{% include "part.md" %}{{ row.b }}',
    "{% with x = row.a %}{{ x }}{% endwith %}{{ x is defined }}",
)


@pytest.mark.parametrize("text", _TEMPLATES)
@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({"a": _CELL, "b": _CELL}), min_size=2, max_size=5))
def test_a_row_never_sees_anything_of_the_rows_before_it(
    tmp_path_factory: pytest.TempPathFactory, text: str, rows: Sequence[Mapping[str, Any]]
) -> None:
    root = tmp_path_factory.getbasetemp() / "row_after_row"
    part = "{% if row.a %}{% set y = row.a %}{% endif %}{{ y is defined }}"
    one_for_all = template(text, root, {"prompts/part.md": part})
    for row in rows:
        assert one_for_all.render({"row": row}, PLACE) == anew(text, root).render({"row": row}, PLACE)


# ---- what goes wrong


def test_an_unknown_column_names_the_place_the_row_and_the_nearest_column(tmp_path: Path) -> None:
    found = problem("First line.\n{{ row.txt }}", tmp_path, text="x", label="y")
    assert (found.code, str(found.location)) == ("BF301", "prompts/main.md.j2:2")
    assert f"'txt', which is not there (row {PLACE})" in found.message
    assert "text" in found.hint


def test_an_unknown_variable_is_named(tmp_path: Path) -> None:
    found = problem("{{ rwo.text }}", tmp_path, text="x")
    assert (found.code, "'rwo'" in found.message, "row" in found.hint) == ("BF301", True, True)


def test_an_unknown_column_in_an_include_is_placed_there(tmp_path: Path) -> None:
    found = problem('{% include "part.md" %}', tmp_path, {"prompts/part.md": "\n\n{{ row.nope }}"}, text="x")
    assert str(found.location) == "prompts/part.md:3"


def test_a_template_that_cannot_be_read_names_its_line(tmp_path: Path) -> None:
    found = problem("a\nb\n{% if row.x %}", tmp_path, x=1)
    assert (found.code, found.location is not None and found.location.line) == ("BF300", 3)


def test_an_include_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = problem('{% include "nope.md" %}', tmp_path, x=1)
    assert found.code == "BF302"
    assert "nope.md" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ row.text.format.__globals__ }}",
        "{{ vars.update({'tone': 'rude'}) }}",
        "{{ range(10**9) | list | length }}",
    ],
)
def test_templates_stay_in_their_sandbox(tmp_path: Path, text: str) -> None:
    assert problem(text, tmp_path, text="x").code in {"BF301", "BF303", "BF304"}


def test_an_include_cannot_leave_the_folder_of_prompts(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(ProjectError):
        rendered('{% include "../secret.txt" %}', tmp_path / "project", x=1)


@pytest.mark.parametrize("text", ["{{ 1 // 0 }}", "{{ row.x + 1 }}", "{{ row.x[5] }}{{ row.x.nope.nope }}"])
def test_what_fails_in_a_template_is_the_templates_error(tmp_path: Path, text: str) -> None:
    found = problem(text, tmp_path, x="text")
    assert found.code in {"BF301", "BF303"}
    assert PLACE in found.message
