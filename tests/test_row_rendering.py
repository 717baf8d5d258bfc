"""One context for all rows gives what a context for each row gives, and is refused where it might not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Template

from batchforge.requests.row_rendering import renderer_in_one_context
from batchforge.requests.templating import make_environment
from batchforge.source_tree import SourceTree

SHARED = [
    "{{ row.text }}",
    "{% if row.number >= 4 %}many{% elif row.number %}{{ row.number }}{% else %}none{% endif %} {{ row.text | trim }}",
    "{% for word in row.text.split() %}{{ loop.index }} {{ word | upper }}{{ ',' if not loop.last }}{% endfor %}",
    "{{ row.text ~ '-' ~ row.number * 2 }} {{ 'a' if row.text is string else 'b' }} {{ row | tojson }} {{ vars.team }}",
    "{{ row.text | map('lower') | join }} {{ range(3) | list }} {{ [row.number, row.text] }}",
]
NOT_SHARED = [
    "{% set name = row.text %}{{ name }}",
    "{% macro shout(text) %}{{ text | upper }}{% endmacro %}{{ shout(row.text) }}",
    "{% include 'greeting.md.j2' %}{{ row.text }}",
    "{% from 'macros.j2' import shout %}{{ shout(row.text) }}",
    "{% block body %}{{ row.text }}{% endblock %}",
    "{% with name = row.text %}{{ name }}{% endwith %}",
    "{% filter upper %}{{ row.text }}{% endfilter %}",
]
rows = st.fixed_dictionaries({"text": st.text(max_size=30), "number": st.integers(-5, 10)})


def prepare(source: str) -> tuple[Template, Any]:
    environment = make_environment(SourceTree(Path()))
    template = environment.from_string(source)
    return template, renderer_in_one_context(template, environment.parse(source))


@pytest.mark.parametrize("source", SHARED)
@given(some=st.lists(rows, min_size=1, max_size=5))
def test_rows_in_one_context_are_rendered_as_each_in_its_own(source: str, some: list[dict[str, Any]]) -> None:
    template, render = prepare(source)
    for row in some:
        variables = {"row": row, "vars": {"team": "north"}}
        assert render(variables) == template.render(variables)


@pytest.mark.parametrize("source", NOT_SHARED)
def test_what_writes_into_the_context_or_hands_it_on_gets_a_new_one_each_time(source: str) -> None:
    assert prepare(source)[1] is None


def test_an_error_in_one_row_leaves_the_next_row_right() -> None:
    _, render = prepare("{{ row.text | trim }} {{ row.number + 1 }}")
    with pytest.raises(TypeError):
        render({"row": {"text": "a", "number": "x"}})
    assert render({"row": {"text": "b", "number": 1}}) == "b 2"
