"""What was spent, recomputed from raw usage by arithmetic of this file's own; and held against a vendor's export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.config.yaml_nodes import parse_yaml
from batchforge.errors import ProblemList, UsageError
from batchforge.ledger.cost import CostReport, cost_report, reconciled
from batchforge.ledger.cost_text import cost_csv, cost_json, cost_lines, reconciliation_lines
from batchforge.ledger.reconciliation import Reconciliation
from batchforge.ledger.spending import Period
from batchforge.ledger.usage_export import (
    COST_COLUMNS,
    DAY_COLUMNS,
    MODE_COLUMNS,
    MODEL_COLUMNS,
    TOKEN_COLUMNS,
    ExportLine,
    read_usage_export,
)
from batchforge.results import ResultKind, Usage
from batchforge.state.maintenance import prune
from batchforge.state.sqlite import SqliteState
from tests.builders import TREE, ProjectFiles, state_path
from tests.ledger import DAY, Answer, Ledger, many

TODAY = date(2026, 11, 24)
ALWAYS = Period()
PICO = 10**12
# USD per million tokens, from the published pages: input, 5m writes, 1h writes, reads, output.
PRICES: Mapping[str, Sequence[tuple[int | None, tuple[str, ...]]]] = {
    "claude-haiku-5-5": [
        (100_000, ("0.1", "0.125", "0.2", "0.01", "0.5")),
        (None, ("0.5", "0.625", "1", "0.05", "2.5")),
    ],
    "claude-opus-4-6": [(None, ("5", "6.25", "10", "0.5", "25"))],
    "claude-fable-5-1": [(None, ("10", "12.5", "20", "0.25", "50"))],
}
ANSWERS = st.builds(
    Answer,
    usage=st.builds(Usage, *[st.integers(0, 120_000)] * 5, web_searches=st.integers(0, 3)),
    model=st.sampled_from([*PRICES]),
    geo=st.sampled_from(["us", "global", None]),
    kind=st.sampled_from([ResultKind.ANSWERED, ResultKind.TRUNCATED, ResultKind.REFUSED, ResultKind.EXPIRED]),
)


@pytest.fixture
def files(tmp_path: Path) -> ProjectFiles:
    return small_project(tmp_path / "project")


def small_project(root: Path) -> ProjectFiles:
    """Targets are `local`, an emulator, and `api` and `spare`, which share the real API's answers."""
    files = ProjectFiles(root)
    files.targets |= {
        "api": {"type": "claude", "api_key": "{{ env_var('NO_SUCH_KEY') }}", "outputs": "out"},
        "spare": {"type": "claude", "outputs": "other"},
    }
    files.write_project()
    return files


def report(files: ProjectFiles, *by: str, target: str | None = None, period: Period = ALWAYS) -> CostReport:
    project, jobs, _ = files.load()
    tags = {job.name: job.tags for job in jobs}
    chosen = project.target(target) if target else None
    return cost_report(project, tags, chosen, period, by or ("job",), TODAY)


def lines_of(found: CostReport) -> dict[tuple[str, ...], int]:
    return {line.keys: line.spent.cost_pico_usd for line in found.paid.lines}


def by_hand(usage: Usage, model: str, *, batch: bool, geo: str | None, kind: str | None = None) -> Fraction:
    """In 10⁻¹² USD; of one kind of token, or of all and the searches."""
    prompt = usage.input_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens + usage.cache_read_tokens
    tier = next(prices for limit, prices in PRICES[model] if limit is None or prompt <= limit)
    counts = {
        "input": usage.input_tokens,
        "cache_write_5m": usage.cache_write_5m_tokens,
        "cache_write_1h": usage.cache_write_1h_tokens,
        "cache_read": usage.cache_read_tokens,
        "output": usage.output_tokens,
    }
    factor = (Fraction(1, 2) if batch else Fraction(1)) * (Fraction(11, 10) if geo == "us" else 1)
    costs = {
        name: count * Fraction(price) * 10**6 * factor
        for (name, count), price in zip(counts.items(), tier, strict=True)
    }
    return costs[kind] if kind else sum(costs.values(), Fraction(usage.web_searches, 100) * PICO)


def uncached_by_hand(usage: Usage, model: str, geo: str | None) -> Fraction:
    everything = Usage(usage.prompt_tokens, usage.output_tokens, web_searches=usage.web_searches)
    return by_hand(everything, model, batch=False, geo=geo)


# ---- from the raw messages


