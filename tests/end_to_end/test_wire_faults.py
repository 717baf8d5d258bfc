"""What can go wrong between us and the API, played by the emulator; after it, runs go on until they are done.

The emulator counts: no request is submitted or billed twice, and no row is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault
from batchforge.errors import BatchForgeError
from tests.builders import ProjectFiles, end_of
from tests.conftest import StartEmulator

TEXTS = ["A red bicycle.", "A blue boat.", "A green train.", "A white plane.", "A black car."]
RESULTS = "batches.results"
Made = Callable[..., ProjectFiles]
CREATE = "batches.create"


def wait_until(is_so: Callable[[], bool], timeout_s: float = 30) -> None:
    give_up = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.02)


def killed_while_the_answer_is_under_way(project: ProjectFiles, emulator: EmulatorServer, job: str) -> None:
    before = emulator.counters().batches_created
    emulator.faults.add(Fault(kind="slow", on=CREATE, bytes_per_s=1))
    process = project.start("run", job)
    wait_until(lambda: emulator.counters().batches_created > before)
    process.kill()
    end_of(process)


@pytest.mark.parametrize("order", [("about", "other"), ("other", "about")], ids="-".join)
def test_two_jobs_that_died_while_sending_each_find_their_own_batch(
    start_emulator: StartEmulator, tmp_path: Path, order: tuple[str, str]
) -> None:
    emulator = start_emulator()
    project = ProjectFiles(tmp_path / "p", emulator, timeout_s=2.5, settle_after_s=3)
    project.write_job("other", system="Say something else.", output={"file": "outputs/other.jsonl"})
    killed_while_the_answer_is_under_way(project, emulator, "about")
    killed_while_the_answer_is_under_way(project, emulator, "other")
    assert [project.run(job).exit_code for job in order] == [0, 0]
    counted = emulator.counters()
    assert (counted.batches_created, counted.custom_ids_submitted_twice) == (2, 0)


def status(number: int, error_type: str, **more: object) -> Fault:
    return Fault(kind="status", status=number, error_type=error_type, **more)  # type: ignore[arg-type]


ON_CREATE = {
    "connection dropped before it was read": Fault(kind="cut_request", on=CREATE, at_byte=0),
    "connection dropped in the middle of the request": Fault(kind="cut_request", on=CREATE, at_byte=200),
    "request lost": Fault(kind="lose_request", on=CREATE),
    "answer lost": Fault(kind="lose_answer", on=CREATE),
    "answer cut in its head": Fault(kind="cut_answer", on=CREATE, at_byte=20),
    "answer cut in its body": Fault(kind="cut_answer", on=CREATE, at_byte=350),
    "429": status(429, "rate_limit_error", on=CREATE, retry_after_s=0.1),
    "500": status(500, "api_error", on=CREATE),
    "500 without a body": Fault(kind="status", on=CREATE, status=500, body="empty"),
    "502 of a proxy": Fault(kind="status", on=CREATE, status=502, body="html"),
    "504": status(504, "timeout_error", on=CREATE),
    "529": status(529, "overloaded_error", on=CREATE),
}
ON_READING = {
    "polls fail": status(500, "api_error", on="batches.retrieve", times=3),
    "polls are cut": Fault(kind="cut_answer", on="batches.retrieve", at_byte=100, times=2),
    "results are cut": Fault(kind="cut_answer", on=RESULTS, at_byte=700, times=2),
    "results end in the middle of a line": Fault(kind="truncate_results", on=RESULTS),
    "results come twice": Fault(kind="duplicate_results", on=RESULTS),
    "results come in another order at each read": Fault(kind="reorder_results", on=RESULTS, times=None),
    "results fail": status(529, "overloaded_error", on=RESULTS, times=2),
    "lists fail": status(500, "api_error", on="batches.list", times=4),
}


@pytest.fixture
def made(start_emulator: StartEmulator, tmp_path: Path) -> Made:
    """A project of two batches, and an emulator that plays faults."""

    def project(*faults: Fault, **target: float) -> ProjectFiles:
        emulator = start_emulator(faults=faults)
        files = ProjectFiles(tmp_path / "p", emulator, **{"timeout_s": 1.4, "settle_after_s": 1.5, **target})
        files.write_rows(TEXTS)
        files.write_job(batch={"max_requests": 3})
        return files

    return project


def run_until_done(project: ProjectFiles) -> None:
    for _ in range(4):
        try:
            if project.run().exit_code == 0:
                break
        except BatchForgeError:
            continue
    emulator = project.emulator
    assert emulator is not None
    counted = emulator.counters()
    assert (counted.requests_accepted, counted.custom_ids_submitted_twice, counted.batches_created) == (5, 0, 2)
    assert [row["_status"] for row in project.rows_of()] == ["answered"] * 5
    assert any(received.fault for received in emulator.received())


@pytest.mark.parametrize("skip", [0, 1], ids=["first batch", "second batch"])
@pytest.mark.parametrize("fault", ON_CREATE.values(), ids=ON_CREATE)
def test_after_a_fault_while_sending_nothing_is_lost_or_paid_twice(made: Made, fault: Fault, skip: int) -> None:
    run_until_done(made(replace(fault, skip=skip)))


@pytest.mark.parametrize("skip", [0, 1], ids=["first batch", "second batch"])
def test_a_batch_that_is_accepted_after_we_gave_up_waiting_is_found(made: Made, skip: int) -> None:
    fault = Fault(kind="slow", on=CREATE, delay_s=1.5, skip=skip)
    run_until_done(made(fault, timeout_s=0.7, settle_after_s=8))


@pytest.mark.parametrize("fault", ON_READING.values(), ids=ON_READING)
def test_after_a_fault_while_reading_nothing_is_lost_or_paid_twice(made: Made, fault: Fault) -> None:
    lost = (Fault(kind="lose_answer", on=CREATE),) if fault.on == "batches.list" else ()
    run_until_done(made(fault, *lost))
