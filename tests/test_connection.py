from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.connection import Connection
from batchforge.errors import BatchForgeError
from batchforge.spec import InputSpec, OutputSpec
from tests.project_files import PROJECT, lines_of, load, load_one, write_project

WAREHOUSE = 'connections: {warehouse: {url: "sqlite:///shop.db"}}\n'


def code_of(url: str, password: str | None = None) -> str:
    with pytest.raises(BatchForgeError) as caught:
        Connection("warehouse", url, password).resolve()
    return caught.value.problems[0].code


def test_a_job_reads_a_query_and_writes_a_table(tmp_path: Path) -> None:
    job = load_one(
        tmp_path,
        "input: {sql: queries/a.sql, connection: warehouse, key: [day, region], params: {day: '{{ vars.day }}'}, "
        "max_age: 12h}\nuser: x\noutput: {table: sales.labelled, connection: warehouse, key: day, create: true}\n",
        {"batchforge.yml": PROJECT + WAREHOUSE},
    )
    assert job.input == InputSpec(
        sql="queries/a.sql",
        connection="warehouse",
        key=("day", "region"),
        params={"day": "{{ vars.day }}"},
        max_age_s=43_200,
        location=job.input.location,
    )
    assert job.output == OutputSpec(table="sales.labelled", connection="warehouse", key=("day",), create=True)


def test_a_target_may_have_another_database_of_the_same_name(tmp_path: Path) -> None:
    text = PROJECT.replace("{type: emulator}", "{type: emulator, connections: {warehouse: {url: 'duckdb:///b.db'}}}")
    project, _, problems = load(write_project(tmp_path, {"batchforge.yml": text + WAREHOUSE}))
    assert not problems
    assert project.connection("warehouse", project.target("local")).url == "duckdb:///b.db"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("{sql: select 1, connection: house}", "BF184 jobs/triage/classify_tickets.yml:1:1: There is no connection"),
        ("{file: a.csv, connection: warehouse}", "BF105 jobs/triage/classify_tickets.yml:1:22: `connection` does"),
        ("{file: a.csv, max_age: 1h}", "BF105 jobs/triage/classify_tickets.yml:1:22: `max_age` does nothing"),
        ("{sql: select 1, delimiter: ';'}", "BF105 jobs/triage/classify_tickets.yml:1:24: `delimiter` does nothing"),
        ("{sql: select 1, max_age: soon}", "BF117 jobs/triage/classify_tickets.yml:1:33: `max_age` must be a number"),
    ],
)
def test_settings_that_mean_nothing_are_named(tmp_path: Path, settings: str, problem: str) -> None:
    files = {
        "batchforge.yml": PROJECT + WAREHOUSE,
        "jobs/triage/classify_tickets.yml": f"input: {settings}\nuser: x\n",
    }
    (found,) = lines_of(load(write_project(tmp_path, files))[2])
    assert found.startswith(problem)


def test_a_password_in_the_file_is_refused(tmp_path: Path) -> None:
    text = PROJECT + 'connections: {warehouse: {url: "postgresql://me:geheim@db.example/shop"}}\n'
    problems = lines_of(load(write_project(tmp_path, {"batchforge.yml": text}))[2])
    assert problems == ["BF136 batchforge.yml:9:32: The password stands in the file."]


def test_nothing_is_resolved_before_it_is_opened(tmp_path: Path) -> None:
    text = PROJECT + "connections: {warehouse: {url: \"{{ env_var('NOT_SET_HERE') }}\"}}\n"
    project, _, problems = load(write_project(tmp_path, {"batchforge.yml": text}))
    assert not problems
    with pytest.raises(BatchForgeError, match="NOT_SET_HERE"):
        project.connection("warehouse", project.target()).resolve()


def test_a_host_of_the_file_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "geheim")
    for url in (
        "postgresql://db.example/shop",
        "postgresql://{{ env_var('SECRET') }}@db.example/shop",
        "postgresql://localhost,db.example/shop",
        "postgresql:///shop?host=db.example",
        "postgresql://127.0.0.1/shop?hostaddr=10.0.0.7",
        "mysql+pymysql://db.example/shop",
        "mssql+pyodbc:///?odbc_connect=SERVER%3Ddb.example",
        "snowflake://",
        "sqlite+pysqlite:////etc/other.db",
    ):
        assert code_of(url, "{{ env_var('SECRET') }}") == "BF135", url
    monkeypatch.setenv("BATCHFORGE_ALLOWED_HOSTS", "db.example")
    assert Connection("w", "postgresql://db.example/shop").resolve().dialect == "postgresql"
    assert Connection("w", "mysql+pymysql://db.example/shop").resolve().dialect == "mysql"


def test_a_url_that_comes_whole_from_the_environment_is_its_owners_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://me:geheim@db.example/shop")
    found = Connection("w", "{{ env_var('WAREHOUSE_URL') }}").resolve()
    assert found.password == "geheim"
    assert code_of("{{ env_var('UNSET_URL', 'postgresql://db.example/a') }}") == "BF135"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://me:ge%20heim@db.example/shop")
    found = Connection("w", "{{ env_var('WAREHOUSE_URL') }}").resolve()
    assert "heim" not in repr(found)
    assert found.without_secrets(f"cannot reach {found.text} with ge heim") == "cannot reach *** with ***"
    monkeypatch.setenv("WAREHOUSE_URL", "no url but a secret")
    with pytest.raises(BatchForgeError) as caught:
        Connection("w", "{{ env_var('WAREHOUSE_URL') }}").resolve()
    assert "secret" not in str(caught.value)