def test_the_bill_is_what_the_usage_in_the_messages_comes_to(project: ProjectFiles) -> None:
    project.write_rows(["short", "word " * 130_000])
    project.write_job("abroad", model="claude-opus-4-6", inference_geo="us", output={"file": "outputs/b.jsonl"})
    project.write_job("short", input={"file": "data/short.jsonl", "key": ["id"]}, output={"file": "outputs/c.jsonl"})
    project.write_rows(["a", "b"], "data/short.jsonl")
    project.run()
    exported = [json.loads(line) for line in project.cli("state", "export").stdout.splitlines()]
    expected = Fraction(0)
    for answer in exported:
        usage = answer["message"]["usage"]
        created = usage["cache_creation"]
        raw = Usage(
            usage["input_tokens"],
            usage["output_tokens"],
            usage["cache_read_input_tokens"],
            created["ephemeral_5m_input_tokens"],
            created["ephemeral_1h_input_tokens"],
        )
        assert usage["service_tier"] == "batch"
        expected += by_hand(raw, answer["message"]["model"], batch=True, geo=usage["inference_geo"])
    assert any(answer["message"]["usage"]["input_tokens"] > 100_000 for answer in exported)
    assert any(answer["message"]["usage"]["inference_geo"] == "us" for answer in exported)
    total = project.cli("cost", "--output", "json").json()["paid"]["total"]
    assert Fraction(total["usd"]["total"]) * PICO == expected
    assert total["usd"]["other_prices"] == "0"
    assert total["billed_results"] == len(exported)


def test_every_sum_is_exact_whatever_the_results_are() -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.lists(ANSWERS, min_size=1, max_size=8), st.booleans()), min_size=1, max_size=4))
    def check(attempts: list[tuple[list[Answer], bool]]) -> None:
        with TemporaryDirectory() as folder:
            files = small_project(Path(folder) / "project")
            ledger = Ledger(files)
            for number, (answers, is_batch) in enumerate(attempts):
                mode = "batch" if is_batch else "sync"
                ledger.store(*answers, mode=mode, job=f"job_{number % 2}", run=f"run-{number}")
            check_against_hand(files, ledger, attempts)

    check()


def check_against_hand(files: ProjectFiles, ledger: Ledger, attempts: Sequence[tuple[Sequence[Answer], bool]]) -> None:
    billed = [(a, batch) for answers, batch in attempts for a in answers if a.kind.is_billed]
    total = report(files).paid.total
    assert total.cost_pico_usd == sum(result.cost_pico_usd or 0 for result in ledger.stored)
    assert total.cost_pico_usd == sum(by_hand(a.usage, a.model, batch=batch, geo=a.geo) for a, batch in billed)
    assert total.standard_pico_usd == sum(uncached_by_hand(a.usage, a.model, a.geo) for a, _ in billed)
    for kind in ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output"):
        expected = sum(by_hand(a.usage, a.model, batch=batch, geo=a.geo, kind=kind) for a, batch in billed)
        assert getattr(total.kinds, kind) == expected
        assert getattr(total.usage, f"{kind}_tokens") == sum(getattr(a.usage, f"{kind}_tokens") for a, _ in billed)
    assert (total.billed, total.unbilled) == (len(billed), sum(len(answers) for answers, _ in attempts) - len(billed))
    for by in (["job"], ["run"], ["day"], ["model"], ["target"], ["commit"], ["job", "model", "day"]):
        assert sum(lines_of(report(files, *by)).values()) == total.cost_pico_usd


def test_rows_of_one_batch_are_priced_each_by_its_own_tier(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(100_000, 100)), Answer(Usage(100_001, 100)))
    cheap, dear = 100_000 * 50_000 + 100 * 250_000, 100_001 * 250_000 + 100 * 1_250_000
    total = report(files).paid.total
    assert total.cost_pico_usd == total.kinds.total == cheap + dear


