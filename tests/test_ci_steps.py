"""Steps of the action, parsed from action.yml and run as a runner does, against a forge that answers as GitHub does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchforge.ci import sticky
from batchforge.ci.forge_http import ForgeApi, ForgeRefused
from batchforge.ci.github import PullRequest
from batchforge.ci.gitlab import MergeRequest
from batchforge.ci.step_files import MOST_SUMMARY_BYTES, Step
from batchforge.ci.sticky import Comment, Marker
from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scripted_answers import ScriptAnswers
from tests.action_runner import ACTION, ActionRunner, StepResult, pull_request
from tests.builders import TREE
from tests.conftest import StartEmulator
from tests.diff_examples import HOSTILE
from tests.forge_server import BOT, GITLAB_TOKEN, TOKEN, ForgeServer, forge_server
from tests.reviewing import ReviewedProject

KEY = ".:"


@pytest.fixture
def forge() -> Iterator[ForgeServer]:
    with forge_server() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> ReviewedProject:
    made = ReviewedProject(tmp_path / "project")
    made.repo.git("checkout", "-q", "-b", "change")
    made.replace("prompts/about.md.j2", "Say", "Tell")
    made.repo.commit("a change")
    return made


@pytest.fixture
def runner(project: ReviewedProject, forge: ForgeServer, tmp_path: Path) -> ActionRunner:
    return ActionRunner(project.root, forge, tmp_path / "runner")


def review(runner: ActionRunner, run: int = 1, source: str = "o/r", **inputs: Any) -> StepResult:
    return runner.run("pull_request", pull_request(5, "h1", source), run=run, command="diff", **inputs)


def thread(forge: ForgeServer, kind: str = "github", sleep: Any = lambda _: None) -> PullRequest | MergeRequest:
    if kind == "gitlab":
        return MergeRequest(ForgeApi(forge.url, {"PRIVATE-TOKEN": GITLAB_TOKEN}, sleep=sleep), "7", "5")
    return PullRequest(ForgeApi(forge.url, {"Authorization": f"Bearer {TOKEN}"}, sleep=sleep), "o/r", 5)


FORGES = pytest.mark.parametrize("kind", ["github", "gitlab"])


def test_no_input_stands_in_a_shell_and_every_action_is_pinned() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", f"a/b@{'0' * 40}"))


def test_a_pull_request_gets_its_comment_outputs_summary_and_annotations(
    runner: ActionRunner, forge: ForgeServer
) -> None:
    ended = review(runner)
    assert ended.exit_code == 0, ended.log
    (body,) = forge.own()
    assert "1 job asks something else" in body
    assert ended.outputs["plan-hash"][:12] in body
    assert Marker.of(body) == Marker(KEY, (1, 1), ended.outputs["plan-hash"])
    given = {name: ended.outputs[name] for name in ("changed", "rows", "run-id", "pending", "files")}
    assert given == {"changed": "true", "rows": "3", "run-id": "", "pending": "false", "files": "./target/ci"}
    assert 0 < float(ended.outputs["cost"]) <= float(ended.outputs["cost-at-most"])
    assert "1 job asks something else" in ended.summary
    assert any(line.startswith("::notice file=") for line in ended.obeyed())


def test_a_second_push_updates_the_comment_and_an_older_run_that_is_late_does_not(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer
) -> None:
    review(runner, run=10)
    project.replace("prompts/about.md.j2", "Tell", "Report")
    review(runner, run=11)
    (newer,) = forge.own()
    assert "Report" in newer
    late = review(runner, run=9)
    assert late.exit_code == 0
    assert forge.own() == [newer]
    assert "a newer run has written the comment" in late.log


def test_among_more_than_a_hundred_comments_only_the_own_one_is_taken(runner: ActionRunner, forge: ForgeServer) -> None:
    forged = forge.add(f"{Marker(KEY, (99, 1), 'f' * 64).line()}\nforged", "somebody")
    for number in range(230):
        forge.add(f"comment {number}", "somebody")
    own = forge.add(f"{Marker(KEY, (1, 1)).line()}\nold")
    review(runner, run=2)
    assert len(forge.comments) == 232
    assert "1 job asks something else" in own["body"]
    assert forged["body"].endswith("forged")


@FORGES
def test_a_marker_in_the_middle_of_a_comment_is_a_text(kind: str, forge: ForgeServer) -> None:
    forge.add(f"```\n{Marker(KEY, (99, 1), 'f' * 64).line()}\n```")
    assert sticky.find(thread(forge, kind), KEY) is None


@FORGES
def test_two_comments_of_two_runs_at_once_become_one(kind: str, forge: ForgeServer) -> None:
    for run in (3, 4):
        forge.add(f"{Marker(KEY, (run, 1)).line()}\nfrom {run}")
    sticky.post(thread(forge, kind), Marker(KEY, (5, 1)), lambda _: "from 5")
    assert [body.splitlines()[1] for body in forge.own()] == ["from 5"]


@FORGES
def test_a_late_run_a_second_attempt_and_a_marker_of_somebody_else(kind: str, forge: ForgeServer) -> None:
    for number in range(205):
        forge.add(f"comment {number}", "somebody")
    foreign = forge.add(f"{Marker(KEY, (99, 1), 'f' * 64).line()}\nforged", "somebody")
    done = [
        sticky.post(thread(forge, kind), Marker(KEY, run), lambda _, run=run: f"from {run}")  # type: ignore[misc]
        for run in ((7, 1), (6, 2), (7, 2))
    ]
    assert done == [
        "the comment was posted",
        "a newer run has written the comment; it stays as it is",
        "the comment was updated",
    ]
    assert [body.splitlines()[1] for body in forge.own()] == ["from (7, 2)"]
    assert foreign["body"].endswith("forged")


@FORGES
def test_a_token_that_may_not_write_is_told_from_one_that_is_to_wait(kind: str, forge: ForgeServer) -> None:
    forge.is_read_only = True
    with pytest.raises(ForgeRefused) as refused:
        sticky.post(thread(forge, kind), Marker(KEY, (1, 1)), lambda _: "x")
    assert refused.value.is_read_only


def test_a_fork_is_reviewed_without_any_secret_and_says_what_it_could_not_do(
    runner: ActionRunner, forge: ForgeServer
) -> None:
    forge.is_read_only = True
    ended = review(runner, source="fork/r")
    assert ended.exit_code == 0, ended.log
    assert forge.comments == []
    assert "this token may not write it" in ended.log
    assert "this token may not write it" in ended.summary.replace("\\", "")
    assert "A change from a fork carries no plan" in ended.summary
    assert ended.outputs["plan-hash"] == ""
    assert ended.outputs["rows"] == "3"


def test_a_fork_that_cannot_reach_the_state_is_reviewed_without_it(
    runner: ActionRunner, project: ReviewedProject
) -> None:
    state = "postgresql://user:{{ env_var('STATE_PASSWORD') }}@127.0.0.1:1/db"
    project.edit_project(targets={"local": {"type": "emulator", "state": state}})
    project.repo.commit("a state elsewhere")
    ended = review(runner, source="fork/r", token="")
    assert ended.exit_code == 0, ended.log
    assert "its state is not read" in ended.summary
    assert "at most 3 rows to send" in ended.summary
    for command in ("parse", "plan"):
        ended = runner.run("pull_request", pull_request(5, "h1", "fork/r"), command=command, token="")
        assert ended.exit_code == 0, ended.log
    assert ended.outputs["rows"] == "3"
    assert "its state is not read" in ended.log
    assert UNREAD in ended.summary


UNREAD = "Every row is counted as new, since the state could not be read"


@pytest.mark.parametrize("command", ["diff", "plan"])
def test_a_fork_whose_state_does_not_answer_counts_every_row_as_new_and_tells_no_password(
    runner: ActionRunner, project: ReviewedProject, command: str
) -> None:
    state = "postgresql://user:{{ env_var('STATE_PASSWORD') }}@127.0.0.1:1/db"
    env = {"STATE_PASSWORD": "hunter2"}
    project.edit_project(targets={"local": {"type": "emulator", "state": state}})
    project.repo.commit("a state that is not reached")
    ended = runner.run("pull_request", pull_request(5, "h1", "fork/r"), command=command, token="", env=env)
    assert ended.exit_code == 0, ended.log
    assert UNREAD in ended.summary
    assert ended.outputs["rows"] == "3"
    if command == "diff":
        assert UNREAD in project.path("target/ci/comment.md").read_text()
    else:
        assert "no state was read, so every row is new" in ended.summary
    assert "hunter2" not in ended.log + ended.summary
    own = runner.run("pull_request", pull_request(5, "h1"), command=command, env=env)
    assert (own.exit_code, "hunter2" in own.log + own.summary) == (2, False)


def test_a_trusted_workflow_posts_what_a_fork_left_behind_and_takes_no_plan_from_it(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer, tmp_path: Path
) -> None:
    review(runner, source="fork/r", token="")
    workflow = yaml.safe_load((TREE / "projects/ci/github/batchforge-comment.yml").read_text())
    download, post = workflow["jobs"]["comment"]["steps"]
    elsewhere = ActionRunner(tmp_path / "empty", forge, tmp_path / "trusted")
    kept = shutil.copytree(project.path("target/ci"), elsewhere.folder / download["with"]["path"]) / "comment.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "plan": "f" * 64}))
    inputs = {name.replace("-", "_"): value for name, value in post["with"].items()}
    forge.heads[5] = "h1"
    finished = {"id": 3, "run_attempt": 1, "head_sha": "h1", "head_repository": {"full_name": "fork/r"}}
    ended = elsewhere.run("workflow_run", {"workflow_run": finished}, run=50, **inputs)
    assert ended.exit_code == 0, ended.log
    (body,) = forge.own()
    assert Marker.of(body) == Marker(KEY, (3, 1))
    assert "Made by a run of a fork" in body
    assert "1 job asks something else" in body
    forge.heads[5] = "another"
    refused = elsewhere.run("workflow_run", {"workflow_run": finished}, run=51, **inputs)
    assert refused.exit_code == 2
    assert "BF960" in refused.log
    assert len(forge.comments) == 1


def test_no_comment_is_written_where_none_is_wanted(runner: ActionRunner, forge: ForgeServer) -> None:
    ended = review(runner, comment="false")
    assert ended.exit_code == 0, ended.log
    assert forge.comments == []
    assert "no comment was wanted" in ended.log
    assert "1 job asks something else" in ended.summary
    assert ended.outputs["plan-hash"]


def test_a_run_that_broke_off_is_gone_on_with(
    runner: ActionRunner, project: ReviewedProject, start_emulator: StartEmulator
) -> None:
    emulator = start_emulator()
    api = {"type": "claude", "base_url": emulator.base_url, "api_key": "any-key", "poll_interval_s": 0.02}
    project.edit_project(targets={"api": api}, default_target="api")
    project.write_job(max_tokens=None, canary=1)
    first = project.cli("run", "--no-wait")
    assert first.exit_code == 3, first.stderr
    event: dict[str, Any] = {"schedule": "17 * * * *"}
    collected = runner.run("schedule", event, command="collect")
    assert collected.exit_code == 0, collected.log
    assert collected.outputs["pending"] == "true"
    assert "Some rows of about wait to be sent: a step with the command resume sends them." in collected.log
    for _ in range(5):
        ended = runner.run("schedule", event, command="resume")
        assert ended.exit_code == 0, ended.log
        assert runner.run("schedule", event, command="collect").exit_code == 0
    assert ended.outputs["pending"] == "false"
    assert emulator.counters().requests_accepted == 3
    assert len(project.path("outputs/answers.jsonl").read_text().splitlines()) == 3


@FORGES
def test_a_body_that_is_too_long_for_the_forge_is_made_shorter(kind: str, forge: ForgeServer) -> None:
    forge.longest = 15_000
    sticky.post(thread(forge, kind), Marker(KEY, (1, 1)), lambda most: "x" * most)
    assert [len(body) for body in forge.own()] == [12_000]


@FORGES
def test_a_secondary_rate_limit_is_waited_for_and_a_long_one_is_told(kind: str, forge: ForgeServer) -> None:
    slept: list[float] = []
    forge.limits_left = 2
    sticky.post(thread(forge, kind, slept.append), Marker(KEY, (1, 1)), lambda _: "x")
    assert len(forge.own()) == 1
    assert len(slept) == 2
    forge.limits_left = 9
    with pytest.raises(ForgeRefused, match="rate limit"):
        sticky.post(thread(forge, kind), Marker(KEY, (2, 1)), lambda _: "x")


def test_a_server_that_is_not_there_fails_no_review(runner: ActionRunner, forge: ForgeServer) -> None:
    forge.url = "http://127.0.0.1:9"
    ended = review(runner)
    assert ended.exit_code == 0, ended.log
    assert "was not reached" in ended.log


def test_a_gate_that_trips_is_named_in_the_comment_and_ends_with_5(runner: ActionRunner, forge: ForgeServer) -> None:
    ended = review(runner, fail_on="rows_rerun=2 unpriced_model")
    assert ended.exit_code == 5
    assert re.search(r"❌ rows\\_rerun.*3 rows are asked again", forge.own()[0])
    assert any(line.startswith("::error") and "rows_rerun" in line for line in ended.obeyed())
    assert review(runner, run=2, fail_on="rows_rerun=3").exit_code == 0


def test_a_project_with_errors_has_them_in_its_comment_at_their_places(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer
) -> None:
    project.write_job(modle="x")
    for command in ("diff", "parse"):
        ended = runner.run("pull_request", pull_request(5, "h1"), command=command)
        assert ended.exit_code == 2, ended.log
        assert any("file=jobs/about.yml" in line and "BF101" in line for line in ended.obeyed())
    assert "`BF101`" in forge.own()[0]


def test_nothing_that_rows_names_or_branches_say_is_obeyed(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer, tmp_path: Path
) -> None:
    evil = f"$(touch {tmp_path}/owned) `touch {tmp_path}/owned` ; touch {tmp_path}/owned\n::set-output name=rows::0\n"
    project.write_rows([evil + HOSTILE, "\n::error::forged\n##[error]forged\n::stop-commands::x", "a"])
    project.repo.git("checkout", "-q", "-b", "$(touch${IFS}owned)")
    forged = Marker(KEY, (9, 9), "f" * 64).line()
    project.write_prompt(f"{forged}\n{evil}::add-mask::x\n")
    project.repo.commit("hostile")
    ended = review(runner, select="about", base="main", target="local")
    assert ended.exit_code == 0, ended.log
    assert not list(tmp_path.rglob("owned"))
    assert ended.outputs["rows"] == "3"
    assert {line.split(" ")[0] for line in ended.obeyed()} <= {"::notice", "::warning"}
    marker = Marker.of(forge.own()[0])
    assert marker is not None
    assert marker.plan_hash == ended.outputs["plan-hash"]
    wrong = review(runner, select=f"$(touch {tmp_path}/owned)", target="`touch owned`;x")
    assert wrong.exit_code == 2
    assert not list(tmp_path.rglob("owned"))


def test_nothing_that_models_answer_or_files_are_called_is_obeyed(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer, tmp_path: Path
) -> None:
    evil = f"$(touch {tmp_path}/owned) `touch {tmp_path}/owned`\n::set-output name=rows::0\n::error::forged\n{HOSTILE}"
    answers = ScriptAnswers(lambda params, _id: evil + str("Tell" in str(params)), RuleAnswers())
    scenario = Scenario(processing_time_s=0, retry_after_s=None)
    with EmulatorServer(tmp_path / "e.db", scenario=scenario, answers=answers) as emulator:
        api = {"type": "claude", "base_url": emulator.base_url, "api_key": "any-key", "poll_interval_s": 0.02}
        project.edit_project(targets={"api": api}, default_target="api")
        project.write("jobs/_defaults.yml", "max_tokens: 4000\n")
        project.repo.commit("answers that are not ours")
        ended = review(runner, select="about", base="main", sample="3", max_cost="1")
        assert ended.exit_code == 0, ended.log
        (body,) = forge.own()
        assert "3 rows compared, 3 with another answer" in body
        assert {line.split(" ")[0] for line in ended.obeyed()} <= {"::notice", "::warning"}
        assert ended.outputs["rows"] == "0"
        assert runner.run("push", {}, command="collect").exit_code == 0
    project.path("jobs/about.yml").rename(project.path("jobs/$(touch owned);`touch owned`::error::x.yml"))
    ended = review(runner, select="about")
    assert ended.exit_code == 2, ended.log
    assert all(line.startswith(("::error file=jobs/", "::notice title=")) for line in ended.obeyed())
    assert not list(tmp_path.rglob("owned"))


def test_what_a_model_says_in_the_log_is_no_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Step({"GITHUB_ACTIONS": "true"}, tmp_path).say("::error::forged\n::stop-commands::x")
    result = StepResult(0, capsys.readouterr().out, {}, "")
    assert "forged" in result.log
    assert result.obeyed() == []


def test_outputs_stay_on_their_lines_and_a_summary_under_its_limit(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    step = Step({"GITHUB_ACTIONS": "true", **files}, tmp_path / "ci")
    step.output({"rows": "1\npending=true"})
    assert (tmp_path / "GITHUB_OUTPUT").read_text().count("\n") == 1
    (tmp_path / "GITHUB_STEP_SUMMARY").write_bytes(b"x" * (MOST_SUMMARY_BYTES - 100_000))
    step.summarize(lambda most: "ü" * most)
    assert MOST_SUMMARY_BYTES - 100_000 < (tmp_path / "GITHUB_STEP_SUMMARY").stat().st_size <= MOST_SUMMARY_BYTES


def test_a_marker_is_read_back_whatever_its_key(forge: ForgeServer) -> None:
    for key in ("a --> b", "ü:prod", '"}', "<!--"):
        marker = Marker(key, (1, 2), "ab", "7")
        assert marker.line().count("-->") == 1
        assert Marker.of(f"{marker.line()}\nx") == marker
    assert Comment(1, BOT, "").body == ""


def test_a_merge_request_gets_its_note_and_its_report(project: ReviewedProject, forge: ForgeServer) -> None:
    machine: dict[str, Any] = {
        "GITLAB_CI": "true", "CI_API_V4_URL": forge.url, "CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_IID": "5",
        "CI_PIPELINE_ID": "3", "CI_JOB_ID": "31", "BATCHFORGE_GITLAB_TOKEN": GITLAB_TOKEN,
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    }  # fmt: skip
    for number in range(150):
        forge.add(f"note {number}", "somebody")
    ended = project.cli("ci", "diff", **machine)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    marker = Marker.of(forge.own()[0])
    assert marker is not None
    assert (marker.run, marker.job) == ((3, 31), "31")
    (issue,) = json.loads(project.path("target/ci/gl-code-quality-report.json").read_text())
    assert issue["location"]["path"] == "jobs/about.yml"
    assert f"BATCHFORGE_PLAN_HASH={marker.plan_hash}" in project.path("target/ci/outputs.env").read_text()
    project.cli("ci", "diff", **{**machine, "CI_PIPELINE_ID": "4"})
    assert len(forge.own()) == 1
    no_token = project.cli("ci", "diff", **{**machine, "BATCHFORGE_GITLAB_TOKEN": ""})
    assert no_token.exit_code == 0
    assert "BATCHFORGE_GITLAB_TOKEN is not set" in no_token.stdout


def test_a_push_that_comes_from_no_review_sends_nothing(runner: ActionRunner, forge: ForgeServer) -> None:
    for _ in (forge.merged, forge.merged.update(c1=5)):
        ended = runner.run("push", {}, sha="c1", command="submit")
        assert ended.exit_code == 2
        assert "BF961 Nothing was sent: this commit comes from no review with a plan." in ended.log
        assert any(line.startswith("::error") and "BF961" in line for line in ended.obeyed())


def test_nothing_is_sent_from_a_runner_that_would_take_the_state_with_it(
    runner: ActionRunner, project: ReviewedProject, tmp_path: Path
) -> None:
    prod: dict[str, Any] = {"type": "claude", "api_key": "{{ env_var('KEY') }}"}
    project.edit_project(targets={"prod": prod}, default_target="prod")
    hosted = {"RUNNER_ENVIRONMENT": "github-hosted"}
    for command in ("submit", "resume"):
        refused = runner.run("push", {}, sha="c1", command=command, env=hosted)
        assert refused.exit_code == 2
        assert "BF962" in refused.log
        assert "the state of `prod` is a file of this runner, and would be gone with it" in refused.log
    for state in ({"state": f"sqlite:///{tmp_path}/volume/state.db"}, {}):
        project.edit_project(targets={"prod": prod | state})
        env = hosted if state else {"RUNNER_ENVIRONMENT": "self-hosted"}
        assert "BF961" in runner.run("push", {}, sha="c1", command="submit", env=env).log


def test_a_push_that_changes_no_request_is_a_success(runner: ActionRunner, project: ReviewedProject) -> None:
    project.run()
    ended = runner.run("push", {}, sha="c1", command="submit")
    assert ended.exit_code == 0, ended.log
    assert ended.outputs["rows"] == "0"
    assert ended.outputs["pending"] == "false"


def test_a_plan_is_made_by_hand(runner: ActionRunner) -> None:
    ended = runner.run("workflow_dispatch", {}, sha="c1", command="plan")
    assert ended.exit_code == 0, ended.log
    assert ended.outputs["rows"] == "3"
    assert len(ended.outputs["plan-hash"]) == 64
    assert "about" in ended.summary


def test_a_merge_request_is_submitted_as_it_was_reviewed(project: ReviewedProject, forge: ForgeServer) -> None:
    machine: dict[str, Any] = {
        "GITLAB_CI": "true", "CI_API_V4_URL": forge.url, "CI_PROJECT_ID": "7", "CI_PIPELINE_ID": "3", "CI_JOB_ID": "31",
        "BATCHFORGE_GITLAB_TOKEN": GITLAB_TOKEN, "CI_COMMIT_SHA": "c1",
    }  # fmt: skip
    merge_request: dict[str, Any] = {"CI_MERGE_REQUEST_IID": "5", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    assert project.cli("ci", "diff", **machine, **merge_request).exit_code == 0
    forge.merged["c1"] = 5
    lost = project.cli("ci", "submit", **machine)
    assert lost.exit_code == 2
    assert "BF961" in lost.stderr
    forge.job_files["31/target/ci/plan.json"] = project.path("target/ci/plan.json").read_bytes()
    ended = project.cli("ci", "submit", **machine)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    assert "BATCHFORGE_ROWS=3\n" in project.path("target/ci/outputs.env").read_text()
