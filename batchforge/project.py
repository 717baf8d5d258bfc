"""batchforge.yml -> `Project`: its name, targets (resolved lazily), defaults, and where things live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from batchforge.errors import Location
from batchforge.source_tree import SourceTree


@dataclass(frozen=True, slots=True)
class Target:
    """A place to run against. Values may hold `{{ env_var('NAME') }}`; they are resolved only when asked for."""

    name: str
    type: Literal["emulator", "claude"]
    settings: Mapping[str, Any]
    """As written in batchforge.yml (checked against the schema, templates unresolved)."""
    location: Location | None = None

    # helper: api_key() -> str (env_var resolved, BF-coded error naming the variable if missing; default env ANTHROPIC_API_KEY),
    # base_url() -> str (default https://api.anthropic.com; host allowed? api.anthropic.com, loopback, BATCHFORGE_ALLOWED_HOSTS),
    # origin() -> Origin(kind, host, workspace)   (never needs a key)
    # state_url(project) -> str   default sqlite:///<root>/.batchforge/state-<origin slug>.db
    # outputs_dir -> str          emulator: target/<name>/ ; claude: "." unless `outputs:` is set
    # timeout_s, settle_after_s, poll_interval_s, anthropic_version, headers(), workspace_id


@dataclass(frozen=True, slots=True)
class Project:
    name: str
    tree: SourceTree
    targets: Mapping[str, Target]
    default_target: str
    defaults: Mapping[str, Any]
    models: Mapping[str, str]
    vars: Mapping[str, Any] = field(default_factory=dict)
