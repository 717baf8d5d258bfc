"""batchforge.yml: targets that keep secrets, variables, and where things live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import BatchForgeError, ProblemList, UsageError
from batchforge.project import Project, Target, find_project, load_project
from batchforge.target import Origin
from tests.project_files import PROJECT, lines_of, load, problems_of, write_project

URL = "https://api.anthropic.com"


def project_with(tmp_path: Path, targets: str, more: str = "", **cli_vars: Any) -> Project:
    problems = ProblemList()
    text = f"name: support\nversion: 1\ntargets:\n{targets}{more}"
    project = load_project(write_project(tmp_path, {"batchforge.yml": text}), problems=problems, cli_vars=cli_vars)
    assert not problems.items, lines_of(problems.items)
    return project


def target_with(tmp_path: Path, settings: str) -> Target:
    return project_with(tmp_path, f"  prod: {settings}\n").target()


def target_problems(tmp_path: Path, *targets: str) -> list[str]:
    lines = "".join(f"  {target}\n" for target in targets)
    return problems_of(tmp_path, {"batchforge.yml": PROJECT.replace("  local: {type: emulator}\n", lines)})


def code_of(error: pytest.ExceptionInfo[BatchForgeError]) -> str:
    return error.value.problems[0].code


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "BATCHFORGE_ALLOWED_HOSTS", "BATCHFORGE_ENV_ALLOW", "KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_project_is_found_from_below(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    assert find_project(root / "jobs" / "triage") == root
    with pytest.raises(UsageError) as error:
        find_project(tmp_path)
    assert code_of(error) == "BF120"


def test_a_project_knows_where_things_live(tmp_path: Path) -> None:
    project = project_with(
        tmp_path, "  local: {type: emulator}\n  prod: {type: claude, outputs: ./results/}\n", "default_target: prod\n"
    )
    assert project.name == "support"
    assert project.state_folder == tmp_path / ".batchforge"
    assert project.manifest_path == tmp_path / "target" / "manifest.json"
    assert project.run_results_path == tmp_path / "target" / "run_results.json"
    assert project.compiled_path("a") == tmp_path / "target" / "compiled" / "a.jsonl"
    assert project.outputs_folder(project.target("local")) == tmp_path / "target" / "local"
    assert project.outputs_folder(project.target()) == tmp_path / "results"


def test_the_only_target_is_the_default(tmp_path: Path) -> None:
    assert project_with(tmp_path, "  one: {type: emulator}\n").target().name == "one"
    assert target_problems(
        tmp_path,
        "one: {type: emulator}",
        "two: {type: emulator}",
    ) == ["BF130 batchforge.yml:3:17: There is no target `local`."]
    text = PROJECT.replace("default_target: local\n", "").replace("targets:\n", "targets:\n  b: {type: emulator}\n")
    assert problems_of(tmp_path, {"batchforge.yml": text}) == [
        "BF103 batchforge.yml:3:1: `default_target` is missing, and there is more than one target."
    ]


def test_an_unknown_target_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        project_with(tmp_path, "  prod: {type: claude}\n").target("prodd")
    assert code_of(error) == "BF130"
    assert error.value.problems[0].hint == "Did you mean `prod`?"


def test_a_key_is_read_only_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_with(tmp_path, "{type: claude, api_key: \"{{ env_var('KEY') }}\"}")
    with pytest.raises(BatchForgeError) as error:
        target.api_key()
    assert code_of(error) == "BF132"
    assert "KEY" in str(error.value)
    monkeypatch.setenv("KEY", "k1")
    assert target.api_key() == "k1"
    assert target.origin() == Origin("claude", "api.anthropic.com")


def test_a_key_comes_from_the_usual_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k2")
    assert target_with(tmp_path, "{type: claude}").api_key() == "k2"


def test_env_var_takes_a_default_and_text_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_with(tmp_path, "{type: claude, base_url: \"http://127.0.0.1:{{ env_var('PORT', '81') }}/v\"}")
    assert target.base_url() == "http://127.0.0.1:81/v"
    monkeypatch.setenv("PORT", "82")
    assert target.base_url() == "http://127.0.0.1:82/v"


def test_a_key_in_the_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    _, _, problems = load(
        write_project(
            tmp_path, {"batchforge.yml": PROJECT.replace("{type: emulator}", "{type: claude, api_key: abcd}")}
        )
    )
    (problem,) = problems
    assert problem.code == "BF136"
    assert problem.location is not None
    assert "abcd" not in problem.location.excerpt + problem.message + problem.hint
    assert target_problems(tmp_path, "local: {type: claude, headers: {X-Api-Key: abcd}}")[0].startswith("BF136")


def test_a_server_on_this_machine_may_have_a_key_in_the_file(tmp_path: Path) -> None:
    target = target_with(tmp_path, "{type: claude, base_url: 'http://localhost:8080/', api_key: any}")
    assert (target.api_key(), target.base_url()) == ("any", "http://localhost:8080")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:8080", "https://api.anthropic.com", "http://localhost"]
)
def test_the_api_and_this_machine_are_allowed(tmp_path: Path, url: str) -> None:
    assert target_with(tmp_path, f"{{type: claude, base_url: '{url}'}}").base_url() == url


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://api.anthropic.com.evil.example",
        "https://localhost.evil.example",
        "https://2130706433",
        "https://10.0.0.1",
        "https://api.anthropic.co",
    ],
)
def test_another_host_gets_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    target = target_with(tmp_path, f"{{type: claude, base_url: '{url}'}}")
    for ask in (target.api_key, target.base_url, target.origin):
        with pytest.raises(BatchForgeError) as error:
            ask()
        assert code_of(error) == "BF135"


def test_another_host_can_be_allowed_outside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_with(
        tmp_path, "{type: claude, base_url: 'https://gateway.example:8443/claude', api_key: \"{{ env_var('KEY') }}\"}"
    )
    monkeypatch.setenv("KEY", "k")
    for allowed in ("a.example, GATEWAY.example", "gateway.example:8443"):
        monkeypatch.setenv("BATCHFORGE_ALLOWED_HOSTS", allowed)
        assert target.api_key() == "k"
    monkeypatch.setenv("BATCHFORGE_ALLOWED_HOSTS", "gateway.example:443")
    with pytest.raises(BatchForgeError):
        target.api_key()


@pytest.mark.parametrize(
    "url",
    [
        "http://api.anthropic.com",
        "ftp://localhost",
        "https://user:pw@api.anthropic.com",
        "https://api.anthropic.com\\\\@evil.example",
        "https://api.anthropic.com?x=1",
        "https://api.anthropic.com#x",
        "https://",
        "api.anthropic.com",
        "https://localhost:99999",
        "https://[::1",
    ],
)
def test_an_address_that_is_not_plain_and_encrypted_is_refused_when_it_is_read(tmp_path: Path, url: str) -> None:
    (problem,) = target_problems(tmp_path, f'local: {{type: claude, base_url: "{url}"}}')
    assert problem.startswith("BF134 batchforge.yml:5:35")


def test_a_target_takes_no_other_template(tmp_path: Path) -> None:
    for text in ("{{ vars.x }}", "{{ env_var(name) }}", "{% raw %}", "{{ env_var('A') }}{{ 1 }}"):
        assert target_problems(tmp_path, f'local: {{type: claude, base_url: "{text}"}}')[0].startswith("BF131")
    assert target_problems(tmp_path, "local: {type: claude, outputs: \"{{ env_var('A') }}\"}")[0].startswith("BF131")


def test_an_emulator_needs_no_key_and_has_no_address(tmp_path: Path) -> None:
    target = target_with(tmp_path, "{type: emulator, processing_s: 0.5, scenario: slow.yml}")
    assert target.origin() == Origin("emulator", "prod")
    assert (target.processing_s, target.scenario) == (0.5, "slow.yml")
    with pytest.raises(ValueError, match="address"):
        target.base_url()


def test_settings_of_one_kind_of_target_are_refused_for_the_other(tmp_path: Path) -> None:
    assert target_problems(tmp_path, "local: {type: emulator, api_key: x}") == [
        "BF101 batchforge.yml:5:27: `api_key` is not an emulator target setting."
    ]
    assert target_problems(tmp_path, "local: {type: claude, processing_s: 1}")[0].startswith("BF101")


def test_target_settings_have_their_defaults(tmp_path: Path) -> None:
    target = target_with(tmp_path, "{type: claude, betas: [b1], headers: {x-team: a}, workspace_id: w, timeout_s: 5}")
    assert target.anthropic_version == "2026-10-21"
    assert (target.timeout_s, target.settle_after_s, target.poll_interval_s) == (5, 900, 10)
    assert (target.betas, target.headers(), target.workspace_id) == (("b1",), {"x-team": "a"}, "w")


def test_settling_may_not_be_faster_than_a_call_that_can_still_arrive(tmp_path: Path) -> None:
    (problem,) = target_problems(tmp_path, "local: {type: claude, settle_after_s: 600}")
    assert problem == "BF117 batchforge.yml:5:41: `settle_after_s` (600) must be longer than `timeout_s` (600)."


def test_state_lies_in_the_project_by_origin(tmp_path: Path) -> None:
    folder = f"sqlite:///{tmp_path}/.batchforge"
    project = project_with(
        tmp_path,
        "  local: {type: emulator}\n  dev: {type: claude, outputs: dev}\n  prod: {type: claude}\n"
        "  eu: {type: claude, outputs: eu, workspace_id: Wrk, state: 'sqlite:///x/y.db'}\n"
        "  abs: {type: claude, outputs: abs, state: 'sqlite:////var/y.db'}\n",
        "default_target: local\n",
    )
    assert project.target("local").state_url(project) == f"{folder}/state-emulator-local.db"
    assert project.target("prod").state_url(project) == f"{folder}/state-claude-api.anthropic.com.db"
    assert project.target("dev").state_url(project) == project.target("prod").state_url(project)
    assert project.target("eu").state_url(project) == f"sqlite:///{tmp_path}/x/y.db"
    assert project.target("abs").state_url(project) == "sqlite:////var/y.db"


def test_different_origins_have_different_slugs_on_any_file_system() -> None:
    origins = [
        Origin("claude", "a-b"),
        Origin("claude", "a", "b"),
        Origin("claude", "a", "B"),
        Origin("claude", "a:b"),
        Origin("claude", "a_b"),
        Origin("emulator", "a-b"),
        Origin("claude", "a", "x" * 300),
        Origin("claude", "a", "../../x"),
    ]
    slugs = [origin.slug for origin in origins]
    assert len({slug.lower() for slug in slugs}) == len(origins)
    assert all("/" not in slug and len(slug) < 100 for slug in slugs)
    assert Origin("claude", "api.anthropic.com", "wrkspc_01").slug == "claude-api.anthropic.com-wrkspc_01-8520dd37"


def test_two_real_targets_may_not_share_outputs(tmp_path: Path) -> None:
    assert target_problems(
        tmp_path, "local: {type: claude, outputs: a/b}", "prod: {type: claude, outputs: ./A//b/}"
    ) == ["BF139 batchforge.yml:6:33: The targets `local` and `prod` would write the same outputs."]


@pytest.mark.parametrize("folder", ["target", "target/x", ".batchforge", "../x", "/x", "~/x"])
def test_outputs_may_not_lie_outside_or_where_they_would_be_removed(tmp_path: Path, folder: str) -> None:
    assert target_problems(tmp_path, f"local: {{type: claude, outputs: {folder}}}")[0].startswith("BF138")


def test_vars_come_from_the_file_and_from_the_command_line(tmp_path: Path) -> None:
    text = "vars: {a: 1, b: {default: x}, c: {required: true}, d: {e: [1]}, f: {required: true, default: 2}}\n"
    project = project_with(tmp_path, "  local: {type: emulator}\n", text, a="7", c="z")
    assert project.vars == {"a": 7, "b": "x", "c": "z", "d": {"e": [1]}, "f": 2}
    assert project.required_vars == {}


def test_a_value_of_the_command_line_has_the_type_that_is_declared(tmp_path: Path) -> None:
    file = {"batchforge.yml": PROJECT + "vars: {number: 1, switch: false, text: '1'}\n"}
    project, _, problems = load(write_project(tmp_path, file), number="2.5", switch="true", text="007")
    assert not problems
    assert project.vars == {"number": 2.5, "switch": True, "text": "007"}
    assert problems_of(tmp_path, file, number="many") == [
        "BF142 --vars number: `many` is not a number, as it is declared."
    ]
    assert problems_of(tmp_path, file, switch="1")[0].startswith("BF142")


def test_a_prompt_sees_only_variables_that_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = {"batchforge.yml": PROJECT + "vars: {region: [\"in {{ env_var('REGION') }}\"]}\n"}
    monkeypatch.setenv("REGION", "eu")
    assert problems_of(tmp_path, file)[0].startswith("BF133 batchforge.yml:9:16")
    monkeypatch.setenv("BATCHFORGE_ENV_ALLOW", "A, REGION")
    assert load(write_project(tmp_path, file))[0].vars == {"region": ["in eu"]}
    monkeypatch.delenv("REGION")
    assert problems_of(tmp_path, file)[0].startswith("BF132")


def test_a_variable_given_on_the_command_line_asks_no_environment(tmp_path: Path) -> None:
    file = {"batchforge.yml": PROJECT + "vars: {region: \"{{ env_var('REGION') }}\"}\n"}
    assert load(write_project(tmp_path, file), region="us")[2] == []


def test_a_broken_project_file_does_not_hide_what_is_wrong_in_jobs(tmp_path: Path) -> None:
    files = {"batchforge.yml": "nam: x\n", "jobs/triage/classify_tickets.yml": "modle: x\n"}
    assert [line[:5] for line in problems_of(tmp_path, files)] == ["BF101", "BF103", "BF103", "BF103", "BF101"]
