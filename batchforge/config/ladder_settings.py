"""`model: [...]` and `escalate_on` of a job -> its ladder: the models, and which rows go up from one to the next."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import ProblemList
from batchforge.nearest import did_you_mean
from batchforge.spec import CAUSES, AssertionSpec, Condition, GuaranteeSpec, LadderSpec, OutputSpec

ROW_TESTS = frozenset(
    {"not_null", "accepted_values", "accepted_range", "matches", "length", "json_schema", "expression", "contained_in"}
)
"""Tests that say of a single row whether it fails."""
_THINKING = frozenset({"thinking", "effort"})
_CONDITION = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_FORM = 'Write e.g. "confidence < 0.7".'


def model_names(node: ConfigNode) -> list[str]:
    """As they are written: of one model, or of a list."""
    nodes = (each.get("model") or each for each in node.elements or [node])
    return [str(each.value) for each in nodes]


def settings_by_model(settings: Mapping[str, ConfigNode]) -> list[Mapping[str, ConfigNode]]:
    """The job's settings as each model has them."""
    return [_with_own(settings, node) for node in settings["model"].elements or [settings["model"]]]


def _with_own(settings: Mapping[str, ConfigNode], model: ConfigNode) -> Mapping[str, ConfigNode]:
    """How much a model thinks is said as a whole, by the job or by the model."""
    own = {name: node for name, node in model.entries.items() if name != "model"}
    left_aside = _THINKING if not _THINKING.isdisjoint(own) else frozenset()
    return {**{name: node for name, node in settings.items() if name not in left_aside}, **own}


def read_ladder(
    settings: Mapping[str, ConfigNode],
    models: Sequence[str],
    params: Sequence[Mapping[str, Any]],
    output: OutputSpec,
    tests: Sequence[AssertionSpec],
    problems: ProblemList,
) -> LadderSpec | None:
    """None where there is one model.

    Problems: BF105 what does not go together, BF159 `escalate_on` cannot be read.
    """
    node = settings.get("escalate_on")
    if len(models) < 2:
        if node is not None and node.source.path == settings["model"].source.path:
            message = "`escalate_on` does nothing with one model."
            hint = "Give a list: `model: [cheap, strong]`."
            problems.add("BF105", message, location=node.key_location, hint=hint)
        return None
    reader = _Reader(settings, _fields_of(output), problems)
    ladder = reader.ladder(tuple(models), tuple(params), node)
    reader.check(ladder, output, tests)
    return ladder


def _fields_of(output: OutputSpec) -> Sequence[str]:
    return tuple((output.schema or {}).get("properties", ()))


@dataclass(slots=True)
class _Reader:
    settings: Mapping[str, ConfigNode]
    fields: Sequence[str]
    problems: ProblemList
    causes: set[str] = field(default_factory=set)
    conditions: list[Condition] = field(default_factory=list)
    least_votes: float = 1.0
    guarantees: list[tuple[ConfigNode, GuaranteeSpec]] = field(default_factory=list)

    def ladder(
        self, models: tuple[str, ...], params: tuple[Mapping[str, Any], ...], node: ConfigNode | None
    ) -> LadderSpec:
        if node is None:
            return LadderSpec(models, params)
        for child in node.elements:
            if child.kind == "mapping":
                self.guarantees.append((child, GuaranteeSpec(**child.data)))
            else:
                self._cause(child)
        guarantee = self.guarantees[0][1] if self.guarantees else None
        causes, conditions = frozenset(self.causes), tuple(self.conditions)
        return LadderSpec(models, params, causes, conditions, self.least_votes, guarantee)

    def _cause(self, node: ConfigNode) -> None:
        text = str(node.value)
        if text in CAUSES:
            self.causes.add(text)
            return
        match = _CONDITION.fullmatch(text)
        if match is None:
            self._add(node, f"`{text}` is nothing to escalate on.", did_you_mean(text, CAUSES) or _FORM)
            return
        name, sign, right = match.groups()
        is_number = _NUMBER.fullmatch(right) is not None
        if name == "votes":
            self._votes(node, sign, right)
        elif name not in self.fields:
            hint = did_you_mean(name, self.fields) or f"Its fields: {', '.join(self.fields) or 'none'}."
            self._add(node, f"The answer has no field `{name}`.", hint)
        elif not is_number and sign not in ("==", "!="):
            self._add(node, f"`{right}` is no number.", _FORM)
        else:
            value: Any = float(right) if is_number else right.strip("'\"")
            self.conditions.append(Condition(name, sign, value))  # type: ignore[arg-type]

    def _votes(self, node: ConfigNode, sign: str, right: str) -> None:
        if sign != "<" or not _NUMBER.fullmatch(right) or not 0 < float(right) <= 1:
            self._add(node, f"`{node.value}` is no share of votes.", 'Write e.g. "votes < 0.7".')
            return
        self.causes.add("votes")
        self.least_votes = float(right)

    # ---- what does not go together

    def check(self, ladder: LadderSpec, output: OutputSpec, tests: Sequence[AssertionSpec]) -> None:
        if len(self.guarantees) > 1:
            self._refuse(self.guarantees[1][0], "There can be only one guarantee.", "Keep one of them.")
        if ladder.guarantee is not None:
            self._check_guarantee(self.guarantees[0][0], ladder)
        if output.keeps_invalid and "invalid" in ladder.causes and "escalate_on" in self.settings:
            hint = "Let `on_invalid` reject, or do not escalate on `invalid`."
            self._refuse(self.settings["output"]["on_invalid"], "An invalid answer is kept, so it goes nowhere.", hint)
        row_tests = [test for test in tests if test.kind in ROW_TESTS and test.severity == "error"]
        if "test_failed" in ladder.causes and not row_tests:
            hint = f"Add one of {', '.join(sorted(ROW_TESTS))}, with severity error."
            self._refuse(self.settings["escalate_on"], "`test_failed` needs a test that looks at single rows.", hint)
        self._check_votes(ladder)

    def _check_votes(self, ladder: LadderSpec) -> None:
        has_answers = "answers" in self.settings and int(self.settings["answers"].value) > 1
        if ladder.has_votes and not has_answers:
            self._refuse(self.settings["escalate_on"], "`votes` needs several answers.", "Add e.g. `answers: 3`.")
        elif has_answers and not ladder.has_votes:
            hint = "Add `votes` to `escalate_on`, or ask one model."
            self._refuse(self.settings["answers"], "Several answers of several models are only put to the vote.", hint)

    def _check_guarantee(self, node: ConfigNode, ladder: LadderSpec) -> None:
        guarantee = ladder.guarantee
        assert guarantee is not None
        if len(ladder.models) != 2:
            hint = "Name the cheap one and the strongest."
            self._refuse(self.settings["model"], "A guarantee is given for two models.", hint)
        for name in ("score", "field"):
            value = getattr(guarantee, name)
            if value and value not in self.fields and (name, value) != ("score", "votes"):
                hint = did_you_mean(value, self.fields) or f"Its fields: {', '.join(self.fields) or 'none'}."
                self._add(node[name], f"The answer has no field `{value}`.", hint)

    def _refuse(self, node: ConfigNode, message: str, hint: str) -> None:
        self.problems.add("BF105", message, location=node.key_location, hint=hint)

    def _add(self, node: ConfigNode, message: str, hint: str) -> None:
        self.problems.add("BF159", message, location=node.location, hint=hint)
