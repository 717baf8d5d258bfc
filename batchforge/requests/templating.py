"""The Jinja environment of prompts: sandboxed, strict about what is undefined, and aware of which parts need the row.

Values of a row are data: they are inserted, never parsed as templates. A null is inserted as nothing, true and false
as JSON spells them, lists and objects as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import msgspec
from jinja2 import (
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    meta,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.loaders import FunctionLoader
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from batchforge.errors import Location, ProjectError
from batchforge.nearest import did_you_mean
from batchforge.requests.prompt_filters import FILTERS
from batchforge.requests.render_limits import (
    IN_LIMITS,
    JOINED,
    LONGEST_TEXT,
    OPERATORS,
    RenderLimits,
    check_method,
    check_operator,
    check_replacement,
    check_width_of_format,
    check_widths,
    with_limits,
)
from batchforge.requests.row_rendering import renderer_in_one_context
from batchforge.source_tree import SourceTree
from batchforge.spec import TemplateSource

ROW_NAMES = frozenset({"row", "rows", "said"})
"""Variables that differ from row to row. A template that names none of them, directly or through what it includes, is
rendered once for the whole job."""


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """`row.items` is the column named items, not a method of dict: data come first in every mapping."""

    intercepted_binops = OPERATORS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = RenderLimits()

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return with_limits(super()._parse(source, name, filename))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.limits.take()
        check_method(obj, (*args, *kwargs.values()))
        return super().call(context, obj, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


_AS_THEY_ARE = (str, Undefined)


def text_of(value: Any) -> Any:
    """How a value is written into a prompt."""
    if isinstance(value, _AS_THEY_ARE):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | dict | list | tuple):
        return msgspec.json.encode(value).decode()
    return value


def to_json(value: Any, indent: int = 0) -> str:
    text = msgspec.json.encode(value)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()


def make_environment(tree: SourceTree) -> PromptEnvironment:
    """An environment whose includes and macros come from `prompts/`."""

    def load(name: str) -> tuple[str, str, Callable[[], bool]]:
        path = f"prompts/{name}"
        if not tree.exists(path):
            raise TemplateNotFound(name)
        return tree.read_text(path), path, lambda: True

    environment = PromptEnvironment(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        finalize=text_of,
        keep_trailing_newline=True,
        autoescape=False,
        auto_reload=False,
        cache_size=-1,
    )
    # A prompt must be the same on every run: no random choices, no random text.
    del environment.filters["random"], environment.globals["lipsum"]
    # Jinja's own tojson escapes <, > and & for HTML, which would change what the model reads.
    environment.filters["tojson"] = environment.filters["json"] = to_json
    environment.filters.update(FILTERS)
    environment.filters.update({IN_LIMITS: environment.limits.in_limits, JOINED: environment.limits.joined})
    _limit_widths(environment)
    return environment


def _limit_widths(environment: PromptEnvironment) -> None:
    """Of the filters that fill a text up, or put a longer one in the place of a shorter."""
    for name in ("center", "indent", "wordwrap", "batch", "slice"):
        environment.filters[name] = _checked(environment.filters[name], lambda *args: check_widths(args))
    environment.filters["format"] = _checked(
        environment.filters["format"], lambda *args: check_width_of_format(args[0])
    )
    environment.filters["replace"] = _checked(
        environment.filters["replace"], lambda _, text, *args: check_replacement(str(text), args)
    )


def _checked(function: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    @wraps(function)  # with what tells Jinja to pass the context
    def checked(*args: Any, **kwargs: Any) -> Any:
        check(*args, *kwargs.values())
        return function(*args, **kwargs)

    return checked


class PromptTemplate:
    """One template of a job: renders to text, knows whether it needs the row."""

    def __init__(self, source: TemplateSource, environment: PromptEnvironment, tree: SourceTree) -> None:
        self.source = source
        self._tree = tree
        self._environment = environment
        try:
            included: dict[str, str] = {}
            self._names = _needed_names(environment, source.text, source.path, included)
            self.included: Mapping[str, str] = included
            """Name below prompts/ -> text of everything that it includes, directly or not."""
            self._texts = "\0".join([source.text, *(included[name] for name in sorted(included))])
            code = environment.compile(source.text, source.path, source.path)
        except TemplateSyntaxError as exc:
            raise self._syntax_error(exc) from exc
        except TemplateNotFound as exc:
            raise ProjectError(
                "BF302",
                f"the template includes '{exc.name}', and there is no prompts/{exc.name}",
                location=self._place(1),
                hint="Includes and imports are looked up in the folder prompts/.",
            ) from exc
        self._template = Template.from_code(environment, code, environment.make_globals(None))
        self._render_quickly = renderer_in_one_context(self._template, environment.parse(source.text))
        self.is_plain = "{" not in source.text
        """True for text without anything to fill in."""

    @property
    def is_per_row(self) -> bool:
        """True where the text can differ from row to row. A dynamic include counts as such."""
        return self._names is None or not self._names.isdisjoint(ROW_NAMES)

    def text_behind_the_row(self) -> str:
        """The fixed text behind the last place that needs the row; empty where the row stands in no plain place."""
        end: list[str] = []
        for node in self._environment.parse(self.source.text).body:
            parts = node.nodes if isinstance(node, nodes.Output) else [node]
            for part in parts:
                if isinstance(part, nodes.TemplateData):
                    end.append(part.data)
                elif not ROW_NAMES.isdisjoint(name.name for name in _names_in(part)):
                    end.clear()
        return "".join(end)

    def columns_used(self) -> Iterator[tuple[str, Location]]:
        """Columns of `row` that the template's own text cannot do without, and where. What stands in a condition, a
        test or before a filter may be allowed to be missing, and is left out."""
        for node in self._environment.parse(self.source.text).find_all(nodes.Output):
            for part in node.nodes:
                name = _column_of_row(part)
                if name is not None:
                    yield name, self._place(part.lineno)

    @property
    def is_fully_known(self) -> bool:
        """False where it includes what only a row's values name."""
        return self._names is not None

    @property
    def texts(self) -> str:
        """The template's own text and that of everything it includes, for telling whether the prompt was edited."""
        return self._texts

    def render(self, variables: Mapping[str, Any], row_place: str = "") -> str:
        """The text. `row_place` names the row in an error.

        Raises:
            ProjectError: BF301 something is undefined, BF303 anything else that went wrong while rendering.
        """
        if self.is_plain:
            return self.source.text
        self._environment.limits.start()
        text = self._rendered(variables, row_place)
        if len(text) > LONGEST_TEXT:
            error = SecurityError(f"it makes a text of more than {LONGEST_TEXT:,} characters")
            raise self._runtime_error("BF304", error, variables, row_place)
        return text

    def _rendered(self, variables: Mapping[str, Any], row_place: str) -> str:
        if self._render_quickly is not None:
            try:
                return self._render_quickly(variables)
            except Exception:  # comes again below, with its place in the template
                self._environment.limits.start()
        try:
            return self._template.render(variables)
        except UndefinedError as exc:
            raise self._runtime_error("BF301", exc, variables, row_place) from exc
        except SecurityError as exc:
            raise self._runtime_error("BF304", exc, variables, row_place) from exc
        except TemplateNotFound as exc:
            raise self._runtime_error("BF302", exc, variables, row_place) from exc
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as exc:
            raise self._runtime_error("BF303", exc, variables, row_place) from exc

    def _place(self, line: int, path: str | None = None) -> Location:
        path = path or self.source.path
        first_line = self.source.line if path == self.source.path else 1
        file_line = first_line + line - 1
        lines = self._tree.read_text(path).split("\n") if self._tree.exists(path) else []
        excerpt = lines[file_line - 1] if 0 < file_line <= len(lines) else ""
        return Location(path, file_line, None, excerpt)

    def _syntax_error(self, exc: TemplateSyntaxError) -> ProjectError:
        path = exc.name if exc.name and self._tree.exists(exc.name) else None
        path = path or (f"prompts/{exc.name}" if exc.name and self._tree.exists(f"prompts/{exc.name}") else None)
        return ProjectError(
            "BF300",
            f"the template cannot be read: {exc.message}",
            location=self._place(exc.lineno, path),
            hint="Templates are Jinja: {{ row.column }} inserts a value, {% if row.x %}…{% endif %} chooses.",
        )

    def _runtime_error(self, code: str, exc: Exception, variables: Mapping[str, Any], row_place: str) -> ProjectError:
        path, line = _template_line(exc, self.source.path)
        message, hint = _in_words(code, exc, variables)
        where = f" (row {row_place})" if row_place else ""
        return ProjectError(code, f"{message}{where}", location=self._place(line, path), hint=hint)


