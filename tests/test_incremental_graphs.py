"""A random graph of jobs and a random edit: exactly the requests without an answer are sent, and the outputs are those
of a project that was never run before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchforge.emulator import EmulatorServer, Scenario
from tests.builders import ProjectFiles

WORDS = ("ash", "birch", "cedar", "elm")
FIELDS = {"kind": {"one_of": ["tree", "other"]}, "parts": {"list_of": "text"}}


@dataclass(frozen=True, slots=True)
class Node:
    """A job: what it reads, in which shape, and what it asks."""

    reads: int | None
    """The number of an earlier job; None: the file."""
    shape: str = "plain"
    prompt: str = "Say something"
    model: str = "claude-haiku-5-5"
    fields: tuple[str, ...] = ("kind", "parts")
    tags: tuple[str, ...] = ()
    answers: int = 1


Rows = tuple[tuple[str, str], ...]
Graph = tuple[Node, ...]

USER: Mapping[str, str] = {
    "plain": "{{ p.ask(row.kind | default(row.text)) }}",
    "each": "{{ p.ask(row.parts) }}",
    "distinct": "{{ p.ask(row.kind) }}",
    "chunk": "{{ p.ask(rows | length) }} {% for each in rows %}{{ each.kind }} {% endfor %}",
    "group": "{{ p.ask(row.kind) }} {% for each in rows %}{{ each.id | default('') }} {% endfor %}",
}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "each": {"each": "parts"},
    "distinct": {"distinct": "kind"},
    "chunk": {"chunk": 3},
    "group": {"group_by": "kind"},
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes: list[Node] = []
    for number in range(draw(st.integers(2, 4))):
        # A shape that reads `kind` and `parts` needs a job that answers with them.
        reads = draw(st.integers(0, number - 1)) if number and draw(st.booleans()) else None
        shape = "plain" if reads is None else draw(st.sampled_from(sorted(SHAPES)))
        nodes.append(Node(reads, shape, answers=draw(st.sampled_from([1, 1, 2]))))
    return tuple(nodes)


def edited(node: Node, what: str) -> Node:
    changes: Mapping[str, Mapping[str, Any]] = {
        "prompt": {"prompt": "Say it otherwise"},
        "model": {"model": "claude-sonnet-5"},
        "schema": {"fields": ("parts", "kind")},
        "tag": {"tags": ("nightly",)},
        "answers": {"answers": node.answers + 1},
    }
    return replace(node, **changes[what])


def write(project: ProjectFiles, graph: Graph, rows: Rows, macro: str) -> None:
    project.path("jobs/about.yml").unlink(missing_ok=True)
    project.write_rows([{"id": key, "text": text} for key, text in rows])
    project.write("prompts/ask.j2", f"{{% macro ask(what) %}}{macro}: {{{{ what }}}}{{% endmacro %}}")
    for number, node in enumerate(graph):
        source = {"file": "data/rows.jsonl", "key": "id"} if node.reads is None else {"ref": f"job{node.reads}"}
        output: dict[str, Any] = {"fields": {name: FIELDS[name] for name in node.fields}}
        if node.reads is not None:
            output["columns"] = []
        project.write_job(
            f"job{number}",
            input={**source, **SHAPES[node.shape]},
            system=None,
            user=f"{{% import 'ask.j2' as p %}}{node.prompt} {USER[node.shape]}",
            model=node.model,
            tags=list(node.tags),
            answers=node.answers,
            output=output,
        )


def outputs(project: ProjectFiles, graph: Graph) -> list[list[dict[str, Any]]]:
    """Without what a cache that was warm or cold makes of the bill."""
    return [
        [{name: value for name, value in row.items() if not name.endswith("_tokens")} for row in project.rows_of(file)]
        for file in (f"outputs/job{number}.jsonl" for number in range(len(graph)))
    ]


def asked(emulator: EmulatorServer) -> Counter[str]:
    """custom_id -> how often it was sent."""
    sent: Counter[str] = Counter()
    for received in emulator.received():
        if received.endpoint == "batches.create":
            sent.update(request["custom_id"] for request in received.json()["requests"])
    return sent


def run(folder: Path, name: str, versions: Sequence[tuple[Graph, Rows, str]]) -> tuple[Counter[str], list[Any]]:
    """Each version run in one project, one after the other; what was sent in all, and the last outputs."""
    scenario = Scenario(processing_time_s=0.0, retry_after_s=None)
    with EmulatorServer(folder / f"{name}.db", scenario=scenario) as emulator:
        project = ProjectFiles(folder / name, emulator)
        for graph, rows, macro in versions:
            write(project, graph, rows, macro)
            assert project.run().status == "ok"
        return asked(emulator), outputs(project, versions[-1][0])


ROWS = st.tuples(st.sampled_from("abcdef"), st.sampled_from(WORDS))


@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make it smaller would take minutes
)
@given(
    graphs(),
    st.lists(ROWS, min_size=1, max_size=5, unique_by=lambda row: row[0]),
    st.sampled_from(["row", "new row", "macro", "prompt", "model", "schema", "tag", "answers"]),
    st.integers(0, 3),
)
def test_an_edit_asks_what_has_no_answer_and_gives_what_a_run_from_nothing_gives(
    graph: Graph, rows: list[tuple[str, str]], edit: str, where: int
) -> None:
    before = (graph, tuple(rows), "About")
    match edit:
        case "row":
            after = (graph, ((rows[0][0], "quince"), *rows[1:]), "About")
        case "new row":
            after = (graph, (*rows, ("z", "quince")), "About")
        case "macro":
            after = (graph, tuple(rows), "Concerning")
        case _:
            number = where % len(graph)
            nodes = (*graph[:number], edited(graph[number], edit), *graph[number + 1 :])
            after = (nodes, tuple(rows), "About")
    with TemporaryDirectory() as folder:
        sent_before, _ = run(Path(folder), "before", [before])
        sent_fresh, outputs_fresh = run(Path(folder), "fresh", [after])
        sent, outputs_after = run(Path(folder), "edited", [before, after])
    assert sent == Counter(dict.fromkeys(sent_before.keys() | sent_fresh.keys(), 1))
    assert outputs_after == outputs_fresh
