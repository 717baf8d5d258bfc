"""Jobs that read each other stand in waves, and a graph that cannot be run is named with its places."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from batchforge.graph import JobGraph, find_cycle
from tests.project_files import PROJECT, load, problems_of, write_project

DIAMOND = JobGraph({"last": ("left", "right"), "left": ("first",), "right": ("first",), "first": (), "alone": ()})


def job(source: str, more: str = "") -> str:
    return f"input: {{{source}}}\nuser: x\n{more}"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Each job reads some of those before it; the order in which they are written tells nothing."""
    names = [f"job_{number}" for number in range(draw(st.integers(1, 12)))]
    parents = {name: tuple(draw(st.sets(st.sampled_from(names[:i])))) if i else () for i, name in enumerate(names)}
    return {name: parents[name] for name in draw(st.permutations(names))}


def test_waves_follow_what_jobs_need() -> None:
    assert list(DIAMOND.waves(DIAMOND.parents)) == [["first", "alone"], ["left", "right"], ["last"]]


def test_a_job_that_was_not_chosen_still_holds_its_children_apart() -> None:
    assert list(DIAMOND.waves({"last", "first"})) == [["first"], ["last"]]
    assert list(DIAMOND.waves({"last", "alone"})) == [["last", "alone"]]
    assert list(DIAMOND.waves(())) == []


def test_ancestors_and_descendants_go_as_far_as_they_are_asked() -> None:
    assert DIAMOND.ancestors("last") == {"left", "right", "first"}
    assert DIAMOND.ancestors("last", 1) == {"left", "right"}
    assert DIAMOND.ancestors("last", 0) == set()
    assert DIAMOND.descendants("first") == {"left", "right", "last"}


@given(graphs(), st.data())
def test_a_wave_is_as_early_as_its_chosen_ancestors_allow(
    parents: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    graph = JobGraph(parents)
    chosen = data.draw(st.sets(st.sampled_from(sorted(parents))))
    waves = list(graph.waves(chosen))
    assert sorted(name for wave in waves for name in wave) == sorted(chosen)
    for number, wave in enumerate(waves):
        before = {name for earlier in waves[:number] for name in earlier}
        for name in wave:
            needed = graph.ancestors(name) & chosen
            assert needed <= before
            assert not number or needed & set(waves[number - 1])


@given(graphs(), st.data())
def test_a_cycle_is_found_with_its_path(parents: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    assert find_cycle(parents) == []
    name = data.draw(st.sampled_from(sorted(parents)))
    inner = data.draw(st.sampled_from(sorted(JobGraph(parents).ancestors(name) | {name})))
    parents[inner] = (*parents[inner], name)
    path = find_cycle(parents)
    assert path[0] == path[-1]
    assert all(child in parents[parent] for parent, child in pairwise(path))


def test_a_long_chain_is_no_trouble() -> None:
    chain = JobGraph({f"j{n}": (f"j{n - 1}",) if n else () for n in range(5_000)})
    assert find_cycle(chain.parents) == []
    assert sum(1 for _ in chain.waves(chain.parents)) == 5_000


def test_a_job_knows_its_parents_and_where_it_names_them(tmp_path: Path) -> None:
    files = {
        "jobs/a.yml": job("file: a.csv"),
        "jobs/b.yml": job("ref: a"),
        "jobs/c.yml": job("ref: b", "depends_on: [a]\n"),
    }
    _, jobs, problems = load(write_project(tmp_path, files))
    assert problems == []
    assert jobs["c"].parents == ("b", "a")
    assert str(jobs["c"].parent_locations["a"]) == "jobs/c.yml:3:14"
    assert str(jobs["c"].parent_locations["b"]) == "jobs/c.yml:1:14"


def test_a_cycle_names_its_path(tmp_path: Path) -> None:
    files = {
        "jobs/a.yml": job("file: a.csv", "depends_on: [c]\n"),
        "jobs/b.yml": job("ref: a"),
        "jobs/c.yml": job("ref: b"),
    }
    assert problems_of(tmp_path, files) == ["BF181 jobs/a.yml:3:14: These jobs need each other: a -> c -> b -> a."]


def test_a_job_that_reads_itself_is_a_cycle(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, {"jobs/a.yml": job("ref: a")})
    assert problem == "BF181 jobs/a.yml:1:14: These jobs need each other: a -> a."


def test_a_parent_with_errors_of_its_own_is_not_called_missing(tmp_path: Path) -> None:
    files = {"jobs/a.yml": job("file: a.csv", "modle: x\n"), "jobs/b.yml": job("ref: a")}
    assert [line.split()[0] for line in problems_of(tmp_path, files)] == ["BF101"]


def test_a_disabled_parent_is_an_error_unless_the_child_is_disabled_too(tmp_path: Path) -> None:
    files = {"jobs/a.yml": job("file: a.csv", "enabled: false\n"), "jobs/b.yml": job("ref: a")}
    assert problems_of(tmp_path, files) == ["BF180 jobs/b.yml:1:14: The job `a` is disabled."]
    files["jobs/b.yml"] += "enabled: false\n"
    assert problems_of(tmp_path, files) == []


SOURCES = """\
sources:
  tickets: {file: data/tickets.csv, key: id, types: {id: integer}, where: row.text, tests: [{not_null: text}]}
exposures:
  board: {type: dashboard, depends_on: [a, {source: tickets}], owner: {name: Support}}
"""


def test_a_source_is_read_as_it_was_declared(tmp_path: Path) -> None:
    files = {"batchforge.yml": PROJECT + SOURCES, "jobs/a.yml": job("source: tickets, key: text, where: row.id > 3")}
    project, jobs, problems = load(write_project(tmp_path, files))
    assert problems == []
    rows = jobs["a"].input
    assert (rows.files, rows.source, rows.key) == ("data/tickets.csv", "tickets", ("text",))
    assert (dict(rows.types), rows.where) == ({"id": "integer"}, "(row.text) and (row.id > 3)")
    assert [test.name for test in project.sources["tickets"].tests] == ["not_null_text"]
    assert project.exposures["board"].jobs == ("a",)
    assert project.exposures["board"].sources == ("tickets",)


def test_how_a_source_is_read_is_said_where_it_is_declared(tmp_path: Path) -> None:
    files = {"batchforge.yml": PROJECT + SOURCES, "jobs/a.yml": job("source: tickets, delimiter: ;")}
    assert problems_of(tmp_path, files) == ["BF105 jobs/a.yml:1:26: `delimiter` does nothing for `source`."]


def test_an_exposure_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    exposures = "exposures:\n  board: {type: dashboard, depends_on: [classify_ticket, {source: tickets}]}\n"
    assert problems_of(tmp_path, {"batchforge.yml": PROJECT + exposures}) == [
        "BF180 batchforge.yml:10:41: There is no job `classify_ticket`.",
        "BF183 batchforge.yml:10:67: There is no source `tickets`.",
    ]
