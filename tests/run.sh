#!/usr/bin/env bash
# Installs what the tests need into .venv and runs them all. Stops at the first thing that cannot be had, and names it.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # need COMMAND PACKAGE: COMMAND is there, or Debian's PACKAGE brings it
  command -v "$1" >/dev/null && return
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
  fi
  command -v "$1" >/dev/null || { echo "The tests need '$1' (Debian package $2), and it could not be installed." >&2; exit 1; }
}

need python3 python3
need git git
need cc gcc
need chromium chromium
command -v initdb >/dev/null || need pg_lsclusters postgresql # Debian keeps the server out of the PATH
[ -x .venv/bin/python ] || python3 -m venv .venv || { echo "The tests need Python's venv module (Debian package python3-venv)." >&2; exit 1; }
.venv/bin/pip install --quiet --editable '.[dev]'

.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/pytest --numprocesses auto "$@"