def test_single_requests_cost_twice_what_batches_do(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(Answer(), job="batched")
    ledger.store(Answer(), job="single", mode="sync")
    costs = lines_of(report(files))
    assert costs["single",] == 2 * costs["batched",]


# ---- what the lines stand for


def test_a_result_belongs_to_the_day_on_which_its_batch_ended(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    for day in ("2026-11-01", "2026-11-02", "2026-11-30"):
        ledger.store(Answer(), day=day)
    assert [*lines_of(report(files, "day"))] == [("2026-11-01",), ("2026-11-02",), ("2026-11-30",)]
    assert [*lines_of(report(files, "day", period=Period("2026-11-02", "2026-11-30")))] == [
        ("2026-11-02",),
        ("2026-11-30",),
    ]
    assert report(files, period=Period(until="2026-11-01")).paid.total.billed == 1


def test_several_dimensions_can_be_asked_for(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(Answer(), Answer(model="claude-opus-4-6"), commit="abc", run="run-1")
    ledger.store(Answer(), commit="def-dirty", run="run-2")
    found = lines_of(report(files, "commit", "run", "model"))
    assert [*found] == [
        ("abc", "run-1", "claude-haiku-5-5"),
        ("abc", "run-1", "claude-opus-4-6"),
        ("def-dirty", "run-2", "claude-haiku-5-5"),
    ]


def test_a_job_with_two_tags_stands_in_both_lines_and_once_in_the_total(files: ProjectFiles) -> None:
    files.write_job(tags=["nightly", "cheap"])
    ledger = Ledger(files)
    ledger.store(Answer())
    ledger.store(Answer(), job="gone_by_now")
    found = report(files, "tag")
    assert [*lines_of(found)] == [("(no tag)",), ("cheap",), ("nightly",)]
    assert found.paid.total.billed == 2
    assert "A job with several tags stands in the lines of each; totals count it once." in [*cost_lines(found)]


def test_targets_that_share_a_state_are_told_apart(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(Answer(), target="api")
    ledger.store(*many(Answer(), 2), target="spare")
    both = lines_of(report(files, "target"))
    assert both["spare",] == 2 * both["api",]
    assert report(files, target="api").paid.total.billed == 1


def test_results_of_a_target_that_is_gone_from_the_project_still_count(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(), target="spare")
    del files.targets["spare"]
    files.write_project()
    assert [*lines_of(report(files, "target"))] == [("spare",)]


# ---- what is said beside the sums


def test_the_hit_rate_is_the_share_that_was_read_of_what_stood_under_a_mark(files: ProjectFiles) -> None:
    Ledger(files).store(
        Answer(Usage(500, 10, cache_write_1h_tokens=1_000)), *many(Answer(Usage(500, 10, cache_read_tokens=1_000)), 3)
    )
    assert report(files).paid.total.hit_rate == 0.75
    assert report(small_project(files.root / "other")).paid.total.hit_rate is None


def test_savings_are_against_single_requests_without_a_cache(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(0, 0, cache_read_tokens=1_000_000), model="claude-opus-4-6"))
    total = report(files).paid.total
    assert (total.standard_pico_usd, total.cost_pico_usd, total.saved_pico_usd) == (
        5 * PICO,
        PICO // 4,
        5 * PICO - PICO // 4,
    )


def test_costs_that_todays_prices_do_not_give_are_named_and_the_total_stays(files: ProjectFiles) -> None:
    (result,) = Ledger(files).store(Answer(Usage(1_000_000, 0), model="claude-opus-4-6"))
    project_file = json.loads(files.path("batchforge.yml").read_text())
    files.write(
        "batchforge.yml", json.dumps({**project_file, "prices": {"claude-opus-4-6": {"input": 8, "output": 8}}})
    )
    found = report(files)
    assert found.paid.total.cost_pico_usd == result.cost_pico_usd == 5 * PICO // 2
    assert found.paid.total.other_prices_pico_usd == -3 * PICO // 2
    assert (
        "claude-opus-4-6: 1 result was stored at $2.5000; today's price table gives $4.0000. "
        "The total is of the stored costs." in [*cost_lines(found)]
    )


def test_results_without_a_known_price_are_named_and_in_no_sum(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(*many(Answer(Usage(1_000, 10), model="house-model"), 2), Answer())
    found = report(files)
    assert found.paid.total.unpriced == 2
    assert found.paid.total.cost_pico_usd == ledger.stored[-1].cost_pico_usd
    assert found.paid.total.usage.input_tokens == 2_100
    assert "house-model: 2 billed results had no known price and are in no sum (2,000 tokens in, 20 out)." in [
        *cost_lines(found)
    ]


def test_results_that_got_a_price_later_say_what_it_makes_of_them(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(1_000_000, 0), model="claude-opus-4-6"), is_priced=False)
    found = report(files)
    assert found.paid.total.cost_pico_usd == 0
    assert found.paid.unpriced[0].today_pico_usd == 5 * PICO // 2


def test_unbilled_results_are_counted_and_cost_nothing(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(kind=ResultKind.EXPIRED), Answer(kind=ResultKind.ERRORED))
    total = report(files).paid.total
    assert (total.billed, total.unbilled, total.cost_pico_usd) == (0, 2, 0)


def test_paid_answers_that_were_pruned_are_named(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(*many(Answer(), 2))
    project, _, target = files.load((), "api")
    state = SqliteState(state_path(project, target))
    prune(state, "2999-01-01T00:00:00Z")
    state.close()
    found = report(files).paid
    assert (found.total.billed, found.pruned) == (0, 2)
    assert found.pruned_pico_usd == sum(result.cost_pico_usd or 0 for result in ledger.stored)
    assert report(files, period=Period("2026-11-21")).paid.pruned == 0


def test_a_doubtful_price_is_named(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(model="claude-fable-5-2"))
    (doubt,) = report(files).doubts
    assert "the prices of claude-fable-5-2 are not verified" in doubt


def test_what_an_emulator_answered_is_not_paid(files: ProjectFiles) -> None:
    files.run(target="local")
    found = report(files)
    assert (found.paid.total.billed, found.emulated.total.billed) == (0, 3)
    text = [*cost_lines(found)]
    assert text[0] == "Nothing was spent."
    assert "emulated, not paid:" in text
    value = cost_json(found)
    assert value["paid"]["total"]["usd"]["total"] == "0"
    assert value["emulated"]["note"] == "emulated, not paid"


def test_a_target_whose_state_cannot_be_found_is_left_out_by_name(files: ProjectFiles) -> None:
    files.targets["far"] = {"type": "claude", "state": "{{ env_var('NO_SUCH_PATH') }}", "outputs": "far"}
    files.write_project()
    Ledger(files).store(Answer())
    (left_out,) = report(files).left_out
    assert "far: " in left_out
    assert "NO_SUCH_PATH" in left_out


# ---- as a command


def test_the_lines_of_csv_sum_to_the_total(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(Answer(), Answer(Usage(3, 5, 7, 11, 13, 1), "claude-opus-4-6", "us"))
    ledger.store(Answer(kind=ResultKind.REFUSED), mode="sync", run="run-2")
    found = report(files, "model", "run")
    rows = [*csv.DictReader(io.StringIO(cost_csv(found)))]
    total = cost_json(found)["paid"]["total"]
    assert sum(Fraction(row["total_usd"]) for row in rows) == Fraction(total["usd"]["total"])
    for row in rows:
        kinds = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output", "web_search", "other_prices")
        assert sum(Fraction(row[f"{kind}_usd"]) for kind in kinds) == Fraction(row["total_usd"])
        assert row["paid"] == "yes"


def test_the_command_gives_text_json_and_csv(files: ProjectFiles) -> None:
    Ledger(files).store(*many(Answer(Usage(1_000_000, 0), model="claude-opus-4-6"), 3))
    text = files.cli("cost", "--by", "model", "--since", "2026-11-01").stdout
    assert "claude-opus-4-6        3  $7.5000" in text
    assert files.cli("cost", "--output", "json").json()["paid"]["total"]["usd"]["total"] == "7.5"
    assert files.cli("cost", "--by", "day", "--output", "csv").stdout.splitlines()[1].startswith(f"{DAY},yes,3,")


def test_a_wrong_job_file_does_not_hide_what_was_spent(files: ProjectFiles) -> None:
    Ledger(files).store(Answer())
    files.write("jobs/wrong.yml", "modle: x\n")
    done = files.cli("cost", "--output", "json")
    assert done.exit_code == 0
    assert done.json()["paid"]["total"]["billed_results"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "last week"), "BF822 --since `last week` is not a day."),
        (("--until", "2026-13-01"), "BF822 --until `2026-13-01` is not a day."),
        (("--target", "api"), "BF908 There is no state of target `api` yet."),
    ],
)
def test_what_cannot_be_counted_is_said(files: ProjectFiles, words: tuple[str, ...], message: str) -> None:
    done = files.cli("cost", *words)
    assert done.exit_code == 2
    assert message in done.stderr


# ---- against a vendor's export

TOKENS_HEAD = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count,inference_geo,speed\n"
)
COST_HEAD = "usage_date_utc,model,workspace,api_key,usage_type,token_type,cost_usd\n"
BUSY = Usage(1_000, 200, 3_000, 400, 500, 2)


def against(files: ProjectFiles, text: str, period: Period = ALWAYS) -> Reconciliation:
    path = files.write("usage.csv", text)
    project, _, _ = files.load()
    return reconciled(project, None, period, read_usage_export(path))


def tokens_line(usage: Usage, day: str = DAY, model: str = "claude-opus-4-6", mode: str = "batch") -> str:
    counts = (
        usage.input_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
        usage.output_tokens,
        usage.web_searches,
    )
    return f"{day},{model},key,Default,{mode},≤ 200k,{','.join(map(str, counts))},global,\n"


def test_an_export_of_the_same_tokens_is_equal(files: ProjectFiles) -> None:
    Ledger(files).store(*many(Answer(BUSY, "claude-opus-4-6"), 2), Answer(kind=ResultKind.EXPIRED))
    found = against(files, TOKENS_HEAD + tokens_line(BUSY) + tokens_line(BUSY))
    assert found.is_equal
    assert len(found.compared) == 6


def test_each_difference_is_named_with_its_day_and_model(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(Answer(Usage(10, 20), "claude-opus-4-6"))
    ledger.store(Answer(Usage(1, 1)), day="2026-11-21")
    more = tokens_line(Usage(10, 25)) + tokens_line(Usage(7, 0), model="claude-sonnet-5-5", day="2026-11-21")
    found = against(files, TOKENS_HEAD + more)
    assert not found.is_equal
    assert [line for line in reconciliation_lines(found) if line.startswith("2026")] == [
        "2026-11-20 claude-opus-4-6 batch: differs: output 20 here, 25 there",
        "2026-11-21 claude-haiku-5-5 batch: only ours: input 1 here, 0 there; output 1 here, 0 there",
        "2026-11-21 claude-sonnet-5-5 batch: only theirs: input 0 here, 7 there",
    ]


def test_batches_and_single_requests_are_compared_apart_where_the_export_tells(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(5, 5)))
    line = tokens_line(Usage(5, 5), model="claude-haiku-5-5")
    assert against(files, TOKENS_HEAD + line).is_equal
    assert not against(files, TOKENS_HEAD + line.replace("batch", "standard")).is_equal


def test_a_batch_over_midnight_is_told_from_a_real_difference(files: ProjectFiles) -> None:
    Ledger(files).store(*many(Answer(Usage(5, 5)), 2), day="2026-11-21")
    line = tokens_line(Usage(5, 5), model="claude-haiku-5-5")
    found = against(files, TOKENS_HEAD + line + line.replace(DAY, "2026-11-21"))
    assert found.is_equal
    assert [line.verdict for line in found.lines] == ["only theirs", "differs"]
    assert "claude-haiku-5-5 (batch): only the days differ, the sums are equal." in [*reconciliation_lines(found)]


def test_only_the_days_of_the_export_are_compared_unless_others_are_asked_for(files: ProjectFiles) -> None:
    ledger = Ledger(files)
    ledger.store(Answer(Usage(5, 5)), day="2026-10-01")
    ledger.store(Answer(Usage(5, 5)))
    text = TOKENS_HEAD + tokens_line(Usage(5, 5), model="claude-haiku-5-5")
    assert against(files, text).is_equal
    assert not against(files, text, Period("2026-10-01")).is_equal
    assert against(files, text, Period("2026-11-21")).lines == []


def test_a_cost_export_with_a_line_for_each_kind_and_names_for_people_is_equal_to_the_cent(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(1_000_000, 100_000), "claude-haiku-4-5-20251001"), mode="sync")
    lines = [
        f"{DAY},Claude Haiku 4.5,Default,key,standard,input_no_cache,1.004\n",
        f"{DAY},Claude Haiku 4.5,Default,key,standard,output,$0.50\n",
    ]
    found = against(files, COST_HEAD + "".join(lines))
    assert (found.is_equal, found.compared) == (True, ["cost"])
    assert [*reconciliation_lines(found)][-1] == "In all: $1.5000 here, $1.5040 there."
    assert not against(files, COST_HEAD + lines[0] + lines[1].replace("0.50", "0.52")).is_equal


