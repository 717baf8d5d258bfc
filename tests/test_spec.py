"""Job files and their defaults become specs in the API's words, with every string knowing where it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchforge.spec import (
    BatchLimits,
    CachePolicy,
    ContentTree,
    InputSpec,
    JobSpec,
    Label,
    MessageSpec,
    TemplateSource,
)
from tests.project_files import FILES, JOB, PROJECT, load, load_one, problems_of, write_project

PATH = "jobs/triage/classify_tickets.yml"
BASE = "input: {file: a.csv}\nuser: hello\n"


def job_with(tmp_path: Path, settings: str) -> JobSpec:
    return load_one(tmp_path, BASE + settings)


def job_problems(tmp_path: Path, settings: str) -> list[str]:
    return problems_of(tmp_path, {PATH: BASE + settings})


def text_block(text: str, line: int, path: str = PATH, block_line: int = 0) -> ContentTree:
    return {"type": TemplateSource("text", PATH, block_line or line), "text": TemplateSource(text, path, line)}


def test_a_small_job_becomes_a_spec(tmp_path: Path) -> None:
    _, jobs, problems = load(write_project(tmp_path))
    assert problems == []
    job = jobs["classify_tickets"]
    assert (job.path, job.model, job.max_tokens) == (PATH, "claude-haiku-5-5", 400)
    assert job.description == "One of three categories for each ticket."
    assert job.tags == ("nightly",)
    assert job.params == {"max_tokens": 400, "thinking": {"type": "disabled"}}
    assert job.input.files == "data/tickets.tsv"
    assert job.system == (text_block("Classify the ticket.", 1, "prompts/classify.md.j2", 5),)
    assert job.messages == (MessageSpec("user", (text_block("<ticket>{{ row.text }}</ticket>", 6),)),)
    assert job.output.file == "outputs/tickets.parquet"
    assert job.lists == {
        "categories": (Label("billing", "the money"), Label("claim", "the damage"), Label("no", "neither"))
    }
    assert job.output.schema == {
        "type": "object",
        "properties": {
            "category": {"type": "string", "enum": ["billing", "claim", "no"]},
            "reason": {"type": "string"},
        },
        "required": ["category", "reason"],
        "additionalProperties": False,
    }


def test_a_setting_knows_where_it_was_set(tmp_path: Path) -> None:
    job = load(write_project(tmp_path))[1]["classify_tickets"]
    assert str(job.locations["thinking"]) == f"{PATH}:4:1"
    assert str(job.locations["model"]) == "batchforge.yml:6:12"


def test_defaults_go_from_the_project_over_the_folders_to_the_job(tmp_path: Path) -> None:
    files = {
        "batchforge.yml": PROJECT + "vars: {a: project, b: project}\n",
        "jobs/_defaults.yml": "max_tokens: 1\neffort: low\ntags: [outer, both]\nmeta: {a: 1, b: 1}\n"
        "vars: {b: outer, c: outer}\n",
        "jobs/triage/_defaults.yaml": "max_tokens: 2\ntags: [inner, both]\nmeta: {b: 2}\nmodel: strong\n",
        "jobs/other/_defaults.yml": "max_tokens: 9\ntags: [other]\n",
        PATH: JOB + "max_tokens: 3\nmeta: {c: 3}\nvars: {c: job}\n",
    }
    _, jobs, problems = load(write_project(tmp_path, files))
    assert problems == []
    job = jobs["classify_tickets"]
    assert job.max_tokens == 3
    assert job.model == "claude-opus-5-5"
    assert job.params["output_config"] == {"effort": "low"}
    assert job.tags == ("outer", "both", "inner", "nightly")
    assert job.meta == {"a": 1, "b": 2, "c": 3}
    assert job.vars == {"a": "project", "b": "outer", "c": "job"}


def test_the_command_line_has_the_last_word_on_vars(tmp_path: Path) -> None:
    files = {"batchforge.yml": PROJECT + "vars: {a: 1, b: {required: true}}\n", PATH: JOB + "vars: {a: 2, limit: 5}\n"}
    _, jobs, problems = load(write_project(tmp_path, files), a="3", b="x", limit="6")
    assert problems == []
    assert jobs["classify_tickets"].vars == {"a": 3, "b": "x", "limit": 6}


def test_a_required_variable_may_come_from_the_job(tmp_path: Path) -> None:
    other = JOB.replace("tickets.parquet", "other.parquet")
    files = {"batchforge.yml": PROJECT + "vars: {b: {required: true}}\n", "jobs/other.yml": other}
    assert problems_of(tmp_path, files) == ["BF140 batchforge.yml:9:8: The variable `b` has no value."]
    both = {PATH: JOB + "vars: {b: 1}\n", "jobs/other.yml": other + "vars: {b: 2}\n"}
    assert problems_of(tmp_path, {**files, **both}) == []


def test_a_job_may_require_a_variable(tmp_path: Path) -> None:
    assert job_problems(tmp_path, "vars: {month: {required: true}}") == [
        f"BF140 {PATH}:3:8: The variable `month` has no value."
    ]
    assert load(tmp_path, month="2026-11")[1]["classify_tickets"].vars == {"month": "2026-11"}


def test_a_variable_that_nothing_declares_is_refused(tmp_path: Path) -> None:
    files = {"batchforge.yml": PROJECT + "vars: {month: 11}\n"}
    assert problems_of(tmp_path, files, mnth="x") == ["BF141 --vars gives `mnth`, which nothing declares."]


def test_a_job_does_not_read_the_environment(tmp_path: Path) -> None:
    assert job_problems(tmp_path, "vars: {a: \"{{ env_var('HOME') }}\"}")[0].startswith("BF131")


@pytest.mark.parametrize(
    ("setting", "param", "value"),
    [
        ("thinking: adaptive", "thinking", {"type": "adaptive"}),
        ("thinking: between_tools", "thinking", {"type": "between_tools"}),
        ("thinking: {type: enabled, budget_tokens: 2000}", "thinking", {"type": "enabled", "budget_tokens": 2000}),
        ("effort: max", "output_config", {"effort": "max"}),
        ("tool_choice: any", "tool_choice", {"type": "any"}),
        ("tool_choice: lookup", "tool_choice", {"type": "tool", "name": "lookup"}),
        (
            "tool_choice: {type: auto, disable_parallel_tool_use: true}",
            "tool_choice",
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        ("stop_sequences: [no, '1.10']", "stop_sequences", ["no", "1.10"]),
        ("tools: [{name: a, input_schema: {z: 1, a: 2}}]", "tools", [{"name": "a", "input_schema": {"z": 1, "a": 2}}]),
        ("metadata: {user_id: u}", "metadata", {"user_id": "u"}),
        ("service_tier: standard_only", "service_tier", "standard_only"),
        ("inference_geo: us", "inference_geo", "us"),
        ("temperature: 0", "temperature", 0),
        ("top_p: 0.5", "top_p", 0.5),
        ("top_k: 3", "top_k", 3),
        ("params: {context_management: {edits: []}}", "context_management", {"edits": []}),
        ("effort: low\nparams: {output_config: {task: 5}}", "output_config", {"task": 5, "effort": "low"}),
    ],
)
def test_every_body_parameter_is_reachable(tmp_path: Path, setting: str, param: str, value: object) -> None:
    assert job_with(tmp_path, setting).params == {"max_tokens": 400, param: value}


def test_the_order_of_keys_in_a_schema_is_kept(tmp_path: Path) -> None:
    job = job_with(tmp_path, "tools: [{name: a, input_schema: {z: 1, a: 2}}]")
    assert list(job.params["tools"][0]["input_schema"]) == ["z", "a"]


def test_betas_are_not_a_body_parameter(tmp_path: Path) -> None:
    job = job_with(tmp_path, "betas: [output-300k-2026-03-24]")
    assert job.betas == ("output-300k-2026-03-24",)
    assert "betas" not in job.params


@pytest.mark.parametrize(
    "field", ["model: x", "thinking: {}", "stream: false", "cache_control: {}", "betas: []", "output_format: {}"]
)
def test_params_takes_no_field_with_a_setting_of_its_own(tmp_path: Path, field: str) -> None:
    assert job_problems(tmp_path, f"params: {{{field}}}")[0].startswith(f"BF153 {PATH}:3:10")


def test_params_takes_no_part_of_output_config_that_has_a_setting(tmp_path: Path) -> None:
    found = job_problems(tmp_path, "params: {output_config: {effort: low, format: {}}}")
    assert [problem[:5] for problem in found] == ["BF153", "BF153"]


def test_blocks_become_content_blocks(tmp_path: Path) -> None:
    user = (
        "input: {file: a.csv}\nuser:\n"
        "  - text: a {{ row.a }}\n"
        "  - {file: prompts/b.md}\n"
        "  - {type: image, source: {type: url, url: '{{ row.url }}'}, n: [1, true, null]}\n"
    )
    (message,) = load_one(tmp_path, user, {"prompts/b.md": "\ufeffb\r\nc\n\n"}).messages
    assert message.content == (
        text_block("a {{ row.a }}", 3, block_line=3),
        {"type": TemplateSource("text", PATH, 4), "text": TemplateSource("b\nc\n", "prompts/b.md", 1)},
        {
            "type": TemplateSource("image", PATH, 5),
            "source": {"type": TemplateSource("url", PATH, 5), "url": TemplateSource("{{ row.url }}", PATH, 5)},
            "n": [1, True, None],
        },
    )


def test_a_conversation_is_taken_turn_by_turn(tmp_path: Path) -> None:
    settings = (
        "input: {file: a.csv}\nmessages:\n"
        "  - {role: user, content: hello}\n"
        "  - role: assistant\n    content: |\n      one\n      two\n"
        "  - {role: user, content: {file: prompts/classify.md.j2}}\n"
    )
    messages = load_one(tmp_path, settings).messages
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[1].content == (text_block("one\ntwo", 6, block_line=5),)
    assert messages[2].content == (text_block("Classify the ticket.", 1, "prompts/classify.md.j2", 8),)


def test_a_prompt_in_a_block_is_the_same_as_in_a_file(tmp_path: Path) -> None:
    text = "one\n\n two\n"
    inline = load_one(tmp_path, "input: {file: a.csv}\nuser: |\n  one\n\n   two\n").messages[0].content[0]
    file = load_one(tmp_path, "input: {file: a.csv}\nuser: {file: p.md}\n", {"p.md": text}).messages[0].content[0]
    assert isinstance(inline, dict)
    assert isinstance(file, dict)
    assert inline["text"] == TemplateSource("one\n\n two", PATH, 3)
    assert file["text"] == TemplateSource("one\n\n two", "p.md", 1)


def test_a_quoted_newline_is_kept(tmp_path: Path) -> None:
    (message,) = load_one(tmp_path, 'input: {file: a.csv}\nuser: "one\\n"\n').messages
    assert message.content == (text_block("one\n", 2),)


def test_user_and_messages_replace_each_other_across_layers(tmp_path: Path) -> None:
    conversation = "input: {file: a.csv}\nmessages: [{role: user, content: hello}]\n"
    job = load_one(tmp_path, conversation, {"jobs/_defaults.yml": "user: default\n"})
    assert job.messages == (MessageSpec("user", (text_block("hello", 2),)),)
    assert job_problems(tmp_path, "messages: [{role: user, content: x}]") == [
        f"BF105 {PATH}:3:1: `user` and `messages` do not go together."
    ]


def test_an_empty_list_drops_the_system_prompt_of_the_defaults(tmp_path: Path) -> None:
    defaults = {"jobs/_defaults.yml": "system: be brief\n"}
    assert load_one(tmp_path, BASE, defaults).system != ()
    assert load_one(tmp_path, BASE + "system: []\n", defaults).system == ()


def test_input_settings_are_taken_over(tmp_path: Path) -> None:
    settings = (
        "input: {files: 'data/*.csv', header: false, columns: [a, '1'], delimiter: ';', quote: null, "
        "encoding: latin-1, types: {a: integer}, key: [a], on_duplicate: suffix, where: row.a > 1, limit: 5, "
        "sample: 3, format: csv}\nuser: x\n"
    )
    spec = load_one(tmp_path, settings).input
    assert str(spec.location) == f"{PATH}:1:1"
    assert spec == InputSpec(
        files="data/*.csv",
        format="csv",
        header=False,
        columns=("a", "1"),
        delimiter=";",
        quote=None,
        encoding="latin-1",
        types={"a": "integer"},
        key=("a",),
        on_duplicate="suffix",
        where="row.a > 1",
        limit=5,
        sample=3,
        location=spec.location,
    )


def test_rows_can_stand_in_the_job(tmp_path: Path) -> None:
    rows = "input:\n  key: id\n  rows:\n    - {id: 007, ok: yes, n: 1.5, t: true}\nuser: x\n"
    spec = load_one(tmp_path, rows).input
    assert spec.rows == ({"id": "007", "ok": "yes", "n": 1.5, "t": True},)
    assert spec.key == ("id",)
    assert spec.files is None


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("{text_files: 'x/*.txt', delimiter: ','}", "BF105"),
        ("{rows: [{a: 1}], encoding: latin-1}", "BF105"),
        ("{file: a.csv, columns: [a]}", "BF105"),
        ("{file: ../a.csv}", "BF122"),
        ("{key: a}", "BF105"),
        ("{}", "BF105"),
    ],
)
def test_input_settings_that_do_nothing_or_lead_out_are_refused(tmp_path: Path, settings: str, code: str) -> None:
    assert problems_of(tmp_path, {PATH: f"input: {settings}\nuser: x\n"})[0].startswith(code)


def test_cache_and_batch_settings_are_taken_over(tmp_path: Path) -> None:
    assert job_with(tmp_path, "").cache == CachePolicy()
    assert job_with(tmp_path, "cache: off").cache == CachePolicy("off")
    assert job_with(tmp_path, "cache: on").cache == CachePolicy("on")
    assert job_with(tmp_path, "cache: {ttl: 1h, per: id}").cache == CachePolicy("auto", "1h", "id")
    assert job_with(tmp_path, "batch: {max_requests: 5}").batch == BatchLimits(5, 240_000_000)
    assert job_with(tmp_path, "min_success: 1").min_success == 1.0
    assert job_with(tmp_path, "enabled: false").enabled is False


def test_output_settings_are_taken_over(tmp_path: Path) -> None:
    output = job_with(tmp_path, "output: {file: o/x.csv, columns: [], text_column: t, escape_formulas: true}").output
    assert (output.file, output.columns, output.text_column) == ("o/x.csv", (), "t")
    assert output.escape_formulas is True
    assert output.schema is None


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("{fields: {a: text}, schema: {type: object}}", "BF105"),
        ("{fields: {a: text}, text_column: b}", "BF105"),
        ("{file: ../x.csv}", "BF122"),
        ("{file: .batchforge/x.csv}", "BF138"),
        ("{file: a.csv}", "BF154"),
    ],
)
def test_output_settings_that_do_harm_are_refused(tmp_path: Path, settings: str, code: str) -> None:
    assert job_problems(tmp_path, f"output: {settings}")[0].startswith(code)


def test_what_a_job_lacks_names_where_it_could_be_set(tmp_path: Path) -> None:
    files = {"batchforge.yml": PROJECT.replace("defaults: {model: cheap, max_tokens: 400}\n", ""), PATH: "tags: [a]\n"}
    _, _, problems = load(write_project(tmp_path, files))
    assert [problem.message for problem in problems] == [
        "`input` is not set for this job.",
        "`model` is not set for this job.",
        "`max_tokens` is not set for this job.",
        "Neither `user` nor `messages` is set for this job.",
    ]
    assert "_defaults.yml" in problems[0].hint
    assert "batchforge.yml" in problems[0].hint


def test_a_model_without_an_alias_is_taken_as_it_is(tmp_path: Path) -> None:
    assert job_with(tmp_path, "model: claude-opus-5-5").model == "claude-opus-5-5"


def test_a_list_keeps_each_label_as_typed(tmp_path: Path) -> None:
    labels = "no: nothing\n1.10: version\n007:\n'true': quoted\nnull: |\n  a\n  b\n"
    job = load_one(tmp_path, BASE, {"prompts/categories.yml": labels})
    assert job.lists["categories"] == (
        Label("no", "nothing"),
        Label("1.10", "version"),
        Label("007"),
        Label("true", "quoted"),
        Label("null", "a b"),
    )


def test_a_list_may_be_a_list(tmp_path: Path) -> None:
    job = load_one(tmp_path, BASE, {"prompts/categories.yml": "- no\n- 1_000: many\n- a: 5\n"})
    assert job.lists["categories"] == (Label("no"), Label("1_000", "many"), Label("a", "5"))


@pytest.mark.parametrize(
    "labels", ["just text", "- [a]", "- {a: 1, b: 2}", "a: [b]", "- ''", "- a\n- A", "- a\n- a", "a: {b: c}"]
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, labels: str) -> None:
    assert problems_of(tmp_path, {"prompts/categories.yml": labels})[0].startswith("BF157 prompts/categories.yml:")


def test_a_list_that_is_missing_is_told_where_it_is_named(tmp_path: Path) -> None:
    text = PROJECT.replace("prompts/categories.yml", "prompts/category.yml")
    assert problems_of(tmp_path, {"batchforge.yml": text})[0].startswith("BF121 batchforge.yml:8:21")


@pytest.mark.parametrize("name", ["Upper", "with space", "_private", "dot.ted", "ümlaut", "x" * 101])
def test_a_job_name_that_would_make_trouble_is_refused(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(tmp_path, {f"jobs/{name}.yml": JOB.replace("tickets.parquet", "x.csv")})
    assert problem.startswith(f"BF150 jobs/{name}.yml: ")


def test_the_same_mistake_in_shared_defaults_is_told_once(tmp_path: Path) -> None:
    jobs = {f"jobs/job_{number}.yml": BASE for number in range(5)}
    files = {
        **jobs,
        PATH: BASE,
        "batchforge.yml": PROJECT.replace("model: cheap", "system: {file: none.md}, model: cheap"),
    }
    assert problems_of(tmp_path, files) == ["BF121 batchforge.yml:6:27: There is no file `none.md`."]


def test_mistakes_in_folder_defaults_stop_only_the_jobs_below(tmp_path: Path) -> None:
    files = {"jobs/bad/_defaults.yml": "modle: x\n", "jobs/bad/a.yml": BASE, "jobs/good/b.yml": BASE}
    _, jobs, problems = load(write_project(tmp_path, files))
    assert [problem.code for problem in problems] == ["BF101"]
    assert {"b", "classify_tickets"} <= jobs.keys()


def test_a_link_that_leads_out_is_told_among_the_other_problems(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    (tmp_path / "outside.yml").write_text(JOB)
    (root / "jobs" / "linked.yml").symlink_to(tmp_path / "outside.yml")
    assert [problem.code for problem in load(root)[2]] == ["BF123"]
    (root / "jobs" / "linked.yml").unlink()
    (root / "jobs" / "_defaults.yml").symlink_to(tmp_path / "outside.yml")
    assert {problem.code for problem in load(root)[2]} == {"BF123"}


def test_a_disabled_job_may_keep_the_output_of_the_one_that_replaced_it(tmp_path: Path) -> None:
    assert problems_of(tmp_path, {"jobs/old.yml": JOB + "enabled: false\n"}) == []


def test_500_jobs_are_read_in_a_second_and_without_heavy_libraries(tmp_path: Path) -> None:
    jobs = {f"jobs/a/job_{n}.yml": JOB.replace("tickets.parquet", f"{n}.parquet") for n in range(499)}
    root = write_project(tmp_path, jobs)
    script = (
        "import sys, time, pathlib\n"
        "from batchforge.errors import ProblemList\n"
        "from batchforge.config.job_files import load_jobs\n"
        "from batchforge.project import load_project\n"
        "problems = ProblemList()\n"
        "print(len(load_jobs(load_project(pathlib.Path(sys.argv[1]), problems=problems), problems)))\n"
        "print(sorted({'jsonschema', 'jinja2', 'rich', 'duckdb', 'anthropic', 'msgspec'} & sys.modules.keys()))\n"
        "print(time.process_time() < 1.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["500", "[]", "True", ""]


def test_a_project_without_jobs_is_one(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    (root / PATH).unlink()
    assert load(root)[1:] == ({}, [])


def test_a_job_reads_the_same_with_any_line_ends(tmp_path: Path) -> None:
    unix = load(write_project(tmp_path / "unix"))[1]["classify_tickets"]
    windows = {name: str(text).replace("\n", "\r\n").encode() for name, text in FILES.items()}
    assert load(write_project(tmp_path / "windows", windows))[1]["classify_tickets"] == unix
