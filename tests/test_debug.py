"""`batchforge debug`: what would be used and what is wrong, and never a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.cli import run_command
from batchforge.emulator import EmulatorServer
from tests.builders import ProjectFiles, copy_example
from tests.postgres_server import PostgresServer

KEY = "sk-ant-api03-a-key-of-a-test"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCHFORGE_PROJECT_DIR", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    return tmp_path


def debug(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    exit_code = run_command(["debug", "--output", "json", *words])
    return exit_code, json.loads(capsys.readouterr().out)


def codes(value: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in value["problems"]]


def used(value: dict[str, Any], what: str) -> dict[str, Any]:
    (choice,) = [choice for choice in value["used"] if choice["what"] == what]
    return dict(choice)


def test_a_sound_project_has_no_problems(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, value = debug(capsys, "--project-dir", str(copy_example("tickets", here)))
    assert (exit_code, value["problems"]) == (0, [])
    assert {"batchforge", "python", "anthropic", "sqlite", "duckdb"} <= value["versions"].keys()
    assert value["target"]["origin"] == "emulator local"


def test_without_a_project_the_versions_are_shown_and_the_problem_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, value = debug(capsys)
    assert (exit_code, codes(value)) == (2, ["BF120"])
    assert value["versions"]["batchforge"]


def test_a_target_that_answers_is_reachable(project: ProjectFiles, capsys: pytest.CaptureFixture[str]) -> None:
    project.run()
    exit_code, value = debug(capsys, "--project-dir", str(project.root))
    assert exit_code == 0
    assert value["server"]["reachable"] == "yes"
    assert value["server"]["models"] > 0
    assert value["state"]["integrity"] == "ok"
    assert value["state"]["schema"] == value["state"]["schema_known_to_this_version"]
    assert value["state"]["results"] == 3


def test_asking_for_the_models_costs_nothing(
    project: ProjectFiles, emulator: EmulatorServer, capsys: pytest.CaptureFixture[str]
) -> None:
    debug(capsys, "--project-dir", str(project.root))
    assert emulator.counters().requests_accepted == 0


def test_a_server_that_is_not_there_is_a_problem(project: ProjectFiles, capsys: pytest.CaptureFixture[str]) -> None:
    project.write_project(base_url="http://127.0.0.1:9")
    exit_code, value = debug(capsys, "--project-dir", str(project.root))
    assert (exit_code, codes(value)) == (2, ["BF690"])
    assert debug(capsys, "--offline", "--project-dir", str(project.root))[0] == 0


def test_a_missing_key_is_a_problem(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(copy_example("tickets", here))
    exit_code, value = debug(capsys, "--target", "prod", "--project-dir", folder)
    assert (exit_code, codes(value)) == (2, ["BF132"])
    assert value["target"]["key"] == "missing, from ANTHROPIC_API_KEY"


def test_a_key_is_never_shown_not_even_a_part(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    folder = str(copy_example("tickets", here))
    run_command(["debug", "--target", "prod", "--offline", "--project-dir", folder])
    told = capsys.readouterr()
    assert "present, from ANTHROPIC_API_KEY" in told.out
    assert not any(part in told.out + told.err for part in (KEY, KEY[:12], KEY[-8:]))


def test_a_host_that_is_not_allowed_is_a_problem(
    project: ProjectFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BATCHFORGE_ALLOWED_HOSTS", raising=False)
    project.write_project(base_url="https://gateway.example")
    exit_code, value = debug(capsys, "--project-dir", str(project.root))
    assert (exit_code, codes(value)) == (2, ["BF135", "BF136"])


def test_a_damaged_state_is_a_problem(project: ProjectFiles, capsys: pytest.CaptureFixture[str]) -> None:
    project.run()
    (path,) = project.root.glob(".batchforge/state-*.db")
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    exit_code, value = debug(capsys, "--offline", "--project-dir", str(project.root))
    assert (exit_code, codes(value)) == (2, ["BF503"])


def test_the_folder_says_what_it_was_chosen_over(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tickets, reviews = copy_example("tickets", here), copy_example("reviews", here)
    monkeypatch.chdir(tickets)
    monkeypatch.setenv("BATCHFORGE_PROJECT_DIR", str(tickets))
    choice = used(debug(capsys, "--project-dir", str(reviews))[1], "project folder")
    assert (choice["used"], choice["source"]) == (str(reviews), "--project-dir")
    assert choice["over"] == [f"{tickets} from BATCHFORGE_PROJECT_DIR", f"{tickets} from here upward"]


def test_the_target_says_what_it_was_chosen_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(copy_example("tickets", here))
    value = debug(capsys, "--target", "prod", "--offline", "--project-dir", folder)[1]
    assert used(value, "target") == {
        "what": "target",
        "used": "prod",
        "source": "--target",
        "over": ["local from default_target"],
    }


def test_a_job_says_where_each_setting_comes_from(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy_example("tickets", here)
    (folder / "jobs/triage/_defaults.yml").write_text("max_tokens: 500\n")
    value = debug(capsys, "--job", "classify_tickets", "--project-dir", str(folder))[1]
    choice = used(value, "classify_tickets: max_tokens")
    assert (choice["used"], choice["source"]) == ("500", "jobs/triage/_defaults.yml:1")
    assert choice["over"] == ["400 from batchforge.yml:11"]


def test_it_shows_all_problems_of_the_project(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy_example("tickets", here)
    (folder / "jobs/bad.yml").write_text("modle: x\n")
    exit_code, value = debug(capsys, "--project-dir", str(folder))
    assert exit_code == 2
    assert "BF101" in codes(value)


def test_an_unknown_job_is_a_problem(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(copy_example("tickets", here))
    assert codes(debug(capsys, "--job", "clasify", "--project-dir", folder)[1]) == ["BF903"]


def test_declared_databases_are_asked(
    project: ProjectFiles,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WAREHOUSE", postgres.new_database())
    project.write("notes.db", b"this is no database, but a text")
    warehouse = "{{ env_var('WAREHOUSE') }}"
    urls = {"embedded": "duckdb://", "later": "sqlite:///later.db", "warehouse": warehouse}
    project.write_project(connections={name: {"url": url} for name, url in urls.items()})
    exit_code, value = debug(capsys, "--project-dir", str(project.root))
    assert (exit_code, value["problems"]) == (0, [])
    assert value["connections"] == {
        "embedded": "embedded",
        "later": "there is no such file yet",
        "warehouse": "reachable",
    }
    monkeypatch.setenv("WAREHOUSE", "postgresql://nobody:geheim@127.0.0.1:9/none")
    run_command(["debug", "--project-dir", str(project.root)])
    said = capsys.readouterr()
    assert "BF238" in said.out
    assert "geheim" not in said.out + said.err
    project.write_project(connections={"warehouse": {"url": warehouse}, "notes": {"url": "sqlite:///notes.db"}})
    exit_code, value = debug(capsys, "--project-dir", str(project.root))
    assert (exit_code, codes(value)) == (2, ["BF238", "BF238"])
    assert "connections" not in debug(capsys, "--offline", "--project-dir", str(project.root))[1]
