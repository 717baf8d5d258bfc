"""A template cannot keep the machine busy or fill its memory; ordinary ones render as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import ProjectError
from batchforge.requests import render_limits
from batchforge.requests.templating import PromptTemplate, make_environment
from batchforge.source_tree import SourceTree
from batchforge.spec import TemplateSource


def render(text: str, tmp_path: Path, **variables: Any) -> str:
    tree = SourceTree(tmp_path)
    return PromptTemplate(TemplateSource(text, "jobs/about.yml", 1), make_environment(tree), tree).render(variables)


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{{ [1] * 10**9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '%*d' | format(1000000000, 1) }}",
        "{{ 'x' | center(10**9) }}",
        "{{ 'x' | indent(10**9) }}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ ('x' * 10000).replace('x', 'x' * 10000) }}",
        "{{ ('x' * 10000) | replace('x', 'x' * 10000) }}",
        "{% set a = 'x' * 10000000 %}{% set a = a ~ a %}{% set a = a ~ a %}{{ a }}",
        "{% set a = 'x' * 10000000 %}{% set a = a + a %}{% set a = a + a %}{{ a }}",
        "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}",
    ],
)
def test_what_would_fill_the_memory_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="BF304"):
        render(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% for a in row.v %}{% for b in row.v %}{% for c in row.v %}{{ a }}{% endfor %}{% endfor %}{% endfor %}",
    ],
)
def test_what_would_take_forever_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_limits, "LONGEST_S", 0.2)
    with pytest.raises(ProjectError, match=r"BF304 .*it takes longer than"):
        render(text, tmp_path, row={"v": ["x"] * 2000})


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        (
            "{% for a in row.v %}{{ loop.index }}/{{ loop.length }}{{ a }}{{ ',' if not loop.last }}{% endfor %}",
            "1/2a,2/2b",
        ),
        ("{% for a in row.v | reverse %}{{ loop.length }}{{ a }}{% else %}none{% endfor %}", "2b2a"),
        ("{% for k, v in row.d.items() %}{{ k ~ '=' ~ v }}{% endfor %}", "x=1"),
        ("{{ 'a' ~ row.n ~ none ~ true }}", "a7NoneTrue"),
        ("{{ 3 * 4 }}{{ 2 ** 10 }}{{ 'ab' * 2 }}{{ '%05d' % 7 }}{{ '%s!' | format('x') }}", "121024abab00007x!"),
        ("{{ 'x' | center(5) }}|{{ 'a b' | replace(' ', '-') }}|{{ 'a\nb' | indent(2) }}", "  x  |a-b|a\n  b"),
        ("{% for a in [] %}x{% else %}empty{% endfor %}", "empty"),
        ("{% for n in row.t recursive %}{{ n.k }}{{ loop(n.c) if n.c }}{% endfor %}", "12"),
    ],
)
def test_ordinary_templates_render_as_ever(text: str, rendered: str, tmp_path: Path) -> None:
    row = {"v": ["a", "b"], "d": {"x": 1}, "n": 7, "t": [{"k": 1, "c": [{"k": 2, "c": []}]}]}
    assert render(text, tmp_path, row=row) == rendered
