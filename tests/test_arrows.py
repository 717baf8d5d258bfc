"""The plan of the house, held true: which room may import which. Imports go up this page and never round.

A room is a module, or a folder of many modules of one kind. Rooms that do one piece of work together share a wing, a
folder of rooms. A room imports from its own floor and from those above it on this page. A new module gets its line
here; an import that fails this test wants a better place for what it needs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.builders import TREE

PACKAGE = TREE / "batchforge"
FLOORS: Mapping[str, str] = {
    "ground": """
        errors error_codes clock events streams spill whole_file disk_room git_commit profiling
        object_access allowed_stores nearest usd thresholds terminal terminal_text text_layout problem_text
        statistics calibration
    """,
    "words": """
        api_schema spec results request request_form fingerprint target claude_models pricing usage_export
        answer_sources answers token_estimate row_rendering readable_request render_limits
        prompt_filters file_kind file_piece steps rungs rules
    """,
    "files": """
        yaml_nodes schema_check source_tree config_files tables table_survey file_marks own_prices project
        templating row_condition row_shapes row_joins inputs label_lists prompt_content answer_fields answer_settings
        job_settings ladder_settings job_tests declared connection graph sql_tests job_files sql_text
        snapshot_records snapshot_inputs document_copies
        criteria nodes methods selecting selectors_file template_facts job_facts comparing previous deferral choosing
        erased_files git_objects git_base git_tree
        image_size pdf_pages file_facts file_limits
    """,
    "compile": """
        model_rules model_check live_facts request_checks context_window cache_groups caching
        file_template compiler estimate
    """,
    "memory": "state",
    "reach": """
        emulator backends targets brake databases query_fetching remote_file http_files object_files
        file_fetching document_fetching fetching
    """,
    "decide": """
        spending settled plan_rows decisions further_steps planner budget approval cache_order plan_notes why
    """,
    "do": """
        file_delivery leases expectation packing batch_records intention reading settling settlement recovery
        remote_deletion executor sync_executor reconciliation
    """,
    "deliver": """
        manifest artifacts table_output remote_output outputs summaries waiting plan_values plan_file
        outcome tested_tables tested_rows row_checks measures assertions output_tests test_checks
        climbing starter finding states emulated tried erasing cost diagnosis notify
    """,
    "tell": """
        report test_text build_text junit progress plain_progress live_progress log_format profile_text
        cost_text found_text tried_text erasure_text
    """,
    "review": """
        answer_values answer_pairs answer_tests field_differences answers_diff answer_words
        text_diff neutral samples job_pairs diff_values
        gates job_parts row_changes rendered cache_effect sides job_review diff_words diff_json diff_text diff_markdown
        prompt_pages findings html_text html_answers html_page html_report comparison
        variants comparison_text
    """,
    "order": """
        run_options token_counting schedule upstream known_columns compiling session stepping outlook
        delivery money work runner test_run
        pipeline api
    """,
    "reviewing": "reviewing sample_writing asking asking_variants",
    "pipelines": """
        forge_http step_files workflow_files sticky github gitlab children posting job_choice change_review parsing
        approved lasting_state sending
    """,
    "front": "commands cli",
}
WINGS = frozenset(
    {
        *("config", "documents", "requests", "planning", "execution", "ledger", "lookup", "review", "running"),
        *("selection", "snapshots", "terminal", "testing"),
        "escalation",
        "evaluation",
        "ci",
    }
)
PLACES = frozenset({"batchforge", *(f"batchforge.{wing}" for wing in WINGS)})
"""Packages from which rooms, not names, are imported."""
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS.values()) for room in rooms.split()}


def modules() -> Iterator[Path]:
    fronts = {PACKAGE / "__init__.py", *(PACKAGE / wing / "__init__.py" for wing in WINGS)}
    return (path for path in sorted(PACKAGE.rglob("*.py")) if path not in fronts)


def room_of(path: Path) -> str:
    return room_at(path.relative_to(PACKAGE).with_suffix("").parts)


def room_at(steps: Sequence[str]) -> str:
    """Below the package: in a wing the module is the room, elsewhere the folder is."""
    return steps[1] if steps[0] in WINGS and len(steps) > 1 else steps[0]


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of all modules that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in PLACES:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return frozenset(names)


def rooms_needed(path: Path) -> set[str]:
    names = (name.split(".")[1:] for name in imported(path) if name.startswith("batchforge."))
    return {room_at(steps) for steps in names} - {room_of(path)}


def test_every_room_has_a_floor_and_every_line_a_room() -> None:
    rooms = {room_of(path) for path in modules()}
    assert sorted(rooms - FLOOR_OF.keys()) == []


@pytest.mark.parametrize("room", sorted({room_of(path) for path in modules()}))
def test_a_room_imports_only_from_its_own_floor_and_those_above(room: str) -> None:
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in modules()
        if room_of(path) == room
        for other in rooms_needed(path)
        if FLOOR_OF[other] > FLOOR_OF[room]
    }
    assert wrong == set()


def test_imports_do_not_go_round() -> None:
    needs: dict[str, set[str]] = {}
    for path in modules():
        needs.setdefault(room_of(path), set()).update(rooms_needed(path))
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_only_backends_import_the_sdk() -> None:
    users = {room_of(path) for path in modules() if "anthropic" in {name.split(".")[0] for name in imported(path)}}
    assert users == {"backends"}


def test_the_emulator_knows_nothing_of_the_rest() -> None:
    needed = {name for path in modules() if room_of(path) == "emulator" for name in imported(path)}
    ours = {name for name in needed if name.split(".")[0] == "batchforge"}
    assert {name for name in ours if not name.startswith("batchforge.emulator")} == set()


@pytest.mark.parametrize("stage", ["compiler", "planner", "outputs", "packing", "settling"])
def test_stages_reach_neither_the_network_nor_a_terminal(stage: str) -> None:
    reached = {stage}
    waiting = [stage]
    while waiting:
        room = waiting.pop()
        found = {other for path in modules() if room_of(path) == room for other in rooms_needed(path)} - reached
        reached |= found
        waiting += found
    forbidden = {"compiler": {"state", "backends"}, "planner": {"backends"}, "settling": set()}
    assert reached & ({"emulator", "pipeline", "commands", "targets"} | forbidden.get(stage, {"backends"})) == set()


HEAVY = frozenset({"anthropic", "duckdb", "jinja2", "jsonschema", "jsonschema_rs", "rich", "httpx2", "msgspec", "yaml"})


@pytest.mark.parametrize("module", ["cli.py", "__init__.py"])
def test_the_front_door_loads_nothing_heavy(module: str) -> None:
    tree = ast.parse((PACKAGE / module).read_text())
    names = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert names & HEAVY == set()
