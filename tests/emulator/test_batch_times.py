"""The life of a batch as a pure function of what is stored and a moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchforge.emulator.batch_life import BatchFacts, Traits, processing_order, rows_done_by, rows_due_by, slot

CREATED_S = 1_795_000_000.0
times = st.floats(0, 40 * 3600)


@st.composite
def facts(draw: st.DrawFn) -> BatchFacts:
    canceled = draw(st.none() | times)
    return BatchFacts(
        no=1,
        id="msgbatch_01",
        workspace="w",
        traits=Traits(
            processing_time_s=draw(times),
            cancel_time_s=draw(st.floats(0, 60)),
            parallelism=draw(st.integers(1, 300)),
            counts_move=draw(st.booleans()),
            order=draw(st.sampled_from(["shuffled", "as_sent", "reversed"])),
            seed=draw(st.integers()),
            api_version="2026-10-21",
            betas=(),
        ),
        requests=draw(st.integers(1, 500)),
        created_s=CREATED_S,
        cancel_initiated_s=None if canceled is None else CREATED_S + canceled,
        decided=0,
        results_bytes=0,
        succeeded=0,
        errored=0,
        canceled=0,
        expired=0,
        is_others=False,
    )


@given(facts(), times, times)
def test_rows_only_ever_get_done(batch: BatchFacts, first: float, second: float) -> None:
    early, late = sorted((CREATED_S + first, CREATED_S + second))
    assert 0 <= rows_done_by(batch, early) <= rows_done_by(batch, late) <= batch.requests
    assert rows_done_by(batch, early) <= rows_due_by(batch, early)
    assert rows_due_by(batch, batch.ends_s) == batch.requests


@given(facts(), st.integers(0, 499))
def test_a_row_is_done_when_its_slot_is_over(batch: BatchFacts, rank: int) -> None:
    rank = min(rank, batch.requests - 1)
    when = slot(batch, rank)
    assert CREATED_S <= when.started_s <= when.answer_begins_s <= when.ended_s
    done_by_itself = rows_done_by(batch, when.ended_s + 1e-3)
    if when.ended_s + 1e-3 < batch.stops_s:
        assert done_by_itself > rank
    if when.ended_s - 1e-3 > CREATED_S and batch.traits.processing_time_s > 1:
        assert rows_done_by(batch, when.started_s) <= rank


@given(facts())
def test_a_batch_that_is_left_alone_answers_every_row(batch: BatchFacts) -> None:
    if batch.stops_s == batch.created_s + batch.traits.processing_time_s:
        assert rows_done_by(batch, batch.ends_s) == batch.requests


@given(facts())
def test_each_row_is_processed_once(batch: BatchFacts) -> None:
    assert sorted(processing_order(batch)) == list(range(batch.requests))
    assert processing_order(batch) == processing_order(batch)
