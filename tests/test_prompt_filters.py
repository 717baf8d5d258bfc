"""Filters that write rows and lists into prompts: the same text for the same value, always."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import ProjectError
from batchforge.requests.prompt_filters import to_csv, to_markdown_table, to_xml, truncate_tokens
from batchforge.requests.templating import PromptTemplate, make_environment
from batchforge.source_tree import SourceTree
from batchforge.spec import TemplateSource
from batchforge.token_estimate import estimate_text_tokens
from tests.builders import TREE

ORDERS = [{"id": 1, "what": "a | b", "note": None}, {"id": 2, "what": "two\nlines", "paid": True, "parts": [1, 2]}]
KEYS = st.text(st.characters(codec="ascii"), max_size=9)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=400)


def rendered(template: str, **row: Any) -> str:
    tree = SourceTree(TREE)
    return PromptTemplate(TemplateSource(template, "jobs/a.yml"), make_environment(tree), tree).render({"row": row})


def test_xml_names_each_column_and_escapes_texts() -> None:
    assert rendered("{{ row.claim | xml('claim') }}", claim={"who": "A & B", "1st line": "<b>", "n": None}) == (
        "<claim>\n<who>A &amp; B</who>\n<_1st_line>&lt;b&gt;</_1st_line>\n<n></n>\n</claim>"
    )
    assert rendered("{{ row.lines | xml('lines') }}", lines=["x", 2]) == (
        "<lines>\n<item>x</item>\n<item>2</item>\n</lines>"
    )
    assert rendered("{{ row.text | xml }}", text="1 < 2") == "1 &lt; 2"


def test_csv_has_every_column_once() -> None:
    assert rendered("{{ row.orders | csv }}", orders=ORDERS) == (
        'id,what,note,paid,parts\n1,a | b,,,\n2,"two\nlines",,true,"[1,2]"'
    )
    assert rendered("{{ row.orders | csv(['id', 'paid'], delimiter=';') }}", orders=ORDERS) == "id;paid\n1;\n2;true"


def test_a_markdown_table_keeps_its_cells_in_their_places() -> None:
    assert rendered("{{ row.orders | markdown_table(['id', 'what']) }}", orders=ORDERS) == (
        "| id | what |\n| --- | --- |\n| 1 | a \\| b |\n| 2 | two<br>lines |"
    )
    assert rendered("{{ row.orders | markdown_table }}", orders=[]) == ""


def test_a_row_by_itself_is_a_table_of_one() -> None:
    assert rendered("{{ row | csv }}", a=1, b="x") == "a,b\n1,x"


@pytest.mark.parametrize("name", ["csv", "markdown_table"])
def test_a_text_is_no_table(name: str) -> None:
    with pytest.raises(ProjectError, match=r"BF303.*list of rows"):
        rendered("{{ row.text | " + name + " }}", text="abc")


def test_json_is_as_it_always_was() -> None:
    assert rendered("{{ row.orders[1] | json }}", orders=ORDERS) == (
        '{"id":2,"what":"two\\nlines","paid":true,"parts":[1,2]}'
    )


def test_a_long_text_is_cut_between_words() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 50
    assert truncate_tokens(text, 20) == "The quick brown fox jumps over the lazy dog. The quick brown fox…"
    assert rendered("{{ row.text | truncate_tokens(5, end=' [cut]') }}", text=text) == "The quick brown [cut]"


def test_a_short_text_is_left_as_it_is() -> None:
    assert truncate_tokens("as it is \n", 20) == "as it is \n"


@given(TEXTS, st.integers(0, 60))
def test_what_is_left_has_no_more_tokens_than_asked_for(text: str, count: int) -> None:
    left = truncate_tokens(text, count, end="")
    assert text.startswith(left)
    assert estimate_text_tokens(left, "v2") <= count


@given(st.lists(st.fixed_dictionaries({"a": TEXTS, "b": st.integers() | st.none()}), min_size=1, max_size=5))
def test_csv_reads_back(rows: list[dict[str, Any]]) -> None:
    read = list(csv.reader(io.StringIO(to_csv(rows, ["a", "b"]), newline="")))
    assert read == [["a", "b"], *([row["a"], "" if row["b"] is None else str(row["b"])] for row in rows)]


@given(st.lists(st.dictionaries(TEXTS, TEXTS, max_size=4), max_size=4))
def test_a_markdown_table_has_a_line_a_row(rows: list[dict[str, str]]) -> None:
    lines = to_markdown_table(rows).split("\n") if any(rows) else [""]
    header = {key for row in rows for key in row}
    if header and not any("\n" in key for key in header):
        assert len(lines) == 2 + len(rows)


VALUES = st.recursive(TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(VALUES)
def test_xml_is_read_as_xml(value: Any) -> None:
    text = to_xml(value, "all")
    if all(sign in "\t\n\r" or (ord(sign) >= 32 and sign not in "\ufffe\uffff") for sign in text):
        assert ElementTree.fromstring(text).tag == "all"
