"""What a state keeps can be limited: no prompts, and nothing for longer than it serves."""

from __future__ import annotations

from batchforge.state.sqlite import SqliteState
from tests.builders import ProjectFiles

TEXT = "A violet unicycle."


def state_bytes(project: ProjectFiles) -> bytes:
    return b"".join(path.read_bytes() for path in project.path(".batchforge").glob("state-*"))


def test_without_prompts_rows_are_reused_and_outputs_are_made(project: ProjectFiles) -> None:
    project.write_project(store_prompts=False)
    project.write_prompt("Say it in the words of Zanzibar.\n")
    project.write_rows([TEXT, "A blue boat."])
    first, again = project.run(), project.run()
    assert (first.jobs[0].requests_sent, again.jobs[0].requests_sent) == (2, 0)
    assert len(project.rows_of()) == 2
    with project.state() as state:
        assert state.counts()["requests"] == 0
    assert b"Zanzibar" not in state_bytes(project)
    for words in (("state", "export"), ("show", "about", "--key", "0"), ("history", "about", "--key", "0"), ("plan",)):
        finished = project.cli(*words)
        assert finished.exit_code == 0, (words, finished.stderr)


def test_answers_that_serve_no_row_go_after_their_time(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A white horse."])
    project.write_project(retention_days=90)
    project.run()
    with project.state() as state:
        assert state.counts()["results"] == 4
    path = next(project.path(".batchforge").glob("state-*.db"))
    old = SqliteState(path)
    old.change(("UPDATE results SET stored_at = '2020-01-01T00:00:00.000000Z'", ()))
    old.close()
    project.run(sample=1)
    with project.state() as state:
        assert state.counts()["results"] == 1
    assert [event.data["answers"] for event in project.events if event.name == "answers_removed"] == [3]
