"""Without a key the runner's own identity is exchanged for a token, at the address that the target names."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from batchforge.backends.client import make_client
from batchforge.errors import ProjectError
from batchforge.target import Target
from batchforge.targets import _connection


@pytest.fixture
def exchange() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    asked: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.path.partition("?")[0], self.headers.get("Authorization", ""), body))
            token = {"access_token": "short-lived", "token_type": "Bearer", "expires_in": 600}
            page = {"data": [], "has_more": False, "first_id": None, "last_id": None}
            data = json.dumps(token if self.command == "POST" else page).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_the_identity_is_exchanged_and_the_token_used(
    exchange: tuple[str, list[tuple[str, str, bytes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = exchange
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    target = Target("prod", "claude", {"type": "claude", "base_url": url})
    with pytest.raises(ProjectError, match="BF132"):
        target.api_key()
    (tmp_path / "identity").write_text("runner-identity")
    monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_1")
    monkeypatch.setenv("ANTHROPIC_ORGANIZATION_ID", "00000000-0000-0000-0000-000000000000")
    monkeypatch.setenv("ANTHROPIC_IDENTITY_TOKEN_FILE", str(tmp_path / "identity"))
    with _connection(None, target) as connection:
        client = make_client(connection)
        assert list(client.models.list()) == []
        client.close()
    assert [path for path, _, _ in asked] == ["/v1/oauth/token", "/v1/models"]
    assert b"runner-identity" in asked[0][2]
    assert asked[1][1] == "Bearer short-lived"
