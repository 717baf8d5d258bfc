"""The main job against an emulator that counts what it is sent and what it bills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import RowRule
from batchforge.errors import StateError, UsageError
from batchforge.results import ResultKind
from batchforge.summaries import JobSummary, RunSummary
from tests.builders import JOB_NAME, OUTPUT, ProjectFiles
from tests.conftest import StartEmulator

FIRST_ASK = "^bf1_.{43}$"
"""custom_ids without an ordinal."""
LONG = "A very long story about a red bicycle, a blue boat and a green train that meet at the harbour."


def only(summary: RunSummary) -> JobSummary:
    (job,) = summary.jobs
    return job


def answers(project: ProjectFiles, name: str = OUTPUT) -> list[Any]:
    return [row["answer"] for row in project.rows_of(name)]


def statuses(project: ProjectFiles, name: str = OUTPUT) -> list[str]:
    return [row["_status"] for row in project.rows_of(name)]


# ---- reuse


def test_a_second_run_sends_nothing_and_says_why(project: ProjectFiles, emulator: EmulatorServer) -> None:
    assert only(project.run()).requests_sent == 3
    again = project.run()
    assert (only(again).requests_sent, dict(only(again).actions)) == (0, {"reuse": 3})
    assert (again.status, again.exit_code) == ("ok", 0)
    assert emulator.counters().requests_accepted == 3


def test_a_second_run_leaves_the_output_untouched(project: ProjectFiles) -> None:
    project.run()
    before = project.path(OUTPUT).stat()
    assert only(project.run()).output is None
    assert project.path(OUTPUT).stat().st_ino == before.st_ino


def test_an_output_that_was_removed_is_written_again_from_what_is_stored(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    project.run()
    before = project.path(OUTPUT).read_bytes()
    project.path(OUTPUT).unlink()
    project.run()
    assert project.path(OUTPUT).read_bytes() == before
    assert emulator.counters().requests_accepted == 3


def test_one_edited_row_sends_one_request(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    project.write_rows(["A red bicycle.", "A blue whale.", "A green train."])
    again = only(project.run())
    assert (again.requests_sent, dict(again.reasons)) == (1, {"row changed": 1})
    assert "blue whale" in answers(project)[1]
    assert emulator.counters().requests_accepted == 4


def test_one_edited_word_in_the_shared_prompt_sends_all_rows(project: ProjectFiles) -> None:
    project.run()
    project.write_prompt("Say in one sentence what this text is about.\n")
    again = only(project.run())
    assert (again.requests_sent, dict(again.reasons)) == (3, {"system changed": 3})


def test_a_reverted_prompt_finds_its_old_answers(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    before = project.path(OUTPUT).read_bytes()
    project.write_prompt("Say it in two sentences.\n")
    project.run()
    project.write_prompt("Say in one sentence what the text is about.\n")
    assert only(project.run()).requests_sent == 0
    assert project.path(OUTPUT).read_bytes() == before
    assert emulator.counters().requests_accepted == 6


def test_another_model_sends_all_rows(project: ProjectFiles) -> None:
    project.run()
    project.write_job(model="claude-haiku-4-5")
    again = only(project.run())
    assert (again.requests_sent, dict(again.reasons)) == (3, {"model changed": 3})


def test_rows_in_another_order_send_nothing_and_come_out_in_the_new_order(project: ProjectFiles) -> None:
    project.run()
    texts = ["A green train.", "A red bicycle.", "A blue boat."]
    project.write_rows(texts)
    assert only(project.run()).requests_sent == 0
    assert [row["text"] for row in project.rows_of()] == texts


def test_another_job_with_equal_requests_sends_nothing(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    project.write_job("copy", output={"file": "outputs/copy.jsonl"})
    assert [job.requests_sent for job in project.run().jobs] == [0, 0]
    assert answers(project, "outputs/copy.jsonl") == answers(project)
    assert emulator.counters().requests_accepted == 3


def test_two_jobs_of_one_run_with_equal_requests_pay_once(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_job("copy", output={"file": "outputs/copy.jsonl"})
    assert project.run().status == "ok"
    assert answers(project, "outputs/copy.jsonl") == answers(project)
    assert emulator.counters().requests_accepted == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"cache": "off"},
        {"cache": {"ttl": "1h"}},
        {"tags": ["nightly"]},
        {"meta": {"owner": "support"}},
        {"description": "Something else about the job."},
        {"batch": {"max_requests": 2}},
        {"metadata": {"user_id": "u-1"}},
        {"service_tier": "standard_only"},
        {"min_success": 0.5},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_change_of_delivery_alone_sends_nothing(
    project: ProjectFiles, emulator: EmulatorServer, settings: dict[str, Any]
) -> None:
    project.run()
    project.write_job(**settings)
    assert only(project.run()).requests_sent == 0
    assert emulator.counters().requests_accepted == 3


def test_ten_thousand_equal_rows_are_one_request(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(["The same text."] * 10_000)
    summary = only(project.run())
    assert (summary.rows, summary.distinct_requests, summary.requests_sent) == (10_000, 1, 1)
    assert emulator.counters().requests_billed == 1
    rows = project.rows_of()
    assert [row["id"] for row in rows] == [str(n) for n in range(10_000)]
    assert len({row["answer"] for row in rows}) == 1
    assert "10,000 rows make only 1 distinct requests" in " ".join(event.message for event in project.events)


# ---- max_tokens


def test_a_raised_max_tokens_sends_only_the_rows_that_were_cut(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(["A red bicycle.", LONG, "A green train."])
    project.write_job(max_tokens=38, min_success=0.5)
    project.run()
    assert statuses(project) == ["answered", "truncated", "answered"]
    project.write_job(max_tokens=200, min_success=0.5)
    again = only(project.run())
    assert (again.requests_sent, dict(again.reasons)) == (1, {"cut at 38 tokens before": 1})
    assert statuses(project) == ["answered"] * 3
    assert project.rows_of()[1]["_request_id"].endswith("-001")
    assert emulator.counters().requests_accepted == 4


def test_a_lowered_max_tokens_sends_only_rows_whose_answer_does_not_fit(project: ProjectFiles) -> None:
    project.write_rows(["A red bicycle.", LONG, "A green train."])
    project.run()
    project.write_job(max_tokens=38, min_success=0.5)
    assert only(project.run()).requests_sent == 1
    assert statuses(project) == ["answered", "truncated", "answered"]


def test_a_row_that_was_cut_is_not_paid_again_under_the_same_max_tokens(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    project.write_rows(["A red bicycle.", LONG])
    project.write_job(max_tokens=38, min_success=0.5)
    project.run()
    again = only(project.run())
    assert (again.requests_sent, dict(again.actions)) == (0, {"reuse": 1, "failed": 1})
    assert emulator.counters().requests_billed == 2


# ---- some of the rows


@pytest.mark.parametrize("narrowing", [{"sample": 10}, {"limit": 10}], ids=str)
def test_some_of_the_rows_never_replace_a_full_output(project: ProjectFiles, narrowing: dict[str, Any]) -> None:
    project.write_rows([f"Text number {n}." for n in range(20)])
    project.run()
    full = project.path(OUTPUT).read_bytes()
    project.write_prompt("Say something else.\n")
    some = only(project.run(**narrowing))
    assert some.requests_sent == 10
    assert some.output is not None
    assert (some.output.is_published, some.output.row_count) == (False, 10)
    assert project.path(OUTPUT).read_bytes() == full
    assert len(project.rows_of("outputs/answers.sample.jsonl")) == 10


def test_what_a_sample_paid_is_not_paid_again(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows([f"Text number {n}." for n in range(20)])
    project.run(sample=5)
    project.run(sample=5)
    assert not project.path(OUTPUT).exists()
    assert only(project.run()).requests_sent == 15
    assert emulator.counters().requests_billed == 20
    assert len(project.rows_of()) == 20


# ---- batches


def test_requests_are_packed_by_count(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows([f"Text number {n}." for n in range(7)])
    project.write_job(batch={"max_requests": 3})
    project.run()
    sent = [received.json()["requests"] for received in emulator.received("batches.create")]
    assert [len(requests) for requests in sent] == [3, 3, 1]
    assert statuses(project) == ["answered"] * 7


def test_outputs_are_in_the_order_of_the_input(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "p", start_emulator(result_order="reversed"))
    texts = [f"Text number {n}." for n in range(30)]
    project.write_rows(texts)
    project.run()
    assert [row["text"] for row in project.rows_of()] == texts
    assert all(row["text"].rstrip(".") in row["answer"] for row in project.rows_of())


def test_a_reader_of_the_old_output_keeps_what_it_has_opened(project: ProjectFiles) -> None:
    project.run()
    with project.path(OUTPUT).open() as old:
        project.write_rows(["Something new."])
        project.run()
        assert len(old.readlines()) == 3
    assert len(project.rows_of()) == 1
    assert sorted(path.name for path in project.path("outputs").iterdir()) == ["answers.jsonl"]


def test_bodies_do_not_stay_on_the_disk(project: ProjectFiles) -> None:
    project.run()
    assert list(project.path(".batchforge/spool").iterdir()) == []


# ---- submit now, collect later

Slow = tuple[ProjectFiles, EmulatorServer]


@pytest.fixture
def slow(start_emulator: StartEmulator, tmp_path: Path) -> Slow:
    """A project, and an emulator that takes an hour by its own clock."""
    emulator = start_emulator(processing_time_s=3600)
    return ProjectFiles(tmp_path / "p", emulator), emulator


def test_what_one_process_submits_another_collects(slow: Slow) -> None:
    project, emulator = slow
    submitted = project.cli("run", "--no-wait")
    assert submitted.exit_code == 3, submitted.stderr
    assert "batchforge collect" in submitted.stdout
    assert project.cli("collect").exit_code == 3
    emulator.clock.advance(3600)
    collected = project.cli("collect", "--wait")
    assert collected.exit_code == 0, collected.stderr
    assert statuses(project) == ["answered"] * 3
    assert emulator.counters().batches_created == 1


def test_a_run_meets_what_is_in_flight_and_does_not_send_it_again(slow: Slow) -> None:
    project, emulator = slow
    project.run(wait=False)
    again = project.run(wait=False)
    assert (again.status, only(again).requests_sent, dict(only(again).actions)) == ("pending", 0, {"wait": 3})
    emulator.clock.advance(3600)
    assert only(project.run()).requests_sent == 0
    assert emulator.counters().batches_created == 1


def test_a_job_waits_for_rows_that_another_job_has_in_flight(slow: Slow) -> None:
    project, emulator = slow
    project.write_job("copy", output={"file": "outputs/copy.jsonl"})
    project.run(JOB_NAME, wait=False)
    waiting = project.run("copy", wait=False)
    assert (waiting.status, waiting.exit_code, only(waiting).requests_sent) == ("pending", 3, 0)
    assert project.collect("copy", wait=False).status == "pending"
    emulator.clock.advance(3600)
    assert only(project.run("copy")).requests_sent == 0
    assert statuses(project, "outputs/copy.jsonl") == ["answered"] * 3
    assert emulator.counters().batches_created == 1


def test_cancel_leaves_other_jobs_alone(slow: Slow) -> None:
    project, _ = slow
    project.write_job("copy", output={"file": "outputs/copy.jsonl"})
    project.run(JOB_NAME, wait=False)
    project.run("copy", wait=False)
    assert project.cancel("copy") == []
    assert len(project.cancel(JOB_NAME)) == 1


def test_collect_never_sends(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    project.write_prompt("Say something else.\n")
    project.collect()
    assert emulator.counters().batches_created == 1


def test_outputs_hold_back_when_inputs_move_between_submit_and_collect(slow: Slow) -> None:
    project, emulator = slow
    project.run(wait=False)
    project.write_rows(["A red bicycle.", "A blue whale.", "A green train."])
    emulator.clock.advance(3600)
    held = project.collect()
    assert held.exit_code == 1
    assert "1 rows have moved since they were submitted (1 has changed)" in only(held).problem
    assert not project.path(OUTPUT).exists()
    written = project.collect(submitted_rows=True)
    assert written.exit_code == 0
    assert [row["text"] for row in project.rows_of()] == ["A red bicycle.", "A blue boat.", "A green train."]


def test_resume_sends_what_the_run_had_planned(slow: Slow) -> None:
    project, emulator = slow
    project.run(wait=False)
    emulator.clock.advance(3600)
    resumed = project.resume()
    assert (resumed.command, resumed.status) == ("resume", "ok")
    assert emulator.counters().batches_created == 1
    assert statuses(project) == ["answered"] * 3


def test_resume_refuses_requests_that_the_run_had_not_planned(slow: Slow) -> None:
    project, emulator = slow
    project.run(wait=False)
    project.write_prompt("Say something else.\n")
    with pytest.raises(UsageError, match="BF911 about: 3 requests differ"):
        project.resume()
    assert emulator.counters().batches_created == 1


def test_there_is_nothing_to_resume_after_a_run_that_ended(project: ProjectFiles) -> None:
    project.run()
    with pytest.raises(UsageError, match="BF910"):
        project.resume()


def test_cancel_keeps_what_was_answered(start_emulator: StartEmulator, tmp_path: Path) -> None:
    emulator = start_emulator(processing_time_s=1000, parallelism=1, cancel_time_s=0)
    project = ProjectFiles(tmp_path / "p", emulator)
    project.write_rows([f"Text number {n}." for n in range(10)])
    project.run(wait=False)
    emulator.clock.advance(450)
    assert len(project.cancel()) == 1
    collected = only(project.collect())
    assert collected.output is not None
    assert collected.output.statuses == {"answered": 4, "canceled": 6}
    emulator.clock.speed = 1e6
    assert only(project.run()).requests_sent == 6
    assert statuses(project) == ["answered"] * 10
    assert emulator.counters().custom_ids_billed_twice == 0


# ---- rows that fail


@pytest.fixture
def failing(start_emulator: StartEmulator, tmp_path: Path) -> Any:
    """A project of ten rows, some of which end otherwise than answered the first time they are asked."""

    def project(outcome: str, share: float = 1.0, **rule: Any) -> ProjectFiles:
        rules = (RowRule(outcome=outcome, share=share, **rule),)  # type: ignore[arg-type]
        files = ProjectFiles(tmp_path / "p", start_emulator(rows=rules, seed=3))
        files.write_rows([f"Text number {n}." for n in range(10)])
        return files

    return project


@pytest.mark.parametrize(
    ("outcome", "rule"),
    [
        ("expired", {}),
        ("canceled", {}),
        ("errored", {"error_type": "api_error"}),
        ("errored", {"error_type": "overloaded_error"}),
        ("errored", {"error_type": "rate_limit_error"}),
    ],
)
def test_unbilled_transient_failures_are_sent_again_by_the_next_run(
    failing: Any, outcome: str, rule: dict[str, Any]
) -> None:
    project = failing(outcome, 0.5, submissions=1, **rule)
    first = only(project.run())
    assert first.output is not None
    failed = first.output.failed_rows
    assert 0 < failed < 10
    assert not first.output.is_published
    again = only(project.run())
    assert again.requests_sent == failed
    assert statuses(project) == ["answered"] * 10
    # The same question under the same name: only one of the two was billed.
    assert not any(row["_request_id"].endswith("-001") for row in project.rows_of())
    assert project.emulator.counters().custom_ids_billed_twice == 0


def test_an_invalid_request_is_not_sent_again(failing: Any) -> None:
    project = failing("errored", error_type="invalid_request_error", message="max_tokens: too many")
    assert project.run().exit_code == 1
    again = project.run()
    assert (again.exit_code, only(again).requests_sent, dict(only(again).actions)) == (1, 0, {"failed": 10})
    assert project.emulator.counters().batches_created == 1


@pytest.mark.parametrize("outcome", ["refused", "empty", "thinking_only"])
def test_billed_failures_are_asked_again_only_by_retry_under_the_next_ordinal(failing: Any, outcome: str) -> None:
    project = failing(outcome, 0.5, custom_id=FIRST_ASK)
    project.write_job(min_success=0)
    project.run()
    failed = [n for n, status in enumerate(statuses(project)) if status == outcome]
    assert failed
    assert only(project.run()).requests_sent == 0
    retried = project.cli("retry", "--output", "json")
    assert retried.exit_code == 0, retried.stderr
    assert retried.json()["jobs"][0]["requests_sent"] == len(failed)
    rows = project.rows_of()
    assert [n for n, row in enumerate(rows) if row["_request_id"].endswith("-001")] == failed
    assert statuses(project) == ["answered"] * 10
    assert project.emulator.counters().custom_ids_billed_twice == 0


def test_answers_that_break_the_schema_are_asked_again_only_by_retry(failing: Any) -> None:
    project = failing("schema_breaking", 0.5, custom_id=FIRST_ASK)
    fields = {"topic": {"one_of": ["travel", "food"]}, "reason": "text"}
    project.write_job(min_success=0, output={"file": OUTPUT, "fields": fields})
    project.run()
    failed = [n for n, status in enumerate(statuses(project)) if status == "invalid"]
    assert failed
    assert only(project.run()).requests_sent == 0
    retried = project.cli("retry", "--output", "json")
    assert retried.exit_code == 0, retried.stderr
    assert retried.json()["jobs"][0]["requests_sent"] == len(failed)
    assert statuses(project) == ["answered"] * 10
    assert only(project.run()).requests_sent == 0


def test_a_full_refresh_asks_every_row_under_the_next_ordinal(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    refreshed = project.cli("run", "--full-refresh")
    assert refreshed.exit_code == 0, refreshed.stderr
    assert [row["_request_id"][-4:] for row in project.rows_of()] == ["-001"] * 3
    assert emulator.counters().requests_billed == 6
    assert only(project.run()).requests_sent == 0


def test_failed_rows_lie_beside_the_output_with_their_reasons(failing: Any) -> None:
    project = failing("refused", 0.5)
    project.write_job(min_success=0)
    output = only(project.run()).output
    assert output is not None
    assert output.rejected_path == "outputs/answers.rejected.jsonl"
    rejected = project.rows_of(output.rejected_path)
    refused = [row for row in project.rows_of() if row["_status"] == "refused"]
    assert [row["_key"] for row in rejected] == [row["id"] for row in refused]
    assert {row["_reason"] for row in rejected} == {"the model refused"}
    assert [row["_place"] for row in rejected] == [f"data/rows.jsonl:{int(row['id']) + 1}" for row in refused]


def test_rejected_rows_go_when_all_rows_are_answered(failing: Any) -> None:
    project = failing("expired", 0.5, submissions=1)
    project.write_job(min_success=0)
    project.run()
    assert project.path("outputs/answers.rejected.jsonl").exists()
    project.run()
    assert not project.path("outputs/answers.rejected.jsonl").exists()


def test_an_output_with_too_few_answers_stays_beside_the_old_one(failing: Any) -> None:
    project = failing("refused", 0.3, custom_id=FIRST_ASK)
    project.write(OUTPUT, "what was there before\n")
    output = only(project.run()).output
    assert output is not None
    assert not output.is_published
    assert "under min_success 0.95" in output.held_back_because
    assert project.path(OUTPUT).read_text() == "what was there before\n"
    assert len(project.rows_of("outputs/answers.candidate.jsonl")) == 10
    project.write_job(min_success=0.1)
    assert project.run().exit_code == 0
    assert len(project.rows_of()) == 10


def test_a_published_output_leaves_no_candidate_behind(failing: Any) -> None:
    project = failing("expired", 0.5, submissions=1)
    project.run()
    assert project.path("outputs/answers.candidate.jsonl").exists()
    project.run()
    assert sorted(path.name for path in project.path("outputs").iterdir()) == ["answers.jsonl"]


def test_answers_that_break_the_schema_are_told_from_answers(failing: Any) -> None:
    project = failing("schema_breaking", 0.5)
    project.write_job(min_success=0, output={"fields": {"about": "text", "words": "integer"}, "file": OUTPUT})
    project.run()
    assert set(statuses(project)) == {"answered", "invalid"}
    for row in project.rows_of():
        assert (row["about"] is None) == (row["_status"] == "invalid")


# ---- origins


def test_emulated_outputs_never_lie_where_real_ones_do(project: ProjectFiles) -> None:
    project.run(target="local")
    assert not project.path("outputs").exists()
    assert all(row["_emulated"] is True for row in project.rows_of(project.emulated()))
    project.run()
    assert all("_emulated" not in row for row in project.rows_of())


def test_an_emulators_answers_never_serve_another_target(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run(target="local")
    assert only(project.run()).requests_sent == 3
    assert emulator.counters().requests_accepted == 3


def test_a_state_of_another_origin_is_refused(project: ProjectFiles, emulator: EmulatorServer) -> None:
    for target in project.targets.values():
        target["state"] = "sqlite:///.batchforge/shared.db"
    project.write_project()
    project.run(target="local")
    with pytest.raises(StateError, match="BF506"):
        project.run()
    assert emulator.counters().batches_created == 0


# ---- what is kept


def test_the_full_message_and_usage_are_kept(project: ProjectFiles) -> None:
    project.run()
    with project.state() as state:
        manifest = state.manifest("api", JOB_NAME)
        assert manifest is not None
        for row in state.output_rows(manifest.manifest_id):
            assert row.stored is not None
            result = row.stored.result
            message = json.loads(result.message or b"")
            assert (result.kind, message["role"], result.message_id) == (
                ResultKind.ANSWERED,
                "assistant",
                message["id"],
            )
            assert result.usage.output_tokens == message["usage"]["output_tokens"] > 0
            assert result.cost_pico_usd is not None


def test_what_a_run_cost_is_what_the_emulator_billed(project: ProjectFiles, emulator: EmulatorServer) -> None:
    summary = project.run().to_json()
    assert summary["cost_usd"] == pytest.approx(emulator.counters().billed_usd, abs=1e-9)


def test_run_results_are_in_a_file(project: ProjectFiles) -> None:
    summary = project.run()
    written = json.loads(project.path("target/run_results.json").read_text())
    assert written == json.loads(json.dumps(summary.to_json(), default=str))


def test_collect_leaves_a_sample_alone_that_a_full_run_has_overtaken(project: ProjectFiles) -> None:
    assert project.cli("run", "--limit", "1").exit_code == 0
    assert project.cli("run", "--full-refresh", "--no-wait", "--yes").exit_code == 3
    collected = project.cli("collect", "--wait")
    assert (collected.exit_code, "have moved" in collected.stdout) == (0, False), collected.stdout
    assert collected.stdout.startswith("about: 3 rows\n")
    assert len(project.rows_of()) == 3


def test_collect_leaves_the_whole_output_alone_beside_a_sample_of_another_prompt(project: ProjectFiles) -> None:
    assert project.cli("run").exit_code == 0
    whole = project.path(OUTPUT).read_bytes()
    project.write_job(user="In one word: {{ row.text }}")
    assert project.cli("run", "--limit", "1", "--no-wait").exit_code == 3
    collected = project.cli("collect", "--wait")
    assert (collected.exit_code, "not written" in collected.stdout) == (0, False), collected.stdout
    assert project.path(OUTPUT).read_bytes() == whole