def _column_of_row(node: nodes.Node) -> str | None:
    """x of `row.x` and of `row['x']`."""
    if not (isinstance(node, nodes.Getattr | nodes.Getitem) and isinstance(node.node, nodes.Name)):
        return None
    name = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
    return name if node.node.name == "row" and isinstance(name, str) else None


def _names_in(node: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _needed_names(
    environment: PromptEnvironment, text: str, path: str, included: dict[str, str]
) -> frozenset[str] | None:
    """Names of variables that a template needs, through what it includes too; None where that cannot be told.

    `included` gets the text of every template that is reached.
    """
    tree = environment.parse(text, path, path)
    assert environment.loader is not None
    names = set(meta.find_undeclared_variables(tree))
    is_known = True
    for name in meta.find_referenced_templates(tree):
        if name is None:
            is_known = False
        elif name not in included:
            included[name], included_path, _ = environment.loader.get_source(environment, name)
            inner = _needed_names(environment, included[name], str(included_path), included)
            is_known = is_known and inner is not None
            names |= inner or frozenset()
    return frozenset(names) if is_known else None


def _template_line(exc: Exception, own_path: str) -> tuple[str, int]:
    """The innermost template line of a traceback; Jinja has put the templates' own lines into it."""
    path, line = own_path, 1
    traceback = exc.__traceback__
    while traceback is not None:
        if "__jinja_template__" in traceback.tb_frame.f_globals or traceback.tb_frame.f_code.co_name.startswith(
            "top-level template"
        ):
            path, line = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    return path, line


def _in_words(code: str, exc: Exception, variables: Mapping[str, Any]) -> tuple[str, str]:
    if code == "BF301":
        name, names = _undefined_name(str(exc), variables)
        return f"the template uses '{name}', which is not there", _nearest(name, names)
    if code == "BF304":
        return f"the template does something that templates may not do: {exc}", "Templates are sandboxed."
    if code == "BF302":
        return f"the template includes prompts/{exc}, which is not there", "Includes are looked up in prompts/."
    return f"the template failed: {type(exc).__name__}: {exc}", ""


def _undefined_name(message: str, variables: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The name that was looked up, and the names that were there. Jinja's message quotes them:
    "'dict object' has no attribute 'txt'" for a member, "'rwo' is undefined" for a variable."""
    quoted = message.split("'")[1::2] or [message]
    if len(quoted) == 1:
        return quoted[0], [str(name) for name in variables]
    members = [str(key) for value in variables.values() if isinstance(value, Mapping) for key in value]
    return quoted[-1], members


def _nearest(name: str, names: list[str]) -> str:
    known = ", ".join(sorted(set(names))[:20])
    return did_you_mean(name, names) or (f"There is: {known}." if known else "")