def test_emulated_answers_are_not_expected_in_an_export(files: ProjectFiles) -> None:
    files.run(target="local")
    Ledger(files).store(Answer(Usage(5, 5)))
    assert against(files, TOKENS_HEAD + tokens_line(Usage(5, 5), model="claude-haiku-5-5")).is_equal


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffDate;Model;Input Tokens;Output Tokens\n2026/11/20;claude-haiku-5-5;1,000;20\n",
        "day\tmodel_id\tinput\toutput\n2026-11-20T00:00:00Z\tclaude-haiku-5-5\t1000\t20\n\n",
        'extra,Usage Date (UTC),MODEL,input_tokens,output_tokens\nx,2026-11-20,Claude Haiku 5.5,"1,000",20\n',
        "date,model,uncached_input_tokens,output_tokens\n2026-11-20,claude-haiku-5-5,1000.0,20\n",
    ],
)
def test_columns_are_found_by_name_whatever_their_order_and_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(text, encoding="utf-8")
    assert [*read_usage_export(path)] == [
        ExportLine("2026-11-20", "claude-haiku-5-5", "", {"input": 1_000, "output": 20}, None)
    ]


def test_writes_that_are_not_told_apart_are_compared_as_one(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(BUSY, "claude-opus-4-6"))
    head = "date,model,input_tokens,cache_creation_input_tokens,cache_read_input_tokens,output_tokens\n"
    assert against(files, f"{head}{DAY},claude-opus-4-6,1000,900,3000,200\n").is_equal
    assert not against(files, f"{head}{DAY},claude-opus-4-6,1000,901,3000,200\n").is_equal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,output_tokens\n", "BF820 .*has no column for the day; its columns are: model, output_tokens"),
        ("date,model\n", "BF820 .*has no column for tokens or cost"),
        ("", "BF820 .*its columns are: none"),
        ("date,model,output\n2026-11-20,m,1\n2026-11-20,m,n/a\n", "BF821 .*usage.csv:3: .*`n/a` is not a number"),
        ("date,model,output\nyesterday,m,1\n", "BF821 .*usage.csv:2: .*`yesterday` is not a day"),
        ("date,model,output\n2026-02-30,m,1\n", "BF821 .*usage.csv:2"),
        ("date,model,cost\n2026-02-03,m,inf\n", "BF821 .*`inf` is not a number"),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        list(read_usage_export(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"BF820 .*nowhere.csv cannot be read"):
        list(read_usage_export(tmp_path / "nowhere.csv"))


def test_the_command_reconciles_and_exits_with_1_where_it_differs(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(5, 5)))
    files.write("usage.csv", TOKENS_HEAD + tokens_line(Usage(5, 5), model="claude-haiku-5-5"))
    same = files.cli("cost", "--reconcile", "usage.csv")
    assert (same.exit_code, "1 of 1 lines equal" in same.stdout) == (0, True)
    files.write("usage.csv", TOKENS_HEAD + tokens_line(Usage(5, 6), model="claude-haiku-5-5"))
    other = files.cli("cost", "--reconcile", "usage.csv", "--output", "json")
    assert other.exit_code == 1
    assert other.json()["lines"][0]["differences"] == ["output"]
    assert files.cli("cost", "--reconcile", "usage.csv", "--output", "csv").exit_code == 2


