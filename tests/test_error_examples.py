"""Every code of an error or a warning has an example that raises it: the smallest project and command, or, where it
takes special conditions, a test elsewhere that brings them about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from batchforge.cli import run_command
from batchforge.error_codes import ERROR_CODES
from tests.builders import TREE
from tests.project_files import JOB, PROJECT, write_project
from tests.test_error_codes import CAUSES

JOB_PATH = "jobs/triage/classify_tickets.yml"
TICKETS = {"data/tickets.tsv": "id\ttext\n1\tWhere is my bill?\n2\tMy roof leaks.\n"}
ALL_JOBS = 'selectors: [{name: all, definition: "*"}]\n'


@dataclass(frozen=True, slots=True)
class Example:
    """Files that are changed in a project that works, and the command that says the code."""

    command: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def job(old: str, new: str, command: str = "compile") -> Example:
    assert old in JOB
    return Example(command, {JOB_PATH: JOB.replace(old, new)})


def user(template: str, command: str = "compile") -> Example:
    return job("<ticket>{{ row.text }}</ticket>", template, command)


def with_setting(line: str) -> Example:
    return job("thinking: disabled\n", f"{line}\n")


def target(settings: str, command: str) -> Example:
    project = PROJECT.replace("default_target: local", "default_target: other")
    line = f"  local: {{type: emulator}}\n  other: {{{settings}}}\n"
    return Example(command, {"batchforge.yml": project.replace("  local: {type: emulator}\n", line)})


def rows(name: str, content: str | bytes, settings: str = "") -> Example:
    """Rows in another file, read with some settings."""
    text = JOB.replace("{file: data/tickets.tsv}", f"{{file: {name}{settings}}}")
    return Example("compile", {name: content, JOB_PATH: text})


ONE_LIST = '{"id": 1, "found": [{"id": 2}], "text": "x"}\n{"id": 1, "found": [], "text": "y"}\n'


EXAMPLES: dict[str, Example] = {
    "BF159": with_setting('model: [cheap, strong]\nescalate_on: ["confidense < 0.7"]'),
    "BF940": Example("compare classify_tickets"),
    "BF941": Example("compare classify_tickets --prompts a.j2,b.j2"),
    "BF942": Example("compare classify_tickets --field categry --aa"),
    "BF226": Example("run second", {"jobs/second.yml": "input: {ref: classify_tickets}\nuser: x\n"}),
    "BF225": Example(
        "run",
        {
            JOB_PATH: JOB.replace("tickets.tsv}", "tickets.tsv, group_by: {columns: id, max_tokens: 1}}").replace(
                "{{ row.text }}", "{{ rows | length }}"
            )
        },
    ),
    "BF220": rows("data/t.jsonl", ONE_LIST, ", each: fund"),
    "BF221": rows("data/t.jsonl", ONE_LIST, ", each: found"),
    "BF222": rows("data/t.jsonl", ONE_LIST, ", join: {file: data/t.jsonl, on: di}"),
    "BF223": rows("data/t.jsonl", ONE_LIST, ", join: {file: data/t.jsonl, on: id}"),
    "BF224": rows("data/t.jsonl", ONE_LIST, ", join: {rows: [{id: '1', name: x}], on: id}"),
    "BF132": target("type: claude", "run"),
    "BF135": target('type: claude, base_url: "https://gateway.example"', "run"),
    "BF141": Example("parse --vars mnth=3"),
    "BF142": Example("parse --vars n=many", {"batchforge.yml": PROJECT + "vars: {n: 3}\n"}),
    "BF143": Example(
        "run",
        {
            "batchforge.yml": PROJECT.replace("{type: emulator}", "{type: emulator, scenario: s.yml}"),
            "s.yml": "proccessing_time_s: 1\n",
        },
    ),
    "BF201": job("data/tickets.tsv", "data/ticket.tsv"),
    "BF202": rows("data/tickets.dat", "a"),
    "BF203": rows("data/a.csv", b"text\n\xe9t\xe9\n"),
    "BF204": rows("data/a.csv", "text,text\na,b\n"),
    "BF205": rows("data/a.csv", "id,text\n1,2,3\n"),
    "BF206": rows("data/a.csv", 'text\n"never closed\n'),
    "BF207": rows("data/a.csv", "n,text\nx,a\n", ", types: {n: integer}"),
    "BF208": rows("data/a.jsonl", '{"text": }\n'),
    "BF209": rows("data/a.parquet", "no parquet"),
    "BF210": rows("data/tickets.tsv", TICKETS["data/tickets.tsv"], ", key: tikket"),
    "BF211": rows("data/a.csv", "id,text\n1,a\n1,b\n", ", key: id"),
    "BF212": rows("data/a.csv", "id,text\n,a\n", ", key: id"),
    "BF213": rows("data/a.csv", "id,text\n1,a\n", ", where: row.lable"),
    "BF214": rows("data/a.jsonl", '{"text": "a"}\n', ", types: {text: text}"),
    "BF216": rows("data/a.csv.gz", b"no gzip"),
    "BF231": job("{file: data/tickets.tsv}", "{sql: drop table x, key: text}", "fetch"),
    "BF232": job("{file: data/tickets.tsv}", '{sql: "select :day as text", key: text}', "fetch"),
    "BF233": job("{file: data/tickets.tsv}", "{sql: select 1 as text}", "fetch"),
    "BF235": job("{file: data/tickets.tsv}", '{sql: "select 1 as text, 2 as text", key: text}', "fetch"),
    "BF238": job("{file: data/tickets.tsv}", "{sql: select * from tickets, key: text}", "fetch"),
    "BF241": job("{file: data/tickets.tsv}", '{file: "ftp://data.example/a.csv"}', "fetch"),
    "BF230": job("{file: data/tickets.tsv}", "{sql: select 1 as text, key: text}", "plan"),
    "BF300": user("{{ row.text"),
    "BF301": user("{{ row.txt }}"),
    "BF302": user("{% include 'rules.j2' %}"),
    "BF303": user("{{ 1 / 0 }}"),
    "BF304": user("{{ row.text.__class__.__mro__ }}"),
    "BF414": Example("run", {"data/tickets.tsv": "id\ttext\n" + "".join(f"{n}\tThe same.\n" for n in range(12))}),
    "BF411": user("{{ row.text }}{{ '\\\\ud83d' }}", "run"),
    "BF412": Example("run", {JOB_PATH: JOB + "batch: {max_bytes: 1000}\n", "data/tickets.tsv": "text\n" + "x" * 2000}),
    "BF401": with_setting("params: {top_n: 3}"),
    "BF403": with_setting("params: {speed: fast}"),
    "BF407": with_setting("tool_choice: any"),
    "BF420": with_setting("model: claude-haiku-55"),
    "BF421": with_setting("model: claude-3-7-sonnet-20250219"),
    "BF424": with_setting("temperature: 0"),
    "BF430": with_setting("max_tokens: 900000"),
    "BF431": with_setting("model: strong"),
    "BF503": Example("run", {".batchforge/state-emulator-local.db": "no database at all"}),
    "BF505": Example("run", {".batchforge/state-emulator-local.db/a": "a folder where the file should be"}),
    "BF690": target('type: claude, base_url: "http://127.0.0.1:9", api_key: any', "debug"),
    "BF702": Example("run", {"data/tickets.tsv": "id\ttext\treason\n1\ta\tb\n"}),
    "BF710": Example("run", {JOB_PATH: JOB + "tests: [{not_null: reson}]\n"}),
    "BF711": Example("run", {JOB_PATH: JOB + "tests: [{expression: reason FROM}]\n"}),
    "BF821": Example("cost --reconcile u.csv", {"u.csv": "date,model,input_tokens\nsoon,claude-haiku-5-5,1\n"}),
    "BF909": Example("state prune --older-than soon"),
    "BF913": Example("state import rows.jsonl", {"rows.jsonl": "no export\n"}),
    "BF914": Example("verify-live"),
    "BF822": Example("cost --since yesterday"),
    "BF901": Example("parse --vars month"),
    "BF902": Example("ls --select tags:nightly"),
    "BF903": Example("run clasify_tickets"),
    "BF904": job("thinking: disabled\n", "thinking: disabled\nenabled: false\n", "run classify_tickets"),
    "BF195": Example("parse", {"selectors.yml": "selectors: [{name: all, definition: {union: tag:x}}]\n"}),
    "BF920": Example("ls --select clasify_tickets --on-empty fail"),
    "BF921": Example("ls --selector nightly"),
    "BF922": Example("ls --select state:new"),
    "BF923": Example("ls --select clasify_tickets"),
    "BF924": Example("ls --selector all --exclude tag:x", {"selectors.yml": ALL_JOBS}),
    "BF905": Example("explain BF999"),
    "BF907": Example("render classify_tickets --key 7"),
    "BF908": Example("state show"),
    "BF910": Example("resume"),
    "BF912": Example("adopt msgbatch_01"),
    "BF925": Example("diff --fail-on rows"),
    "BF930": Example("init . --yes"),
    "BF931": Example("init new --from tickets.cvs --yes"),
    "BF950": Example("run", {"batchforge.yml": PROJECT + 'notify: [{url: "http://127.0.0.1:9/x"}]\n'}),
    "BF144": Example("run", {"batchforge.yml": PROJECT + "notify: [{command: date}]\n"}),
}
EXAMPLES = dict(sorted(EXAMPLES.items()))

ELSEWHERE: dict[str, str] = {
    "BF120": "test_api.py::test_a_folder_without_a_project_is_said_at_once",
    "BF123": "test_source_tree.py::test_a_symbolic_link_that_leads_out_is_refused",
    "BF125": "test_source_tree.py::test_a_file_name_that_is_not_utf_8_is_refused",
    "BF170": "test_git_base.py::test_outside_of_git_and_before_the_first_commit_there_is_nothing_to_compare_with",
    "BF171": "test_git_base.py::test_without_a_branch_to_compare_with_it_says_what_it_looked_for",
    "BF172": "test_git_base.py::test_a_name_that_means_nothing_is_refused",
    "BF173": "test_git_base.py::test_a_shallow_clone_says_that_its_history_ends_too_early",
    "BF174": "test_git_tree.py::test_an_object_that_a_partial_clone_lacks_is_told",
    "BF175": "test_git_tree.py::test_a_submodule_that_is_not_here_is_named",
    "BF215": "test_inputs.py::test_an_inline_value_that_json_cannot_carry_is_refused",
    "BF234": "snapshots/test_embedded.py::test_max_age_spares_a_young_snapshot_and_refuses_an_old_one",
    "BF236": "snapshots/test_postgres.py::test_a_value_that_parquet_cannot_hold_is_told",
    "BF237": "snapshots/test_missing_packages.py::test_the_extra_that_is_missing_is_named",
    "BF239": "snapshots/test_embedded.py::test_a_query_reads_what_another_one_gives",
    "BF240": "snapshots/test_http_files.py::test_half_a_file_is_never_kept",
    "BF310": "test_samples.py::test_a_file_that_is_no_file_of_samples_is_told_with_its_line",
    "BF311": "test_prompts_command.py::test_a_stale_missing_or_leftover_page_fails_the_check",
    "BF312": "test_prompts_command.py::test_rows_of_other_jobs_cannot_be_sampled",
    "BF402": "test_request_checks.py::test_a_value_of_the_wrong_kind_is_named_in_words",
    "BF404": "test_request_checks.py::test_a_conversation_out_of_order_is_refused",
    "BF405": "test_request_checks.py::test_an_empty_text_is_refused_and_white_space_warned_of",
    "BF406": "test_request_checks.py::test_cache_marks_that_the_api_refuses_are_named",
    "BF408": "test_request_checks.py::test_citations_do_not_go_with_a_fixed_form_of_answer",
    "BF409": "test_request_checks.py::test_a_beta_must_be_the_name_of_one",
    "BF410": "test_show.py::test_a_blocked_row_says_why_it_cannot_be_asked",
    "BF413": (
        "test_request_checks.py::test_the_api_version_decides_on_documents_of_the_assistant_and_citations_of_the_user"
    ),
    "BF422": "test_request_checks.py::test_a_deprecated_model_is_warned_of_until_its_day_comes",
    "BF423": "test_request_checks.py::test_limited_access_and_unverified_prices_are_warned_of",
    "BF425": "test_request_checks.py::test_newest_models_cannot_be_forced_to_use_a_tool",
    "BF426": "test_request_checks.py::test_all_problems_are_found_at_once_and_errors_come_first",
    "BF427": "test_request_checks.py::test_some_kinds_of_thinking_go_up_to_high_effort_only",
    "BF428": "test_request_checks.py::test_a_thinking_budget_must_fit",
    "BF429": "test_request_checks.py::test_each_model_takes_its_own_efforts",
    "BF432": "test_request_checks.py::test_newer_models_refuse_the_start_of_an_answer",
    "BF433": "test_request_checks.py::test_a_doubtful_forced_tool_is_a_warning",
    "BF228": "test_run_warnings.py::test_an_input_without_rows_is_told_of_and_a_test_keeps_the_old_output",
    "BF227": "test_deferral.py::test_a_manifest_of_another_form_is_not_read_by_this_one",
    "BF926": "test_deferral.py::test_a_real_target_never_reads_an_emulators_answers",
    "BF434": (
        "test_request_checks.py::test_a_system_message_in_the_conversation_is_refused_by_the_model_that_takes_none"
    ),
    "BF435": "test_run_warnings.py::test_compile_warns_of_what_hardly_fits_into_the_context_window",
    "BF436": "test_run_warnings.py::test_compile_warns_of_what_hardly_fits_into_the_context_window",
    "BF440": "test_claude_models.py::test_a_price_that_cannot_be_read_names_its_model",
    "BF441": "test_request_checks.py::test_an_unknown_model_can_be_allowed_and_its_price_is_doubted",
    "BF450": "end_to_end/test_documents.py::test_a_column_may_hold_the_paths",
    "BF451": "test_file_facts.py::test_what_cannot_be_sent_says_why",
    "BF452": "end_to_end/test_documents.py::test_a_shared_file_that_cannot_be_sent_is_the_jobs_error",
    "BF453": "test_file_facts.py::test_what_cannot_be_sent_says_why",
    "BF454": "test_file_facts.py::test_what_cannot_be_sent_says_why",
    "BF455": "end_to_end/test_documents.py::test_an_image_block_takes_images_only",
    "BF456": "end_to_end/test_documents.py::test_too_many_pages_and_images_are_counted_together",
    "BF457": "end_to_end/test_documents.py::test_a_file_that_changes_after_the_plan_stops_the_run",
    "BF501": "end_to_end/test_hard_stops.py::test_a_state_of_a_newer_version",
    "BF502": "test_erase.py::test_a_reader_that_holds_old_pages_is_noticed",
    "BF504": "end_to_end/test_hard_stops.py::test_a_state_without_room_to_grow",
    "BF506": "end_to_end/test_main_job.py::test_a_state_of_another_origin_is_refused",
    "BF507": "end_to_end/test_command_line.py::test_two_runs_at_once_send_every_request_once",
    "BF508": "end_to_end/test_lying_store.py::test_a_sync_that_fails_costs_nothing",
    "BF509": "state/test_postgres.py::test_a_server_that_is_not_there_is_named",
    "BF510": "state/test_postgres.py::test_an_address_that_may_lead_elsewhere_is_refused_without_its_password",
    "BF511": "end_to_end/test_closed_terminal.py::test_a_command_without_memory_says_so",
    "BF512": "state/test_leases.py::test_a_fenced_off_writer_is_refused_by_the_store",
    "BF513": "state/test_leases.py::test_who_waits_in_vain_is_told_who_is_at_work",
    "BF915": "test_pipeline_commands.py::test_cancel_takes_one_batch_one_run_or_one_job",
    "BF514": "state/test_copying.py::test_a_state_is_copied_only_where_there_is_none",
    "BF515": "state/test_copying.py::test_what_arrives_otherwise_is_noticed",
    "BF516": "state/test_copying.py::test_a_store_that_lets_two_hold_one_lock_is_refused",
    "BF520": "state/test_object_log.py::test_without_the_library_the_missing_extra_is_named",
    "BF521": "state/test_object_log.py::test_a_store_that_cannot_be_used_is_named_without_its_keys",
    "BF522": "state/test_object_log.py::test_a_store_that_writes_twice_what_is_to_be_written_once_is_refused",
    "BF524": "state/test_object_log.py::test_a_marker_that_is_not_ours_is_named",
    "BF601": "test_models_check.py::test_a_refused_key_is_said_to_be_refused",
    "BF602": "end_to_end/test_hard_stops.py::test_results_that_lie_on_another_host",
    "BF603": "end_to_end/test_hard_stops.py::test_a_batch_that_is_not_accepted_in_many_tries",
    "BF604": (
        "end_to_end/test_command_line.py::test_control_characters_of_an_answer_to_our_post_never_reach_the_terminal"
    ),
    "BF605": "end_to_end/test_hard_stops.py::test_results_that_can_never_be_read",
    "BF606": "end_to_end/test_hard_stops.py::test_a_batch_whose_fate_only_a_person_can_decide",
    "BF607": "test_sync_executor.py::test_a_long_pause_that_is_asked_for_ends_the_run",
    "BF608": "end_to_end/test_documents.py::test_an_upload_that_fails_is_tried_again_and_then_stops_the_run",
    "BF609": "test_uncertain.py::test_results_that_nobody_fetches_are_warned_of_from_the_seventh_day",
    "BF610": "test_run_warnings.py::test_results_that_are_double_unasked_or_missing_are_named",
    "BF611": "test_run_warnings.py::test_results_that_are_double_unasked_or_missing_are_named",
    "BF612": "test_run_warnings.py::test_results_that_are_double_unasked_or_missing_are_named",
    "BF613": "test_uncertain.py::test_rows_of_a_batch_that_is_gone_get_an_error_and_are_not_asked_again_by_themselves",
    "BF614": "test_run_warnings.py::test_answers_that_come_after_another_process_took_over_are_named",
    "BF615": "test_run_warnings.py::test_a_first_run_that_cannot_look_for_lost_answers_says_so",
    "BF616": "test_uncertain.py::test_the_first_run_on_an_empty_state_finds_what_was_paid",
    "BF617": "test_run_warnings.py::test_without_a_person_it_is_refused_and_nothing_is_paid_twice",
    "BF618": "test_uncertain.py::test_a_word_of_the_user_sends_it_again",
    "BF619": "test_delete_remote.py::test_a_failed_deletion_fails_no_run_and_is_made_up_for_by_the_next",
    "BF620": "test_models_check.py::test_a_server_without_a_list_is_said_to_have_none",
    "BF621": "test_run_warnings.py::test_a_batch_that_is_not_canceled_is_named",
    "BF630": "test_sync_executor.py::test_a_spend_limit_stops_the_run",
    "BF631": "test_sync_executor.py::test_a_server_that_is_not_there_ends_the_run",
    "BF701": "test_tables_writing.py::test_a_file_that_cannot_be_written_is_told_with_its_name",
    "BF703": "test_tables_writing.py::test_an_ending_that_tells_no_format_is_refused",
    "BF706": "snapshots/test_table_outputs.py::test_what_differs_is_named_before_anything_is_sent",
    "BF707": "snapshots/test_table_outputs.py::test_what_differs_is_named_before_anything_is_sent",
    "BF708": "snapshots/test_table_outputs.py::test_a_key_that_names_two_rows_changes_nothing",
    "BF709": "snapshots/test_table_outputs.py::test_two_targets_do_not_write_one_table",
    "BF704": "test_tables_writing.py::test_parquet_columns_that_differ_only_in_case_are_refused",
    "BF712": "snapshots/test_object_outputs.py::test_a_bucket_that_is_not_there_is_told_before_anything_is_sent",
    "BF713": "snapshots/test_object_outputs.py::test_emulated_answers_stay_out_of_an_address_that_real_targets_share",
    "BF126": "snapshots/test_object_outputs.py::test_only_places_that_the_environment_allows_are_used",
    "BF705": "test_api.py::test_the_output_can_be_read_row_by_row",
    "BF801": "test_plan.py::test_a_group_whose_rows_do_not_share_the_block_is_an_error_that_names_the_place",
    "BF802": "test_budget.py::test_a_run_over_max_cost_sends_nothing",
    "BF803": "test_budget.py::test_a_limit_on_something_without_an_upper_bound_refuses",
    "BF804": "end_to_end/test_plan_and_run.py::test_a_canary_that_fails_stops_the_run_and_what_it_learnt_is_told",
    "BF805": "test_budget.py::test_above_the_threshold_a_run_needs_a_yes_or_a_budget",
    "BF806": "test_budget.py::test_above_the_threshold_a_run_needs_a_yes_or_a_budget",
    "BF807": "test_plan_file.py::test_a_full_refresh_that_was_approved_once_is_not_run_twice",
    "BF830": "test_gates.py::test_a_tripped_rule_is_named_and_ends_with_5",
    "BF808": "test_plan_file.py::test_what_is_no_plan_is_named",
    "BF809": "test_plan.py::test_a_column_to_group_by_that_is_not_there_is_named",
    "BF810": "test_run_warnings.py::test_what_moved_since_a_plan_was_saved_is_named",
    "BF811": "end_to_end/test_plan_and_run.py::test_a_canary_without_waiting_is_gone_on_with_by_resume",
    "BF812": "end_to_end/test_plan_and_run.py::test_where_the_priming_row_took_too_long_the_others_are_not_marked",
    "BF813": "test_budget.py::test_a_job_that_is_expected_to_cost_more_than_its_warning_says_so_and_runs",
    "BF814": (
        "end_to_end/test_plan_and_run.py::test_a_priming_row_that_fails_for_a_time_only_lets_the_others_go_unmarked"
    ),
    "BF820": "test_cost.py::test_a_missing_file_is_named",
    "BF906": "test_config_commands.py::test_clean_does_not_follow_a_link",
    "BF911": "end_to_end/test_main_job.py::test_resume_refuses_requests_that_the_run_had_not_planned",
    "BF940": "test_find_and_history.py::test_all_targets_are_looked_into",
    "BF941": "test_runs.py::test_an_unknown_or_ambiguous_run_is_refused",
    "BF942": "test_erase.py::test_a_condition_over_an_unknown_column_names_the_columns",
    "BF943": "test_erase.py::test_rows_in_flight_are_refused",
    "BF944": "test_erase.py::test_rows_are_named_in_one_way",
    "BF960": "test_ci_steps.py::test_a_trusted_workflow_posts_what_a_fork_left_behind_and_takes_no_plan_from_it",
    "BF962": "test_ci_steps.py::test_nothing_is_sent_from_a_runner_that_would_take_the_state_with_it",
    "BF961": "test_ci_steps.py::test_a_push_that_comes_from_no_review_sends_nothing",
    "BF971": "emulator/test_control.py::test_the_command_refuses_what_it_cannot_use",
    "BF972": "emulator/test_control.py::test_the_command_refuses_what_it_cannot_use",
    "BF973": "emulator/test_control.py::test_the_command_refuses_what_it_cannot_use",
    "BF974": "emulator/test_control.py::test_the_command_refuses_what_it_cannot_use",
    "BF975": "emulator/test_control.py::test_the_command_refuses_what_it_cannot_use",
}
"""Code -> the test that brings about what it takes: another process, a server that misbehaves, a file of its own."""


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_smallest_example_says_its_code(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = EXAMPLES[code]
    write_project(tmp_path, {**TICKETS, **example.files})
    for name in (
        "ANTHROPIC_API_KEY",
        "BATCHFORGE_ALLOWED_HOSTS",
        "BATCHFORGE_ALLOW_COMMANDS",
        "BATCHFORGE_PROJECT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    exit_code = run_command(example.command.split(" "))
    said = capsys.readouterr()
    assert code in said.err + said.out
    assert exit_code in (0, 1, 2)


@pytest.mark.parametrize("code", ELSEWHERE)
def test_the_test_that_is_named_exists(code: str) -> None:
    path, _, name = ELSEWHERE[code].partition("::")
    assert re.search(rf"^def {name}\(", (TREE / "tests" / path).read_text("utf-8"), re.MULTILINE), code


def test_every_code_has_an_example_or_a_test_that_is_named() -> None:
    assert ERROR_CODES.keys() - CAUSES.keys() - EXAMPLES.keys() - ELSEWHERE.keys() == set()


def test_no_code_is_named_in_vain() -> None:
    assert (EXAMPLES.keys() | ELSEWHERE.keys()) <= ERROR_CODES.keys()
