"""YAML comes out as typed, and everything that is wrong is named at its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batchforge.config import config_files
from batchforge.config.config_files import read_config_file, schemas_folder
from batchforge.config.yaml_nodes import ConfigNode, parse_yaml
from batchforge.errors import ProblemList
from batchforge.source_tree import SourceTree
from tests.project_files import lines_of, write_files

UNQUOTED_TEXTS = """
yes no on off Yes NO y n 12:30 1:20:30 0o7 0x1F 0b1 007 1_000 +1 .5 1. 1e 2026-11-24 .inf .nan -.inf NaN = =x
01.5 1.2.3 -- nUll tRue 1,000 0777 8e_1
"""
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"))


def parsed(text: str) -> ConfigNode:
    problems = ProblemList()
    node = parse_yaml(text, "x.yml", problems)
    assert not problems.items, lines_of(problems.items)
    assert node is not None
    return node


def problems_in(text: str) -> list[str]:
    problems = ProblemList()
    parse_yaml(text, "x.yml", problems)
    return lines_of(problems.items)


def checked(tmp_path: Path, text: str, schema: str = "job.schema.json") -> list[str]:
    problems = ProblemList()
    tree = SourceTree(write_files(tmp_path, {"x.yml": text}))
    node = read_config_file(tree, "x.yml", schema, problems)
    assert (node is None) == bool(problems.errors)
    return lines_of(problems.items)


@pytest.mark.parametrize(
    "typed",
    UNQUOTED_TEXTS.split(),
)
def test_only_what_json_calls_a_number_is_a_number(typed: str) -> None:
    assert parsed(f"a: {typed}").data == {"a": typed}
    assert parsed(f"- {typed}").elements[0].raw == typed


def test_numbers_booleans_and_null_are_read_by_the_core_schema() -> None:
    typed = "[0, -7, 1.50, 1e3, true, False, TRUE, null, Null, ~, ]"
    assert parsed(typed).data == [0, -7, 1.5, 1000.0, True, False, True, None, None, None]
    assert [type(value) for value in parsed("[1, 1.0, true]").data] == [int, float, bool]
    assert parsed("a:").data == {"a": None}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\ufffe\uffff")))
def test_any_quoted_text_arrives_as_it_was_typed(text: str) -> None:
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    assert parsed(f'a: "{escaped}"').data == {"a": text}


@given(st.from_regex(r"[A-Za-z0-9_.+:=/é漢😀-]{1,12}", fullmatch=True))
def test_any_plain_word_keeps_the_text_that_was_typed(word: str) -> None:
    problems = ProblemList()
    node = parse_yaml(f"a: {word}", "x.yml", problems)
    if node is None or problems.items:
        return  # not YAML at all, such as `-` or `a:`
    child = node.get("a")
    if child is None or child.kind in ("mapping", "list", "unknown"):
        return
    assert child.raw == word
    assert isinstance(child.value, str) is not _is_json_or_core(word)
    assert not isinstance(child.value, str) or child.value == word


def _is_json_or_core(word: str) -> bool:
    if word in ("true", "True", "TRUE", "false", "False", "FALSE", "null", "Null", "NULL", "~"):
        return True
    try:
        return isinstance(json.loads(word), int | float)
    except ValueError:
        return False


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"))
    )
)
def test_a_block_of_text_keeps_its_lines(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in ["first", *lines, "last"])
    block = "".join(f"  {line}\n" for line in ["first", *lines, "last"])
    assert parsed(f"a: |\n{block}").data == {"a": text}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text("abc: #-é", max_size=5),
        lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text("abc", min_size=1), child, max_size=4),
        max_leaves=20,
    )
)
def test_json_is_yaml(value: Any) -> None:
    assert parsed(json.dumps(value, ensure_ascii=False)).data == value


def test_a_value_and_its_name_know_their_places() -> None:
    node = parsed("a: 1\nb:\n  - é😀: {c: 5}\n")
    value = node["b"].elements[0]["é😀"]["c"]
    assert str(value.location) == "x.yml:3:13"
    assert str(value.key_location) == "x.yml:3:10"
    assert value.location.excerpt == "  - é😀: {c: 5}"


def test_a_block_of_text_begins_a_line_below_its_indicator() -> None:
    node = parsed("a: b\nc: |\n\n  text\nd: 'x\n  y'\n")
    assert node["a"].text_line == 1
    assert node["c"].text_line == 3
    assert node["d"].text_line == 5


def test_aliases_of_ordinary_size_are_followed() -> None:
    assert parsed("a: &x [1, 2]\nb: *x\n").data == {"a": [1, 2], "b": [1, 2]}


def test_the_name_of_an_aliased_value_is_where_the_alias_stands() -> None:
    node = parsed("a: &x 1\nb: *x\n")
    assert str(node["b"].key_location) == "x.yml:2:1"


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = problems_in("\n".join(levels))
    assert problem.startswith("BF108 x.yml:")
    assert "more than 100,000 values" in problem


def test_an_alias_bomb_of_long_texts_is_refused() -> None:
    text = f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 20)}]"
    assert problems_in(text)[0].startswith("BF108")


def test_an_alias_to_what_it_stands_in_is_refused() -> None:
    assert problems_in("a: &a [*a]") == ["BF108 x.yml:1:8: The alias `*a` refers to the very thing it stands in."]


def test_a_deep_nest_is_refused_and_does_not_overflow() -> None:
    assert re.match(r"BF110 x\.yml:1:\d+: This is nested more than 64 levels deep", problems_in("[" * 100_000)[0])
    assert problems_in("".join(f"{' ' * n}a:\n" for n in range(500)))[0].startswith("BF110 x.yml:65:65")


def test_a_duplicate_key_names_its_lines() -> None:
    problems = ProblemList()
    parse_yaml("a: 1\nb: 2\n'a': 3\n", "x.yml", problems)
    (problem,) = problems.items
    assert str(problem.location) == "x.yml:3:1"
    assert "line 1" in problem.hint


@pytest.mark.parametrize("tag", ["!x", "!!str", "!!python/object/apply:os.system", "!", "!<tag:example.org,2026:x>"])
def test_a_tag_is_refused(tag: str) -> None:
    (problem,) = problems_in(f"a: {tag} [echo]" if tag != "!" else "a: ! echo")
    assert problem.startswith("BF107 x.yml:1:4")


def test_a_merge_key_is_refused_and_a_quoted_one_is_a_name() -> None:
    assert problems_in("a: &a {b: 1}\nc: {<<: *a}") == ["BF113 x.yml:2:5: Merge keys (`<<`) are not used here."]
    assert parsed('"<<": 1').data == {"<<": 1}


def test_a_second_document_is_refused() -> None:
    assert problems_in("a: 1\n---\nb: 2\n") == ["BF109 x.yml:2:1: The file holds a second YAML document."]
    assert parsed("---\na: 1\n...\n").data == {"a": 1}


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff"])
def test_an_invisible_character_is_refused_at_its_place(character: str) -> None:
    (problem,) = problems_in(f"a: 1\nbé: x{character}y\n")
    assert problem.startswith("BF111 x.yml:2:6")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: b: c", "BF100 x.yml:1:5"),
        ("a: [1, 2", "BF100 x.yml:1:"),
        ('a: "x', "BF100 x.yml:1:"),
        ("a:\n  - b\n c: d", "BF100 x.yml:3:2"),
        ("a: @b", "BF100 x.yml:1:4: A value cannot begin with `@`."),
        ('a: "\\q"', "BF100 x.yml:1:5: This backslash escape is not known."),
        ("a:\n\tb: 1", "BF114 x.yml:2:1: A tab indents this line."),
        ("{a: 1}}", "BF100 x.yml:1:7"),
        ("a: {{ row.text }}", "BF116 x.yml:1:5"),
    ],
)
def test_broken_yaml_is_explained_at_its_place(text: str, start: str) -> None:
    problems = problems_in(text)
    assert problems[0].startswith(start)
    assert len(problems) == 1


@pytest.mark.parametrize("text", ["user: {{ row.text }}", "user: {{ row.text }} please", "- {% if x %}a"])
def test_a_template_without_quotes_is_recognised(text: str) -> None:
    problems = ProblemList()
    parse_yaml(text, "x.yml", problems)
    assert "must stand in quotes" in problems.items[0].hint


@given(st.text("ab:- \n\t[]{},&*!|>'\"#%@?~0\\", max_size=30))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    problems = ProblemList()
    node = parse_yaml(text, "x.yml", problems)
    assert node is None or isinstance(node, ConfigNode)


@given(st.text("ab:- \n[]{},'\"01.", max_size=20))
def test_what_we_read_is_what_a_yaml_library_reads(text: str) -> None:
    problems = ProblemList()
    node = parse_yaml(text, "x.yml", problems)
    if node is None or problems.items:
        return
    expected = yaml.load(text, Loader=yaml.BaseLoader)
    assert _raw(node) == expected


def _raw(node: ConfigNode) -> Any:
    if node.kind == "mapping":
        return {name: _raw(child) for name, child in node.entries.items()}
    return [_raw(child) for child in node.elements] if node.kind == "list" else node.raw


def test_all_errors_of_a_file_come_at_once(tmp_path: Path) -> None:
    text = (
        "modle: cheap\ntags: nightly\nmax_tokens: 1_000\nuser: {{ row.text }}\nmeta: {a: *b}\n"
        "thinking: on\nmin_success: 95\ndescription:\ninput: {file: a.csv, rows: []}\ncache: {}\ncache: off\n"
    )
    found = [problem[: problem.index(": ")] for problem in checked(tmp_path, text)]
    assert sorted(found) == sorted(
        [
            "BF116 x.yml:4:8",
            "BF108 x.yml:5:11",
            "BF106 x.yml:11:1",
            "BF101 x.yml:1:1",
            "BF102 x.yml:2:7",
            "BF102 x.yml:3:13",
            "BF104 x.yml:6:11",
            "BF117 x.yml:7:14",
            "BF102 x.yml:8:13",
            "BF117 x.yml:9:28",
            "BF105 x.yml:9:22",
            "BF117 x.yml:10:1",
        ]
    )


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("modle: x", "`modle` is not a job setting.", "Did you mean `model`?"),
        ("max-tokens: 5", "`max-tokens` is not a job setting.", "Did you mean `max_tokens`?"),
        ("description: 5", "`description` must be text, but is a number.", 'Put it in quotes: "5".'),
        ("enabled: no", "`enabled` must be true or false, but is text.", "Write false."),
        ("tags: a", "`tags` must be a list, but is text.", "Write a list: [a]."),
        ("max_tokens: 0x1F", "`max_tokens` must be a whole number, but is text.", "Write plain digits"),
        ("max_tokens: 1.5", "`max_tokens` must be a whole number, but is a number with a fraction.", ""),
        (
            "effort: hihg",
            "`effort` must be one of `low`, `medium`, `high`, `xhigh`, `max`, but is `hihg`.",
            "Did you mean",
        ),
        ("user: {fiel: x}", "`fiel` is not a file setting.", "Did you mean `file`?"),
        ("output: {fields: {a: {one_of: x, list_of: text}}}", "`a` takes exactly one of", ""),
        ("messages: []", "`messages` must not be empty.", ""),
        ("messages: [{role: user}]", "`content` is missing in item 1 of `messages`.", "What is said"),
        ("user:", "`user` must be text, {file: ...} or a list of blocks, but is empty.", "Nothing stands after"),
        ("tool_choice: [a]", "`tool_choice` must be `auto`, `any`, `none`, a tool's name or the API's", ""),
    ],
)
def test_a_wrong_setting_is_explained_in_words(tmp_path: Path, setting: str, message: str, hint: str) -> None:
    problems = ProblemList()
    tree = SourceTree(write_files(tmp_path, {"x.yml": setting}))
    read_config_file(tree, "x.yml", "job.schema.json", problems)
    assert problems.items[0].message.startswith(message)
    assert problems.items[0].hint.startswith(hint)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    assert checked(tmp_path, "# nothing\n") == ["BF118 x.yml:1:1: The file is empty."]


def test_a_list_where_settings_belong_is_told(tmp_path: Path) -> None:
    assert checked(tmp_path, "- a\n") == ["BF102 x.yml:1:1: The file must be a mapping of settings, but is a list."]


def test_a_key_of_the_api_never_shows(tmp_path: Path) -> None:
    problems = ProblemList()
    tree = SourceTree(write_files(tmp_path, {"x.yml": "name: {a: sk-ant-api03-secret}"}))
    read_config_file(tree, "x.yml", "project.schema.json", problems)
    assert problems.items[0].location is not None
    assert problems.items[0].location.excerpt == "name: {a: *******************}"


def test_the_schemas_are_found_beside_the_package_or_in_it() -> None:
    assert (schemas_folder() / "job.schema.json").is_file()
    assert sorted(config_files.SCHEMAS) == sorted(path.name for path in schemas_folder().glob("*.schema.json"))
    assert len(config_files.SCHEMAS) >= 3
