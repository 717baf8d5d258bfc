"""States in PostgreSQL: addresses that name no other host, passwords that are never shown, errors with a way out."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import BatchForgeError, ProjectError, StateError, StateLocked
from batchforge.state.postgres import PostgresDatabase
from batchforge.state.postgres_address import read_address
from batchforge.state.postgres_text import escaped, unescaped
from batchforge.state.schema import MIGRATIONS
from batchforge.state.stores import STORES, Opening, open_state, shown_url, state_exists
from batchforge.target import STATE_SCHEMES
from tests.postgres_server import PostgresServer

SECRET = "pa%40ss-w0rd"


def test_an_address_is_taken_apart() -> None:
    address = read_address(f"postgresql://me:{SECRET}@localhost:6543/state?sslmode=require&schema=team")
    assert address.shown == "postgresql://me@localhost:6543/state?schema=team"
    assert address.schema == "team"
    names = {"host": "localhost", "port": 6543, "user": "me", "password": "pa@ss-w0rd", "dbname": "state"}
    assert address.parameters == {**names, "sslmode": "require"}
    assert "pa@ss-w0rd" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@localhost/state?host=db.example",
        f"postgresql://me:{SECRET}@localhost/state?hostaddr=10.0.0.1",
        f"postgresql://me:{SECRET}@localhost/state?service=other",
        f"postgresql://me:{SECRET}@localhost/state?options=-c",
        f"postgresql://me:{SECRET}@localhost,db.example/state",
        f"postgresql://me:{SECRET}@localhost:port/state",
        f"postgresql://me:{SECRET}@localhost/state?schema=a;drop",
        f"postgresql://me:{SECRET}@localhost/state?schema",
    ],
)
def test_an_address_that_may_lead_elsewhere_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StateError, match="BF510 the state's address is not one of a PostgreSQL database") as refused:
        read_address(url)
    assert "ss-w0rd" not in f"{refused.value} {refused.value.__cause__} {refused.value.problems}"


def test_a_host_is_allowed_outside_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProjectError, match="BF135"):
        read_address("postgresql://me@db.example/state")
    monkeypatch.setenv("BATCHFORGE_ALLOWED_HOSTS", "db.example")
    assert read_address("postgresql://me@db.example/state").parameters["host"] == "db.example"


def test_a_wrong_password_is_not_repeated(postgres: PostgresServer) -> None:
    with pytest.raises(StateError, match=r"BF509 the state postgresql://tester@127\.0\.0\.1:\d+/postgres") as refused:
        state_exists(postgres.state_url("batchforge", "wr0ng-one"))
    assert "wr0ng-one" not in f"{refused.value} {refused.value.__cause__} {refused.value.problems}"


@given(st.lists(st.text(st.sampled_from("\0\x01\x02\x03ab")), min_size=2, max_size=2))
def test_texts_with_nul_go_around_and_keep_their_order(texts: list[str]) -> None:
    kept = [escaped(text) for text in texts]
    assert [unescaped(text) for text in kept] == texts
    assert "\0" not in "".join(kept)
    assert (kept[0] < kept[1]) == (texts[0] < texts[1])


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(StateError, match=r"BF509 .* cannot be reached"):
        open_state("postgresql://me@127.0.0.1:1/state")


def test_looking_makes_nothing(postgres: PostgresServer) -> None:
    assert not state_exists(postgres.state_url("nobody"))
    reader = open_state(postgres.state_url("nobody"), Opening(read_only=True))
    reader.close()
    assert not state_exists(postgres.state_url("nobody"))


def test_a_reader_cannot_write(postgres: PostgresServer) -> None:
    open_state(postgres.state_url("readers")).close()
    reader = open_state(postgres.state_url("readers"), Opening(read_only=True))
    with pytest.raises(StateError, match="BF505"):
        reader.end_run("r", "ok", {})
    reader.close()


def test_a_newer_schema_is_refused_and_left_as_it_is(postgres: PostgresServer) -> None:
    url, newer = postgres.state_url("newer"), str(len(MIGRATIONS) + 1)
    state = open_state(url)
    state.change(("UPDATE meta SET value = ? WHERE name = 'schema'", (newer,)))
    state.close()
    with pytest.raises(StateError, match=r"BF501 the state .* was written by a newer version"):
        open_state(url)
    with pytest.raises(StateError, match="BF501"):
        open_state(url, Opening(read_only=True))


def test_a_writer_that_takes_too_long_is_told_from_a_broken_state(postgres: PostgresServer) -> None:
    holder, other = (
        PostgresDatabase(postgres.state_url("busy")),
        PostgresDatabase(postgres.state_url("busy"), lock_timeout_s=0.1),
    )
    with holder.transaction(), pytest.raises(StateLocked, match="BF502"), other.transaction():
        pytest.fail("somebody else writes")
    with other.transaction():
        pass
    holder.close()
    other.close()


def test_states_share_a_database_by_schemas(postgres: PostgresServer) -> None:
    one, other = open_state(postgres.state_url("one")), open_state(postgres.state_url("other"))
    one.change(("INSERT INTO meta (name, value) VALUES ('mark', 'x')", ()))
    assert list(other.query("SELECT * FROM meta WHERE name = 'mark'")) == []
    one.close()
    other.close()


def test_a_connection_that_was_lost_while_nothing_happened_is_made_anew(postgres: PostgresServer) -> None:
    waiting, other = open_state(postgres.state_url("lost")), PostgresDatabase(postgres.state_url("lost"))
    other.all("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = ?",
              ("tester",))  # fmt: skip
    assert waiting.counts()["runs"] == 0
    waiting.change(("INSERT INTO meta (name, value) VALUES ('mark', 'x')", ()))
    waiting.close()
    other.close()


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StateError, match="BF520") as refused:
        open_state("postgresql://me@localhost/state")
    assert "pip install 'batchforge[postgres]'" in refused.value.problems[0].hint


@pytest.mark.parametrize("scheme", STORES)
def test_no_store_shows_a_password(scheme: str) -> None:
    if scheme != "sqlite":
        assert SECRET not in shown_url(f"{scheme}://me:{SECRET}@host/path?key={SECRET}")


def test_every_scheme_that_a_target_may_name_has_a_store() -> None:
    assert sorted(STORES) == sorted(STATE_SCHEMES)


def test_another_scheme_is_refused() -> None:
    with pytest.raises(BatchForgeError, match="BF137 There is no store for a state at `mysql:`"):
        open_state("mysql://host/db")
