"""Made-up results of `diff`, one for each form that a comment takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from batchforge.errors import Location, Problem, Severity
from batchforge.evaluation.statistics import (
    clustered_share_interval,
    compare_means,
    compare_shares,
    compare_with_noise,
    share_interval,
)
from batchforge.review.answer_values import (
    AnswersDiff,
    FieldDiff,
    Grid,
    JobTestDiff,
    JobTestSide,
    RowAnswers,
    Transition,
)
from batchforge.review.diff_values import (
    Basis,
    CacheEffect,
    CacheSide,
    Cost,
    Gate,
    JobDiff,
    Part,
    PartChange,
    ProjectDiff,
    PromptDiff,
    RowCounts,
    RowDiff,
    Status,
)
from batchforge.review.git_base import Revision
from batchforge.review.text_diff import added_lines, diff_texts
from batchforge.terminal.report import EMULATED_NOTICE

HOSTILE = (
    "</details><script>alert(1)</script> @everyone #1 GH-2 https://evil.example www.evil.example\n"
    "```\n````\n| a | b |\n![x](https://evil.example/x.png)\n<img src=x onerror=alert(1)>\n"
    "\u202egnp.exe\u2066 \x1b[31m \x00 ::error::forged ##[error]forged\n"
    "\\`tick` [link](javascript:alert(1)) 1. <!-- -->"
)
PICO = 10**12


def job(**changes: Any) -> JobDiff:
    old = "[system]\nYou sort tickets.\nBe brief.\n[user]\n⟨differs by row⟩"
    whole = JobDiff(
        job="triage",
        status=Status.MODIFIED,
        path="jobs/triage.yml",
        model="claude-haiku-5-5",
        mode="batch",
        basis=Basis.ROWS,
        parts=(
            PartChange(Part.SYSTEM, True, "prompts/triage.md.j2", Location("jobs/triage.yml", 4, 1)),
            PartChange(Part.META, False, "description: Old. → New."),
        ),
        rows=RowCounts(before=5_000, after=5_010, same=300, changed=4_700, new=10, rerun=4_600, fresh=10, reused=100,
                       waiting=3),
        learnt_from=4_970,
        change=Cost(4_610, 4_610_000, 230_500, round(2.91 * PICO), round(11.02 * PICO)),
        waiting=Cost(3, 3_000, 150, 1_900_000_000, 7_200_000_000),
        before=Cost(5_000, 4_900_000, 250_000, round(3.08 * PICO), round(11.61 * PICO)),
        after=Cost(5_010, 5_010_000, 250_500, round(3.16 * PICO), round(11.97 * PICO)),
        caching=CacheEffect(
            CacheSide(1_130, True, "marked, one row goes first"),
            CacheSide(1_150, True, "marked, one row goes first"),
            True,
            "the cached prefix is another one (1,130 → 1,150 tokens), written anew by the next run",
        ),
        prompt=PromptDiff(
            diff_texts(old, old.replace("brief", "very brief")),
            (RowDiff("17", "data/tickets.tsv:18", "changed, 240 bytes", diff_texts("[message]\nA", "[message]\nB")),),
        ),
    )  # fmt: skip
    return replace(whole, **changes)


def unchanged(name: str = "quiet", **changes: Any) -> JobDiff:
    values = {"job": name, "path": f"jobs/{name}.yml", "status": Status.UNCHANGED, "basis": Basis.SAME, "parts": (),
              "rows": None, "learnt_from": 0, "change": Cost(), "waiting": Cost(), "before": None, "after": None,
              "caching": None, "prompt": PromptDiff()}  # fmt: skip
    return job(**{**values, **changes})


def project(*jobs: JobDiff, **changes: Any) -> ProjectDiff:
    whole = ProjectDiff(
        project="support",
        target="prod",
        base=Revision("origin/main", "5f3c9a0d1e22" + "0" * 28),
        head=Revision("work tree", "77aa9a0d1e22" + "0" * 28, True, True),
        jobs=jobs,
        has_state=True,
        prices_as_of="2026-01-01",
    )
    return replace(whole, **changes)


def _renamed() -> JobDiff:
    same = RowCounts(before=20, after=20, same=20)
    whole = Cost(20, 20_000, 1_000, PICO // 100, PICO // 25)
    return job(job="sorting", status=Status.RENAMED, old_job="triage", old_path="jobs/triage.yml", parts=(), rows=same,
               path="jobs/sorting.yml", change=Cost(), waiting=Cost(), before=whole, after=whole, caching=None,
               prompt=PromptDiff())  # fmt: skip


def _removed() -> JobDiff:
    return job(job="old", status=Status.REMOVED, parts=(), rows=RowCounts(before=40, gone=40), change=Cost(),
               waiting=Cost(), after=Cost(), caching=None, prompt=PromptDiff())  # fmt: skip


def _added() -> JobDiff:
    prompt = PromptDiff(added_lines(["[system]", "Say who wrote it.", "[user]", "⟨differs by row⟩"]))
    return job(job="author", status=Status.ADDED, parts=(), rows=RowCounts(after=40, new=40, fresh=40), before=Cost(),
               waiting=Cost(), caching=None, prompt=prompt)  # fmt: skip


def _unknown() -> JobDiff:
    note = "neither its rows nor samples/triage.jsonl are here, so its rows and cost are not known"
    return job(basis=Basis.NOTHING, rows=None, change=None, waiting=None, before=None, after=None, caching=None,
               learnt_from=0, notes=(note,))  # fmt: skip


def _answers() -> AnswersDiff:
    before, after = _labels()
    noise = compare_with_noise([True] * 20 + [False] * 80, [False] * 97 + [True] * 3)
    category = FieldDiff(
        "category",
        "label",
        99,
        20,
        share_interval(20, 99),
        (Transition("billing", "claim", 12), Transition("no", "claim", 8)),
        Grid(("claim", "billing", "no"), ((39, 0, 0), (12, 40, 0), (8, 0, 0))),
        noise=noise,
    )
    score = FieldDiff(
        "score",
        "number",
        99,
        40,
        share_interval(40, 99),
        shift=compare_means([1.0, 2.0, 3.0] * 33, [1.0, 3.0, 3.0] * 33),
    )
    reason = FieldDiff("reason", "text", 99, 60, share_interval(60, 99), similarity=0.71)
    telling = RowAnswers(
        "17",
        "data/tickets.tsv:18",
        "broken",
        "category: billing → claim",
        {"text": "My bill?\nWhy?"},
        {"category": "billing", "score": 2},
        {"category": "claim", "score": 2},
    )
    return AnswersDiff(
        100,
        3,
        4_597,
        64,
        compare_shares([True] * 100, [True] * 99 + [False]),
        (Transition("answered", "invalid", 1),),
        (category, score, reason),
        _tests(),
        compare_shares(before, after),
        compare_with_noise([True] * 17 + [False] * 83, [False] * 98 + [True] * 2),
        "category = expected",
        telling=(telling,),
        noise_rows=100,
    )


def _tests() -> tuple[JobTestDiff, ...]:
    """One that now fails, one that measures, one of which nothing changed, and one that cannot be worked out."""
    passing = compare_shares([True] * 98 + [False] * 2, [True] * 90 + [False] * 10)
    noise = compare_with_noise([True] * 8 + [False] * 92, [False] * 99 + [True])
    same = compare_shares([True] * 100, [True] * 100)
    sides = [JobTestSide("pass", 100, 2, None, "2 of 100 rows failed"), JobTestSide("fail", 100, 10, None, "")]
    right = [JobTestSide("pass", 100, 15, 0.85, "85 right"), JobTestSide("pass", 100, 8, 0.92, "92 right")]
    unknown = JobTestSide("error", message="the output has no column 'colour'. There is category.")
    return (
        JobTestDiff("length_reason", "length", "error", sides[0], sides[1], passing, noise),
        JobTestDiff("accuracy_category", "accuracy", "warn", right[0], right[1], compare_shares(*_labels())),
        JobTestDiff("not_null_score", "not_null", "error", JobTestSide("pass", 100), JobTestSide("pass", 100), same),
        JobTestDiff("matches_colour", "matches", "error", unknown, unknown),
    )


def _labels() -> tuple[list[bool], list[bool]]:
    before = [True] * 80 + [False] * 12 + [True] * 5 + [False] * 3
    return before, [True] * 80 + [True] * 12 + [False] * 5 + [False] * 3


def _clustered() -> AnswersDiff:
    """Ten rows of each of ten contracts, asked once, in batches long ago and now."""
    contracts = [n // 10 for n in range(100)]
    valid = compare_shares([True] * 100, [True] * 100, contracts)
    accuracy = compare_shares(*_labels(), contracts)
    topic = FieldDiff("topic", "label", 100, 20, clustered_share_interval([n < 20 for n in range(100)], contracts),
                      (Transition("a", "b", 20),), Grid(("a", "b"), ((60, 20), (0, 20))))  # fmt: skip
    notes = ("answers of the older side came on 2026-01-01, those of the newer on 2026-03-01: whatever else changed",)
    return AnswersDiff(100, 0, 0, 20, valid, (), (topic,), accuracy=accuracy, label="topic = expected",
                       cluster="contract", notes=notes)  # fmt: skip


def _unlabelled() -> AnswersDiff:
    """Without a label, without tests, more labels than a grid shows."""
    labels = [f"label-{n}" for n in range(8)]
    cells = [[40 if x == y else 2 if (x + y) % 5 == 0 else 0 for x in range(9)] for y in range(9)]
    moved = tuple(Transition(labels[n], labels[n + 1], 2) for n in range(7))
    topic = FieldDiff("topic", "label", 400, 30, share_interval(30, 400), moved, Grid(labels, cells, 5))
    score = FieldDiff("score", "number", 3, 3, share_interval(3, 3), shift=compare_means([1.0] * 3, [2.0] * 3))
    notes = ("how much of it is chance is not known: --sample N --aa asks the older side a second time",)
    return AnswersDiff(400, 0, 12, 33, compare_shares([True] * 400, [True] * 400), (), (topic, score), notes=notes)


def _hostile() -> ProjectDiff:
    part = PartChange(Part.MODEL, True, HOSTILE)
    grid = Grid([HOSTILE, "a"], [[0, 1], [0, 0]])
    field = FieldDiff(HOSTILE, "label", 1, 1, share_interval(1, 1), (Transition(HOSTILE, HOSTILE, 1),), grid)
    tested = JobTestDiff(HOSTILE, "sql", "error", JobTestSide("pass"), JobTestSide("error", message=HOSTILE))
    telling = RowAnswers(HOSTILE, HOSTILE, "changed", HOSTILE, {HOSTILE: HOSTILE}, {"a": HOSTILE}, {"a": [HOSTILE]})
    answers = replace(_answers(), fields=(field,), telling=(telling,), label=HOSTILE, cluster=HOSTILE, notes=(HOSTILE,),
                      tests=(tested,))  # fmt: skip
    row = RowDiff(HOSTILE, HOSTILE, "changed, 1 KB", diff_texts("a", HOSTILE))
    bad = job(path=HOSTILE, model=HOSTILE, parts=(part,), notes=(HOSTILE,), old_path=HOSTILE, answers=answers,
              prompt=PromptDiff(diff_texts("a", HOSTILE), (row,)))  # fmt: skip
    problem = Problem("BF440", HOSTILE, Location(HOSTILE, 1), severity=Severity.WARNING)
    return project(bad, notes=(HOSTILE,), target_changes=(HOSTILE,), problems=(problem,),
                   head=Revision(HOSTILE, "a" * 40), target=HOSTILE)  # fmt: skip


def _long() -> ProjectDiff:
    lines = "\n".join(f"line {number} " + "word " * 12 for number in range(400))
    prompt = PromptDiff(diff_texts("", lines), (RowDiff("1", "d:1", "changed, 1 KB", diff_texts("a", lines)),))
    jobs = [job(job=f"job-{number:03}", prompt=prompt) for number in range(130)]
    return project(*jobs)


EXAMPLES: Mapping[str, ProjectDiff] = {
    "nothing": project(unchanged()),
    "no_effect": project(unchanged(status=Status.MODIFIED, parts=(PartChange(Part.META, False, "tags: [] → [a]"),))),
    "modified": project(job(), unchanged()),
    "several": project(_added(), _removed(), _renamed(), job()),
    "no_state": project(job(is_at_most=True, waiting=None), has_state=False),
    "samples": project(job(basis=Basis.SAMPLES, sampled_rows=20, is_at_most=True, waiting=None), has_state=False),
    "unknown": project(_unknown(), has_state=False),
    "unpriced": project(job(change=Cost(4_610, 4_610_000, 230_500, None, None), before=Cost(1, 1, 1, None, None),
                            after=Cost(1, 1, 1, None, None))),
    "notes": project(job(), notes=("old cannot be read at the base, so it counts as new: BF100",),
                     target_changes=("prod: base_url",),
                     problems=(Problem("BF440", "the price is old", severity=Severity.WARNING),)),
    "answers": project(job(answers=_answers()), paid_usd=0.0123),
    "clusters": project(job(answers=_clustered())),
    "unlabelled": project(job(answers=_unlabelled())),
    "gates": project(job(), gates=(
        Gate("unpriced_model", True, False, "every model has a price"),
        Gate("rows_rerun", 1000, True, "4,600 rows are asked again"),
        Gate("accuracy_drop", 0.01, False, "no row has answers of both sides and a label"),
    )),
    "upstream": project(job(), job(job="replies", parts=(), upstream=("triage",), is_at_most=True, waiting=None,
                                   notes=("reads the rows of triage, which is asked anew: its own follow",))),
    "unfinished": project(job(rows=RowCounts(before=9, after=9, changed=9, rerun=2, in_flight=3, failed=3, blocked=1))),
    "emulated": project(job(answers=_unlabelled()), target="local", notes=(EMULATED_NOTICE,)),
    "moved": project(unchanged(old_path="jobs/old/quiet.yml", status=Status.MODIFIED,
                               parts=(PartChange(Part.DELIVERY, False, "mode: batch → sync"),))),
    "hostile": _hostile(),
    "long": _long(),
}  # fmt: skip
