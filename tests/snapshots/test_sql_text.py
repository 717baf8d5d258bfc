"""What a query's text tells without a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import BatchForgeError
from batchforge.snapshots.sql_text import read_query

QUOTED = st.text("ab:;'\"$-/* \n", max_size=8)


def names_of(text: str) -> tuple[str, ...]:
    return read_query(text, "q.sql", None).names


@given(QUOTED, QUOTED, QUOTED)
def test_names_in_quotes_and_comments_are_no_params(text: str, name: str, comment: str) -> None:
    parts = [
        f"""select '{text.replace("'", "''")} :no', "{name.replace('"', '""')} :no", :yes""",
        f"""-- {comment.partition(chr(10))[0]} :no""",
        f"""from t /* {comment.replace("*", "")} :no */ where $${name.replace("$", "")} :no$$ = :also""",
    ]
    query = "\n".join(parts)
    assert names_of(query) == ("yes", "also")


@given(st.lists(st.sampled_from(["a", ":x", "'b'", "::int", "[1:2]", "\n", ":y ", "--c\n", "1"]), max_size=12))
def test_only_params_are_replaced(parts: list[str]) -> None:
    query = read_query("select " + " ".join(parts), "q.sql", None)
    marked = query.with_placeholders(lambda name: f"<{name}>")
    assert marked == query.text.replace(":x", "<x>").replace(":y", "<y>")


@pytest.mark.parametrize(
    ("text", "has_order"),
    [
        ("select a from t order by a", True),
        ("select a from (select a from t order by a) t", False),
        ("select rank() over (order by a) as r from t", False),
        ("select a from t ORDER\n-- by what\nBY a;", True),
        ("select 'order by' from t", False),
    ],
)
def test_the_order_of_the_whole_is_seen(text: str, has_order: bool) -> None:
    assert read_query(text, "q.sql", None).has_order == has_order


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the query is empty"),
        ("-- nothing\n", "the query is empty"),
        ("select 1;\nselect 2", "q.sql:2: there is more than one statement|q.sql:1: there is more"),
        ("\n\nupdate t set a = 1", "q.sql:3: `UPDATE` does not read rows"),
        ("with x as (\n  insert into t values (1) returning a\n) select * from x", "q.sql:2: the query would write"),
        ("with x as (select 1) delete from t", "the query would write: `DELETE`"),
        ("select * into t from x", "the query would write: `INTO`"),
        ("call wipe()", "`CALL` does not read rows"),
    ],
)
def test_what_is_no_single_select_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BatchForgeError, match=message):
        read_query(text, "q.sql", None)


def test_semicolons_at_the_end_are_no_statement() -> None:
    assert read_query("(select 1) ; ;\n", "q.sql", None).text == "(select 1) "
