"""The report in a real browser, from disk: it filters quickly, is used by keyboard, and obeys nothing that it shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from batchforge.review.answer_values import RowAnswers
from batchforge.review.diff_values import Gate, ProjectDiff
from batchforge.review.html_report import HtmlReport
from tests.diff_examples import EXAMPLES, HOSTILE

KINDS = ("changed", "same", "fixed", "broken", "invalid")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "the tests need Chromium (Debian package chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Whatever it asks of the network, prints or throws makes the test fail."""
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(f"error: {error}"))
    page.on("console", lambda message: asked.append(f"console: {message.text}"))
    page.on("dialog", lambda dialog: asked.append(f"dialog: {dialog.message}"))
    yield page
    assert [url for url in asked if not url.startswith("file://")] == []
    context.close()


def row(number: int, text: str = "") -> RowAnswers:
    kind = KINDS[number % len(KINDS)]
    before, after = ({"category": name, "reason": f"Because {number}."} for name in ("billing", "claim"))
    return RowAnswers(
        str(number), f"data:{number}", kind, f"category: billing → claim {text}", {"text": text or f"Ticket {number}"},
        before, before if kind == "same" else after,
    )  # fmt: skip


def write(path: Path, diff: ProjectDiff, rows: list[RowAnswers]) -> str:
    with HtmlReport() as report:
        for each in rows:
            report.add("triage", each)
        report.write(diff, path)
    return path.as_uri()


def opened(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("body[data-ready=yes]", timeout=20_000)


def test_fifty_thousand_rows_open_and_filter_quickly(page: Page, tmp_path: Path) -> None:
    url = write(tmp_path / "report.html", EXAMPLES["answers"], [row(number) for number in range(50_000)])
    assert (tmp_path / "report.html").stat().st_size < 10_000_000
    started = monotonic()
    opened(page, url)
    page.select_option("#kind", "broken")
    assert page.inner_text("#status") == "1 to 100 of 10,000 rows"
    page.fill("#q", "ticket 49998")
    assert page.inner_text("#status") == "1 to 1 of 1 rows"
    page.fill("#q", "")
    page.select_option("#kind", "")
    page.select_option("#move", "category: billing → claim")
    assert page.inner_text("#status") == "1 to 100 of 40,000 rows"
    assert monotonic() - started < 20, "a few seconds on an idle machine"


def test_rows_are_reached_by_keyboard_and_by_link(page: Page, tmp_path: Path) -> None:
    url = write(tmp_path / "report.html", EXAMPLES["answers"], [row(number) for number in range(250)])
    opened(page, url)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    # Broken rows come first, then invalid ones: the third of the second page is the third of those that were fixed.
    assert "Ticket 12" in page.inner_text("tr.detail")
    assert page.inner_text("tr.detail del") == "billing"
    address = page.url
    assert address.endswith("#row=triage%2F12")
    page.goto("about:blank")
    opened(page, address)
    assert "Ticket 12" in page.inner_text("tr.detail")
    page.keyboard.press("Escape")
    assert page.query_selector("tr.detail") is None


def test_a_grid_leads_to_the_rows_that_moved(page: Page, tmp_path: Path) -> None:
    rare = [replace(row(900), before={"category": "no"}, after={"category": "claim"})]
    opened(page, write(tmp_path / "report.html", EXAMPLES["answers"], [*(row(number) for number in range(250)), *rare]))
    page.click("table.grid td.moved5 a")
    assert page.inner_text("#status") == "1 to 100 of 200 rows"
    assert page.input_value("#move") == "category: billing → claim"
    page.click("table.grid td.moved4 a")
    assert page.inner_text("#status") == "1 to 1 of 1 rows"
    page.click("a[href='#job-triage']")
    assert page.inner_text("#status") == "1 to 1 of 1 rows"


def test_rules_tests_and_verdicts_stand_in_the_page(page: Page, tmp_path: Path) -> None:
    gates = (Gate("rows_rerun", 100, True, "4,600 rows are asked again"), Gate("unpriced_model", True, False, "fine"))
    page.goto(write(tmp_path / "report.html", replace(EXAMPLES["answers"], gates=gates), []))
    text = page.inner_text("main")
    assert "trips rows_rerun (limit 100): 4,600 rows are asked again" in text
    assert "passes unpriced_model: fine" in text
    assert page.inner_text("tr:has-text('length_reason') .badge.bad >> nth=0") == "fail"
    assert "the output has no column 'colour'" in text
    assert page.query_selector("table.grid a") is None


def test_nothing_in_a_row_a_prompt_or_an_answer_is_obeyed(page: Page, tmp_path: Path) -> None:
    corpus = [
        HOSTILE,
        "</script><script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        '"><svg onload=document.title=1>',
        "javascript:document.title='owned'",
        "{{constructor.constructor('document.title=1')()}}",
        "<!-- <script>",
        "<style>body{display:none}</style>",
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "\u202eevil\u2066",
        "x" * 1_000_000,
    ]
    rows = [row(number, text) for number, text in enumerate(corpus)]
    rows = [replace(each, key=each.row["text"][:200], after={each.row["text"][:80]: each.row["text"]}) for each in rows]
    url = write(tmp_path / "report.html", EXAMPLES["hostile"], rows)
    opened(page, url)
    for number in range(len(rows)):
        page.locator("tr:not(.detail) > td > button").nth(number).click()
    assert page.title() == "support: what this change asks"
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    assert page.evaluate("document.scripts.length") == 2
    assert page.query_selector("img, svg, iframe, object, embed") is None
    assert not page.evaluate("/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)")


def test_what_a_screen_reader_needs_is_there(page: Page, tmp_path: Path) -> None:
    opened(page, write(tmp_path / "report.html", EXAMPLES["answers"], [row(number) for number in range(5)]))
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.evaluate("[...document.querySelectorAll('input,select')].every((each) => each.labels.length === 1)")
    assert page.evaluate("[...document.querySelectorAll('th')].every((each) => /^(col|row)$/.test(each.scope))")
    assert page.get_attribute("#status", "aria-live") == "polite"
    names = page.evaluate("[...document.querySelectorAll('button')].map((each) => each.textContent.trim())")
    assert all(names)


@pytest.mark.parametrize("name", ["nothing", "several", "unknown", "no_state"])
def test_a_report_without_answers_is_a_page_too(name: str, page: Page, tmp_path: Path) -> None:
    page.goto(write(tmp_path / "report.html", EXAMPLES[name], []))
    assert page.locator("table").count() == 1
    assert page.query_selector("#filters") is None


def test_the_same_diff_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    for path in (one, other):
        write(path, EXAMPLES["answers"], [row(number) for number in range(50)])
    assert one.read_bytes() == other.read_bytes()