# ---- the documentation


def test_every_column_that_is_read_is_in_the_documentation() -> None:
    text = (TREE / "docs/cost.md").read_text()
    names = (DAY_COLUMNS, MODEL_COLUMNS, MODE_COLUMNS, COST_COLUMNS, *TOKEN_COLUMNS.values())
    columns = [column for some in names for column in some]
    assert [column for column in columns if f"`{column}`" not in text] == []


def test_the_commands_of_the_documentation_are_understood(files: ProjectFiles) -> None:
    Ledger(files).store(Answer(Usage(5, 5)))
    files.write("usage.csv", TOKENS_HEAD + tokens_line(Usage(5, 5), model="claude-haiku-5-5"))
    words = [line.split()[2:] for line in (TREE / "docs/cost.md").read_text().splitlines() if line.startswith("$ ")]
    for command in words:
        # The target is the documentation's, the key is nobody's.
        changed = ["api" if word == "prod" else word for word in command]
        done = files.cli(*changed)
        assert done.exit_code in (0, 1), (command, done.stderr)
        assert done.stdout, command


def test_the_prices_of_the_documentation_are_understood(files: ProjectFiles) -> None:
    text = (TREE / "docs/cost.md").read_text()
    settings_text = text.split("```yaml\n")[1].split("```")[0]
    node = parse_yaml(settings_text, "docs/cost.md", ProblemList())
    assert node is not None
    files.targets |= node["targets"].data
    files.targets["gateway"]["outputs"] = "gateway"
    files.write_project()
    project_file = json.loads(files.path("batchforge.yml").read_text())
    files.write("batchforge.yml", json.dumps({**project_file, "prices": node["prices"].data}))
    project, _, gateway = files.load((), "gateway")
    prices = project.price_table(gateway).prices_of("house-model")
    assert prices is not None
    assert (str(prices.tiers[0].cache_write_5m), prices.batch_multiplier) == ("0.3750", Decimal(1))
