"""A change is what it does to the rendered requests, row by row, and what that costs; never how the text was edited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchforge.errors import BatchForgeError
from batchforge.review.diff_text import render_diff_text
from batchforge.review.diff_values import Basis, Cost, JobDiff, Part, Status
from tests.reviewing import ReviewedProject, parts_of

Edit = Callable[[ReviewedProject], object]


@pytest.fixture
def project(tmp_path: Path) -> ReviewedProject:
    return ReviewedProject(tmp_path / "project")


@pytest.fixture
def answered(tmp_path: Path, emulator: object) -> ReviewedProject:
    """With an answer for every row."""
    project = ReviewedProject(tmp_path / "project", emulator)  # type: ignore[arg-type]
    project.run()
    return project


def shown(job: JobDiff) -> str:
    lines = [line for row in job.prompt.rows for line in row.lines]
    return "\n".join(f"{line.kind} {line.text}" for line in (*job.prompt.shared, *lines))


# ---- what does not count


REFORMATTED = """\
# now with a comment
description: 'One sentence about each text.'
input:
  key: id
  file: data/rows.jsonl
model: claude-haiku-5-5
thinking: disabled
system:
  file: prompts/about.md.j2
user: '{{ row.text }}'
output: {file: outputs/answers.jsonl}
"""


def rename_a_macro(project: ReviewedProject) -> None:
    project.replace("prompts/inner.j2", "tone(t)", "voice(t)")
    project.replace("prompts/outer.j2", "inner.tone", "inner.voice")


def rename_the_file_of_a_macro(project: ReviewedProject) -> None:
    project.path("prompts/inner.j2").rename(project.path("prompts/deep.j2"))
    project.replace("prompts/outer.j2", "inner.j2", "deep.j2")


def move_the_prompt(project: ReviewedProject) -> None:
    project.path("prompts/about.md.j2").rename(project.path("prompts/summary.j2"))
    project.replace("jobs/about.yml", "about.md.j2", "summary.j2")


def move_the_job(project: ReviewedProject) -> None:
    project.path("jobs/texts").mkdir()
    project.path("jobs/about.yml").rename(project.path("jobs/texts/about.yml"))


def move_a_setting_into_the_job(project: ReviewedProject) -> None:
    project.write_job(max_tokens=200)
    project.path("jobs/_defaults.yml").unlink()


NO_EFFECT: dict[str, Edit] = {
    "the YAML is written another way": lambda p: p.write("jobs/about.yml", REFORMATTED),
    "a comment in the prompt": lambda p: p.replace("prompts/about.md.j2", "Say", "{# new #}Say"),
    "a macro is renamed": rename_a_macro,
    "a macro's file is renamed": rename_the_file_of_a_macro,
    "the prompt's file is moved": move_the_prompt,
    "the job's file is moved": move_the_job,
    "a default is written out": lambda p: p.write_job(max_tokens=None, enabled=True, min_success=0.95),
    "a folder's setting moves into the job": move_a_setting_into_the_job,
    "the description": lambda p: p.write_job(max_tokens=None, description="Another one."),
    "a tag": lambda p: p.write_job(max_tokens=None, tags=["nightly"]),
    "the cache policy": lambda p: p.write_job(max_tokens=None, cache="off"),
    "a variable that nothing uses": lambda p: p.edit_project(vars={"tone": "brief", "other": 1}),
    "a limit that only cuts": lambda p: p.write("jobs/_defaults.yml", "max_tokens: 300\n"),
    "another output file": lambda p: p.write_job(max_tokens=None, output={"file": "outputs/others.jsonl"}),
}


@pytest.mark.parametrize("edit", NO_EFFECT)
def test_what_changes_no_request_costs_nothing(edit: str, project: ReviewedProject) -> None:
    NO_EFFECT[edit](project)
    job = project.reviewed()
    assert not job.changes_requests
    assert job.change == Cost()
    assert not any(parts_of(job).values())
    assert "no request changes, $0.00" in render_diff_text(project.review())


@pytest.mark.parametrize(
    ("edit", "status"), [("a default is written out", Status.UNCHANGED), ("the description", Status.MODIFIED)]
)
def test_only_what_a_job_is_counts_as_modified(edit: str, status: Status, project: ReviewedProject) -> None:
    NO_EFFECT[edit](project)
    assert project.reviewed().status is status


def test_a_moved_job_file_is_told(project: ReviewedProject) -> None:
    NO_EFFECT["the job's file is moved"](project)
    job = project.reviewed()
    assert (job.old_path, job.path, job.status) == ("jobs/about.yml", "jobs/texts/about.yml", Status.UNCHANGED)
    assert "moved from jobs/about.yml to jobs/texts/about.yml" in render_diff_text(project.review())


# ---- what counts, and by which part


EFFECT: dict[str, tuple[Edit, Part]] = {
    "a word of the system prompt": (lambda p: p.replace("prompts/about.md.j2", "about", "about, briefly"), Part.SYSTEM),
    "a line end at the end": (lambda p: p.replace("prompts/about.md.j2", "about.\n", "about.\n\n"), Part.SYSTEM),
    "the user's text": (lambda p: p.write_job(max_tokens=None, user="Text: {{ row.text }}"), Part.PROMPT),
    "a macro two levels up": (lambda p: p.replace("prompts/inner.j2", "Be ", "Always be "), Part.MACRO),
    "a variable that reaches the prompt through two macros": (
        lambda p: p.edit_project(vars={"tone": "friendly"}),
        Part.VARS,
    ),
    "the model": (lambda p: p.write_job(max_tokens=None, model="claude-sonnet-5"), Part.MODEL),
    "a setting of the folder": (
        lambda p: p.write("jobs/_defaults.yml", "max_tokens: 200\nstop_sequences: [END]\n"),
        Part.PARAMS,
    ),
    "the order of an output's fields": (
        lambda p: p.write_job(max_tokens=None, output={"fields": {"b": "text", "a": "text"}}),
        Part.OUTPUT_SCHEMA,
    ),
}


@pytest.mark.parametrize("edit", EFFECT)
def test_what_changes_requests_is_found_with_its_part(edit: str, project: ReviewedProject) -> None:
    if "order" in edit:
        project.write_job(max_tokens=None, output={"fields": {"a": "text", "b": "text"}})
        project.repo.commit()
    change, part = EFFECT[edit]
    change(project)
    job = project.reviewed()
    assert job.status is Status.MODIFIED
    assert parts_of(job)[part] is True
    assert job.rows is not None
    assert (job.rows.changed, job.rows.to_send) == (3, 3)
    assert job.change is not None
    assert job.change.expected_pico_usd
    assert shown(job)


def test_a_variable_of_the_environment_counts_by_its_value(
    project: ReviewedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHFORGE_ENV_ALLOW", "TONE")
    project.edit_project(vars={"tone": "{{ env_var('TONE') }}"})
    for value, changed in (("brief", False), ("friendly", True)):
        monkeypatch.setenv("TONE", value)
        job = project.reviewed()
        assert job.changes_requests is changed
        assert parts_of(job).get(Part.VARS, False) is changed


def test_one_of_three_rows_that_take_a_branch_changes(project: ReviewedProject) -> None:
    branch = "{% if 'boat' in row.text %}A boat: {% endif %}{{ row.text }}"
    project.write_job(max_tokens=None, user=branch)
    project.repo.commit()
    project.write_job(max_tokens=None, user=branch.replace("A boat", "A ship"))
    job = project.reviewed()
    assert job.rows is not None
    assert (job.rows.changed, job.rows.same) == (1, 2)
    assert not job.prompt.shared
    assert shown(job) == "same [message]\nold A boat: A blue boat.\nnew A ship: A blue boat."
    assert [span.text for span in job.prompt.rows[0].lines[2].spans if span.is_changed] == ["ship"]


def test_a_text_that_comes_to_depend_on_the_row_and_reads_the_same_is_no_change(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "{% if row.text == 'x' %}X{% endif %}Say")
    job = project.reviewed()
    assert (job.status, job.changes_requests) == (Status.MODIFIED, False)


# ---- rows


def test_rows_that_are_edited_added_removed_and_moved(project: ReviewedProject) -> None:
    rows = [
        {"id": "3", "text": "A new one."},
        {"id": "2", "text": "A green train."},
        {"id": "0", "text": "A red bike."},
    ]
    project.write_rows(rows)
    job = project.reviewed()
    assert job.rows is not None
    assert (job.rows.before, job.rows.after) == (3, 3)
    assert (job.rows.new, job.rows.gone, job.rows.changed, job.rows.same) == (1, 1, 1, 1)
    assert parts_of(job) == {Part.INPUT: True}
    assert "old A red [-bicycle-]" not in shown(job)
    assert "new A red bike." in shown(job)


def test_rows_that_git_does_not_hold_are_the_same_on_both_sides(project: ReviewedProject) -> None:
    project.write(".gitignore", "data/\n")
    project.repo.git("rm", "-q", "--cached", "-r", "data")
    project.repo.commit()
    project.write_rows(["Another text."])
    job = project.reviewed()
    assert job.status is Status.UNCHANGED
    project.replace("prompts/about.md.j2", "Say", "Tell")
    job = project.reviewed()
    assert job.rows is not None
    assert (job.rows.before, job.rows.changed) == (1, 1)


def test_answers_of_an_older_revision_are_reused_after_a_revert(answered: ReviewedProject) -> None:
    answered.replace("prompts/about.md.j2", "Say", "Tell")
    answered.run()
    answered.repo.commit()
    answered.replace("prompts/about.md.j2", "Tell", "Say")
    job = answered.reviewed(base="HEAD")
    assert job.rows is not None
    assert (job.rows.changed, job.rows.reused, job.rows.to_send) == (3, 3, 0)
    assert job.change == Cost()
    assert not job.is_at_most


def test_rows_that_wait_for_an_answer_anyway_are_not_the_changes_doing(answered: ReviewedProject) -> None:
    branch = "{% if row.id == '3' %}Fourth: {% endif %}{{ row.text }}"
    answered.write_job(max_tokens=None, user=branch)
    answered.run()
    answered.write_rows(["A red bicycle.", "A blue boat.", "A green train.", "A kite.", "A sledge."])
    answered.repo.commit()
    answered.write_job(max_tokens=None, user=branch.replace("Fourth", "The fourth"))
    job = answered.reviewed(base="HEAD")
    assert job.rows is not None
    assert (job.rows.to_send, job.rows.waiting, job.rows.same) == (1, 1, 4)
    assert job.change is not None
    assert job.waiting is not None
    assert (job.change.requests, job.waiting.requests) == (1, 1)
    assert (job.change.ceiling_pico_usd or 0) > (job.change.expected_pico_usd or 0) > 0


def test_the_length_of_answers_is_taken_over_to_another_model(answered: ReviewedProject) -> None:
    answered.write_job(max_tokens=None, model="claude-sonnet-5")
    job = answered.reviewed()
    assert job.before is not None
    assert job.after is not None
    assert job.before.output_tokens == job.after.output_tokens > 0
    assert (job.after.expected_pico_usd or 0) > (job.before.expected_pico_usd or 0)


# ---- jobs


def test_added_removed_and_disabled_jobs(project: ReviewedProject) -> None:
    project.write_job("other", max_tokens=None, output={"file": "outputs/other.jsonl"}, user="Other: {{ row.text }}")
    project.write_job(
        "third", max_tokens=None, output={"file": "outputs/third.jsonl"}, system="Third.", model="claude-opus-5-5"
    )
    project.repo.commit()
    project.write_job("third", max_tokens=None, enabled=False)
    project.path("jobs/about.yml").unlink()
    fields = {"fields": {"topic": "text"}}
    project.write_job("fourth", max_tokens=None, description="Topics.", output=fields, user="Topic? {{ row.text }}")
    jobs = {job.job: job for job in project.review(base="HEAD").jobs}
    assert {name: job.status for name, job in jobs.items()} == {
        "about": Status.REMOVED,
        "fourth": Status.ADDED,
        "other": Status.UNCHANGED,
        "third": Status.REMOVED,
    }
    assert jobs["about"].change == Cost()
    assert jobs["fourth"].rows is not None
    assert jobs["fourth"].rows.fresh == 3
    assert jobs["about"].rows is not None
    assert jobs["about"].rows.gone == 3


def test_a_renamed_job_that_asks_the_same_costs_nothing(answered: ReviewedProject) -> None:
    answered.path("jobs/about.yml").rename(answered.path("jobs/summary.yml"))
    job = answered.reviewed("summary")
    assert (job.status, job.old_job) == (Status.RENAMED, "about")
    assert not job.changes_requests
    assert job.change == Cost()


def test_jobs_are_selected_by_name_on_either_side(project: ReviewedProject) -> None:
    project.write_job("other", max_tokens=None, output={"file": "outputs/other.jsonl"}, tags=["nightly"])
    assert [job.job for job in project.review(select=("tag:nightly",)).jobs] == ["other"]
    project.repo.commit()
    project.path("jobs/other.yml").unlink()
    assert [(job.job, job.status) for job in project.review("other").jobs] == [("other", Status.REMOVED)]
    with pytest.raises(BatchForgeError, match="no job `othr`"):
        project.review("othr")


# ---- sides


def test_a_project_that_the_base_does_not_have_is_all_new(project: ReviewedProject) -> None:
    project.repo.git("checkout", "-q", "--orphan", "empty")
    project.repo.git("rm", "-q", "-r", "--cached", ".")
    project.repo.git("commit", "-q", "--allow-empty", "-m", "without it")
    assert [job.status for job in project.review(base="HEAD").jobs] == [Status.ADDED]


def test_a_project_whose_folder_was_renamed_is_compared_with_itself(tmp_path: Path) -> None:
    project = ReviewedProject(tmp_path / "repo")
    (project.root / "llm").mkdir()
    for name in ("batchforge.yml", "jobs", "prompts", "data"):
        project.repo.git("mv", name, f"llm/{name}")
    project.root = project.root / "llm"
    assert project.reviewed().status is Status.UNCHANGED


def test_a_named_head_is_compared_without_the_work_tree(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "Tell")
    project.repo.commit()
    project.replace("prompts/about.md.j2", "Tell", "Describe")
    job = project.reviewed(base="HEAD~1", head="HEAD")
    assert "Tell" in shown(job)
    assert "Describe" not in shown(job)


def test_what_is_wrong_at_the_base_is_told_and_what_is_wrong_now_stops(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "{{ Say")
    project.repo.commit()
    with pytest.raises(BatchForgeError, match="BF300"):
        project.review()
    project.replace("prompts/about.md.j2", "{{ Say", "Say")
    diff = project.review(base="HEAD")
    assert [job.status for job in diff.jobs] == [Status.ADDED]
    assert "cannot be compiled at the base" in diff.notes[0]


def test_edited_targets_are_named_without_their_values(project: ReviewedProject) -> None:
    project.edit_project(targets={"local": {"type": "emulator", "timeout_s": 77, "settle_after_s": 78}})
    assert project.review().target_changes == ["local: poll_interval_s", "local: settle_after_s", "local: timeout_s"]


def test_the_cached_prefix_is_followed(project: ReviewedProject) -> None:
    long = "Rules: " + "be precise and brief in everything that you say, always. " * 400
    project.write_rows([f"Text {number}." for number in range(60)])
    project.replace("prompts/about.md.j2", "Say", long + "Say")
    project.repo.commit()
    project.replace("prompts/about.md.j2", "Say what", "Say in a word what")
    caching = project.reviewed(base="HEAD").caching
    assert caching is not None
    assert "another one" in caching.words
    project.replace("prompts/about.md.j2", long, "")
    caching = project.reviewed(base="HEAD").caching
    assert caching is not None
    assert "no longer cached" in caching.words
    assert caching.before.prefix_tokens > 4_000 > caching.after.prefix_tokens


# ---- without data


def test_without_rows_and_samples_the_cost_is_unknown_and_never_nothing(project: ReviewedProject) -> None:
    project.write(".gitignore", "data/\n")
    project.repo.git("rm", "-q", "--cached", "-r", "data")
    project.repo.commit()
    project.path("data/rows.jsonl").unlink()
    assert project.reviewed(base="HEAD").status is Status.UNCHANGED
    project.replace("prompts/about.md.j2", "Say", "Tell")
    diff = project.review(base="HEAD")
    (job,) = diff.jobs
    assert (job.basis, job.change, job.rows) == (Basis.NOTHING, None, None)
    assert parts_of(job) == {Part.SYSTEM: True}
    assert "new Tell what the text is about." in shown(job)
    assert "prompts write" in job.notes[0]
    assert "not known" in render_diff_text(diff)
    assert "$0.00" not in render_diff_text(diff)


# ---- jobs that read jobs


def test_a_job_that_reads_one_that_is_asked_anew_is_asked_anew_too(project: ReviewedProject) -> None:
    inner = {"input": {"ref": "about"}, "output": {"file": "outputs/second.jsonl"}}
    project.write_job("second", max_tokens=None, user="Again: {{ row.answer }}", **inner)
    project.repo.commit()
    assert [job.status for job in project.review(base="HEAD").jobs] == [Status.UNCHANGED, Status.UNCHANGED]
    project.replace("prompts/about.md.j2", "Say", "Tell")
    diff = project.review(base="HEAD")
    second = diff.jobs[1]
    assert second.upstream == ("about",)
    assert second.changes_requests
    assert second.change is None
    assert "asked anew" in second.notes[0]
    assert diff.change is None


def test_rows_of_a_job_are_the_answers_that_state_holds(answered: ReviewedProject) -> None:
    inner = {"input": {"ref": "about"}, "output": {"file": "outputs/second.jsonl"}}
    answered.write_job("second", max_tokens=None, user="Again: {{ row.answer }}", **inner)
    answered.repo.commit()
    answered.write_job("second", max_tokens=None, user="Once more: {{ row.answer }}", **inner)
    diff = answered.review(base="HEAD")
    second = diff.jobs[1]
    assert (second.status, second.upstream) == (Status.MODIFIED, ())
    assert second.rows is not None
    assert second.rows.to_send == 3
    answered.replace("prompts/about.md.j2", "Say", "Tell")
    second = answered.review(base="HEAD").jobs[1]
    assert second.is_at_most
    assert second.change == second.after


def test_documents_that_git_does_not_hold_are_the_same_on_both_sides(project: ReviewedProject) -> None:
    project.write(".gitignore", "data/files/\n")
    project.write("data/files/a.txt", "A contract.")
    project.write_rows([{"id": "0", "file": "data/files/a.txt", "text": "What is it?"}])
    content = [{"document": "{{ row.file }}"}, {"text": "{{ row.text }}"}]
    project.write_job(max_tokens=None, user=content)
    project.repo.commit()
    assert project.reviewed(base="HEAD").status is Status.UNCHANGED
    project.replace("prompts/about.md.j2", "Say", "Tell")
    job = project.reviewed(base="HEAD")
    assert job.rows is not None
    assert (job.rows.changed, job.rows.blocked, job.rows.to_send) == (1, 0, 1)
    assert parts_of(job) == {Part.SYSTEM: True}
