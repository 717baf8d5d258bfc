"""Runs dbt on small projects and writes down which nodes it selects: `dbt_cases.json`, which the tests hold ours to.

    python -m venv dbt_venv && dbt_venv/bin/pip install dbt-core==1.11.16 dbt-duckdb==1.11.1
    dbt_venv/bin/python tests/selection/make_dbt_cases.py

Words are written in our vocabulary and put into dbt's for it: a job is a model, `.yml` is `.sql`, a prompt is a body,
an included template is a macro, `mode` is `materialized`. A source is a dbt source with one table of the same name.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

os.environ |= {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"}

HERE = Path(__file__).parent
PROJECT = """\
name: shop
version: "1.0"
profile: shop
model-paths: [jobs, declared]
flags: {send_anonymous_usage_stats: false}
"""
PROFILES = 'shop: {target: dev, outputs: {dev: {type: duckdb, path: ":memory:"}}}\n'
MATERIALIZED = {"batch": "table", "sync": "view"}
WORDS_OF_DBT = (
    (r"\.yml\b", ".sql"),
    (r"\.y\*", ".s*"),
    (r"config\.mode:batch\b", "config.materialized:table"),
    (r"config\.mode:sync\b", "config.materialized:view"),
    (r"config\.mode:\*", "config.materialized:*"),
    (r"resource_type:job\b", "resource_type:model"),
    (r"state:modified\.prompt\b", "state:modified.body"),
    (r"state:modified\.macro\b", "state:modified.macros"),
)

Json = dict[str, Any]


# ---- projects


def shop() -> Json:
    """Folders in folders, a folder named like a job, names that begin alike, each kind of node."""
    return {
        "name": "shop",
        "jobs": {
            "extract": job("raw", sources=["tickets"], tags=["nightly"], group="ingest", meta={"owner": "data"}),
            "clean": job("raw", ["extract"], tags=["nightly", "slow"], group="ingest", mode="sync"),
            "clean_reviews": job("raw/reviews", sources=["reviews"], tags=["weekly"], meta={"teams": ["a", "b"]}),
            "triage": job("", ["clean"], tags=["nightly"], meta={"owner": "support", "checked": True}),
            "classify": job("triage", ["clean"], tags=["night"], group="support", meta={"deep": {"er": "x"}}),
            "route": job("triage/last", ["classify", "triage"], group="support", mode="sync", meta={"checked": False}),
            "summary": job("reports", ["route", "clean_reviews"], tags=["slow"], meta={"owner": "data"}),
            "summary_old": job("reports", ["route"], tags=["weekly"], enabled=False),
            "report": job("reports/v1.2", ["summary"], tags=["Nightly"], meta={"list": [True, "x"]}),
            "alone": job("reviews", tags=["n[1]", "a.b"]),
        },
        "sources": {"tickets": {"tags": ["nightly"]}, "reviews": {"tags": []}, "unused": {"tags": ["slow"]}},
        "exposures": {
            "board": {"jobs": ["summary", "route"], "sources": [], "tags": ["weekly"]},
            "board_raw": {"jobs": [], "sources": ["reviews"], "tags": []},
        },
    }


def job(folder: str, parents: Sequence[str] = (), **more: Any) -> Json:
    made: Json = {"folder": folder, "parents": list(parents), "sources": [], "tags": [], "group": None, "meta": {}}
    return {**made, "mode": "batch", "enabled": True, "prompt": "one", "includes": [], **more}


def random_project(seed: int) -> Json:
    choice = random.Random(seed)
    names = choice.sample([f"{a}{b}" for a in ("a", "b", "ab", "c") for b in ("", "_x", "_y", "1", "2")], 14)
    folders = ["", "a", "b", "a/b", "a/c", "b/a/c", "c.d"]
    jobs: Json = {}
    for number, name in enumerate(names):
        parents = choice.sample(names[:number], min(number, choice.choice([0, 1, 1, 2, 3])))
        jobs[name] = job(
            choice.choice(folders),
            [each for each in parents if jobs[each]["enabled"]],
            sources=choice.sample(["s1", "s2"], 1) if not parents and choice.random() < 0.7 else [],
            tags=choice.sample(["t1", "t2", "t10", "red"], choice.choice([0, 1, 1, 2])),
            group=choice.choice([None, "g1", "g2"]),
            meta=choice.choice([{}, {"owner": "o1"}, {"owner": "o2", "on": True}]),
            mode=choice.choice(["batch", "sync"]),
            enabled=choice.random() < 0.9,
        )
    enabled = [name for name in names if jobs[name]["enabled"]]
    exposures = {
        name: {"jobs": choice.sample(enabled, 2), "sources": [], "tags": choice.sample(["t1", "red"], 1)}
        for name in ("e1", "e2")
    }
    return {
        "name": f"random_{seed}",
        "jobs": jobs,
        "sources": {"s1": {"tags": ["t1"]}, "s2": {"tags": []}},
        "exposures": exposures,
    }


def tested_shop() -> Json:
    """`shop` with tests of jobs and of sources, and some that read several jobs, in files of their own."""
    project = shop()
    jobs = project["jobs"]
    jobs["extract"]["tests"] = ["ids_there", "ids_once"]
    jobs["clean"]["tests"] = ["clean_there"]
    jobs["classify"]["tests"] = ["label_known", "label_there"]
    jobs["summary"]["tests"] = ["summary_there"]
    jobs["report"]["tests"] = ["report_there"]
    project["sources"]["tickets"]["tests"] = ["tickets_there", "tickets_once"]
    project["sources"]["unused"]["tests"] = ["unused_there"]
    project["singular"] = {
        "no_row_lost": ["extract", "clean"],
        "summary_names_route": ["summary", "route"],
        "triage_is_short": ["triage"],
    }
    return {**project, "name": "tested"}


def changed_shop() -> Json:
    """`shop`, and before it what it was: each kind of change in a job of its own."""
    project = shop()
    jobs = project["jobs"]
    jobs["route"]["includes"] = ["rules"]
    jobs["summary"]["includes"] = ["tone"]
    project |= {"name": "changed", "included": {"rules": "new", "tone": "same"}}
    before = json.loads(json.dumps(project))
    del before["name"]
    old = before["jobs"]
    old["extract"]["prompt"] = "what it was"
    old["clean"]["mode"] = "batch"
    old["clean_reviews"]["tags"] = []
    old["triage"]["meta"] = {"owner": "someone else"}
    old["classify"]["group"] = None
    before["included"]["rules"] = "old"
    del old["alone"]
    old["gone"] = job("raw", ["clean"])
    del before["sources"]["unused"]
    del before["exposures"]["board_raw"]
    old["report"]["folder"] = "reports"
    before["exposures"]["board"]["tags"] = []
    project["before"] = before
    statuses = ["success", "error", "skipped", "warn", "fail", "success"]
    project["results"] = dict(zip(jobs, statuses, strict=False))
    return project


# ---- words


SHOP_WORDS = """
extract clean clean* *clean* cle?n clean_reviews [ce]* triage reports raw reviews last report.summary reports.summary
shop shop.* shop.raw shop.raw.* raw.clean shop.raw.clean raw.reviews.* raw.reviews raw.reviews.clean_reviews
reports.v1 reports.v1.2 reports.v1.2.report v1 v1.2 v1* *.report shop.*.summary *.* r*.s* * ** ? board b* nope nope*
SUMMARY summary_old fqn:clean fqn:raw.* fqn:shop.triage fqn:triage.* fqn:* fqn:nope fqn:board fqn:tickets fqn:
path:jobs path:jobs/ path:./jobs path:jobs/raw path:jobs/raw/ path:jobs/ra path:raw path:jobs/raw/clean.yml
path:jobs/raw/* path:jobs/*/clean* path:jobs/** path:jobs/**/*.yml path:**/reviews path:jobs/*/reviews path:*
jobs/raw jobs/raw/ jobs/raw/reviews ./jobs/triage jobs/triage/last/route.yml jobs/*.yml jobs/nope raw/reviews
path:jobs/reports/v1.2 path:jobs/r* path:jobs/[rt]* path:jobs/triage.yml path:clean.yml
clean.yml CLEAN.YML clean*.yml file:clean file:clean.yml file:clean* file:jobs/raw/clean.yml file:report
file:raw file:* file:summary_old.yml
tag:nightly tag:night tag:night* tag:*ly tag:Nightly tag:n?ghtly tag:weekly tag:slow tag:nope tag: tag:* tag:a.b
tag:n[1] tag:n[[]1] tag:[nw]*
group:ingest group:in* group:* group:nope group:support
config.mode:batch config.mode:sync config.mode:* config.tags:nightly config.tags:night* config.meta.owner:data
config.meta.owner:da* config.meta.owner:support config.meta.checked:true config.meta.checked:True
config.meta.checked:false config.meta.checked:TRUE config.meta.teams:a config.meta.teams:c config.meta.deep.er:x
config.meta.deep:x config.meta.list:true config.meta.list:x config.meta.list:y config.nope:x config.meta.nope.nope:x
config.group:ingest config.enabled:true config.enabled:false config:x config.meta:data
source:tickets source:* source:t* source:nope source:reviews source:unused tickets
exposure:board exposure:* exposure:board* exposure:nope exposure:shop.board exposure:nope.board exposure:sh*.board
resource_type:job resource_type:source resource_type:exposure resource_type:nope
+triage triage+ +triage+ 1+triage triage+1 1+triage+1 0+triage triage+0 0+triage+0 2+summary 3+summary 99+summary
+summary clean+2 extract+ 1+extract+1 @classify @triage @extract @alone @clean_reviews @+classify @2+classify @classify+
@summary + 1+ +1 ++ @ @+ +clean* clean*+1 +tag:slow tag:nightly+ 1+tag:slow tag:nightly+1 @tag:night +path:jobs/reports
path:jobs/raw+1 +file:route source:tickets+ source:tickets+1 source:tickets+2 +source:tickets @source:tickets
source:*+1 +exposure:board 1+exposure:board 2+exposure:board exposure:board+ @exposure:board +exposure:* +summary_old
summary_old+ 1+@classify a+b clean+x x+clean 1-clean -1+clean clean+-1 +nope nope+ @nope 01+summary clean+01
clean,tag:slow tag:nightly,tag:slow clean*,raw.* tag:nightly,nope nope,clean clean,clean,clean +summary,tag:nightly
+summary,+triage clean+,+summary tag:nightly+,+board @classify,tag:nightly path:jobs/raw,tag:nightly,group:ingest
clean,route , clean, ,clean +exposure:board,source:*
foo:bar tags:nightly foo.bar:x source:a.b.c.d exposure:a.b.c tag:a:b clean:x fqn.x:clean tag.x:slow
config.meta.owner.x:y resource_type:
""".split()  # noqa: SIM905 - words, as they are typed
SHOP_SELECTS: tuple[tuple[list[str], list[str]], ...] = (
    ([], []),
    (["clean extract"], []),
    (["clean", "extract"], []),
    (["clean  extract"], []),
    ([" clean"], []),
    ([""], []),
    (["clean nope"], []),
    (["nope also_nope"], []),
    (["tag:nightly,tag:slow alone"], []),
    (["+triage", "summary+"], []),
    ([], ["clean"]),
    ([], ["tag:nightly"]),
    ([], ["clean+"]),
    ([], ["@classify"]),
    ([], ["nope"]),
    ([], [""]),
    ([], ["resource_type:source resource_type:exposure"]),
    (["+summary"], ["+clean"]),
    (["+summary"], ["clean"]),
    (["+summary"], ["tag:slow,tag:nightly"]),
    (["clean"], ["clean"]),
    (["clean"], ["*"]),
    (["tag:nightly"], ["nope"]),
    (["tag:nightly+"], ["path:jobs/reports", "group:support"]),
    (["clean, extract"], []),
    (["clean ,extract"], []),
    (["*"], ["raw.*", "exposure:*"]),
    (["foo:bar clean"], []),
    (["clean"], ["foo:bar"]),
    (["clean+2"], ["1+route"]),
)
TEST_WORDS = """
clean classify summary route extract triage report clean+ +classify 1+classify @classify @extract +summary+ route+1
ids_there ids_* *_there no_row_lost no_* label_known+ +label_known 1+label_known @label_known +no_row_lost
no_row_lost+ raw.ids_there raw.clean_there triage.label_known reports.summary_there shop.no_row_lost shop.raw.ids_once
shop.triage.* raw.* raw.reviews.* reports.v1.2.report_there shop.tickets_there
test_type:generic test_type:singular test_type:data test_type:unit test_type:nope test_type: test_type:gen*
resource_type:test resource_type:job resource_type:test,tag:nightly
clean,test_type:singular clean,test_type:generic +summary,test_type:singular tag:nightly,test_type:generic
classify,label_known summary,no_row_lost source:tickets source:unused source:tickets,test_type:generic source:*+1
source:tickets,tickets_once exposure:board +exposure:board tag:slow group:ingest group:support,test_type:generic
no_row_lost.sql file:no_row_lost file:no_* tests path:tests path:tests/no_* path:jobs tests/no_row_lost.sql
path:jobs/raw config.mode:sync config.enabled:true tag:slow+ label_known,label_there
""".split()  # noqa: SIM905
TEST_SELECTS: tuple[tuple[list[str], list[str]], ...] = (
    ([], []),
    ([], ["test_type:singular"]),
    ([], ["clean"]),
    ([], ["no_row_lost"]),
    ([], ["tag:nightly"]),
    ([], ["source:tickets"]),
    (["clean"], ["test_type:generic"]),
    (["extract clean"], ["no_row_lost"]),
    (["extract"], ["clean"]),
    (["+summary"], ["route"]),
    (["tag:nightly"], ["*_there"]),
    (["test_type:generic"], ["tag:nightly", "source:*"]),
    (["test_type:generic test_type:singular"], []),
    (["label_known no_row_lost"], []),
    (["classify,test_type:generic no_row_lost"], ["label_there"]),
    (["clean+"], ["summary+"]),
    (["resource_type:job"], ["resource_type:test"]),
)
STATE_WORDS = """
state:new state:old state:modified state:unmodified state:modified.prompt state:modified.macro state:nope
state:modified+ +state:modified 1+state:new state:new+ state:modified+1 @state:new state:modified,tag:nightly
state:old,state:modified state:modified.nope state:mod* state: state:modified.prompt+ state:unmodified,group:ingest
result:success result:error result:skipped result:warn result:fail result:nope result:err* result:error+
1+result:skipped result:error,state:modified result:success,tag:nightly result:
""".split()  # noqa: SIM905
STATE_SELECTS: tuple[tuple[list[str], list[str]], ...] = (
    (["state:modified result:error"], []),
    (["state:modified+"], ["state:new"]),
    ([], ["state:modified"]),
    (["result:error+ result:skipped"], ["tag:slow"]),
    (["state:new", "state:old"], []),
)


def random_word(choice: random.Random, project: Json) -> str:
    names = [*project["jobs"], "e1", "a", "b", "zz"]
    values = {
        "": [*names, *names, "a*", "*1", "b_?", "[ab]*", "a.*", "b.a.*", "a.b.*", "*.c.*", "c.d.*", "*_x"],
        "tag:": ["t1", "t2", "t*", "red", "t1*", "?ed"],
        "group:": ["g1", "g2", "g*"],
        "path:jobs/": ["a", "b", "a/b", "*/c", "**/c", "a*", "c.d", "*.yml", "b/*"],
        "file:": [*names, "a*", "*_y.yml"],
        "config.": ["mode:sync", "mode:batch", "meta.owner:o1", "meta.on:true", "tags:t1"],
        "source:": ["s1", "s2", "s*"],
        "exposure:": ["e1", "e*"],
        "resource_type:": ["job", "source"],
    }
    method = choice.choice(["", "", "", *values])
    word = method + choice.choice(values[method])
    before = choice.choice(["", "", "", "+", "1+", "2+", "0+", "@"])
    after = "" if before == "@" else choice.choice(["", "", "", "+", "+1", "+2", "+0"])
    return f"{before}{word}{after}"


def random_select(choice: random.Random, project: Json, most: int) -> list[str]:
    count = choice.choice(range(1, most + 1))
    return [",".join(random_word(choice, project) for _ in range(choice.choice([1, 1, 1, 2]))) for _ in range(count)]


def random_selects(project: Json, seed: int, count: int) -> Iterator[tuple[list[str], list[str]]]:
    choice = random.Random(seed)
    for _ in range(count):
        exclude = random_select(choice, project, 2) if choice.random() < 0.4 else []
        yield random_select(choice, project, 3), exclude


# ---- YAML selectors


def named(**definitions: Any) -> list[Json]:
    return [{"name": name, "definition": definition} for name, definition in definitions.items()]


SELECTORS = named(
    word="tag:nightly",
    word_with_graph="2+summary+1",
    word_with_comma="tag:nightly,tag:slow",
    word_with_space="clean extract",
    pair={"tag": "slow"},
    pair_with_plus={"tag": "slow+"},
    pair_of_names={"fqn": "raw.*"},
    setting={"config.meta.owner": "data"},
    truth={"config.meta.checked": "true"},
    full={"method": "fqn", "value": "clean"},
    full_parents={"method": "fqn", "value": "triage", "parents": True},
    full_parents_1={"method": "fqn", "value": "summary", "parents": True, "parents_depth": 1},
    full_parents_0={"method": "fqn", "value": "summary", "parents": True, "parents_depth": 0},
    full_depth_alone={"method": "fqn", "value": "summary", "parents_depth": 1},
    full_parents_false={"method": "fqn", "value": "summary", "parents": False, "children": True},
    full_children={"method": "fqn", "value": "clean", "children": True, "children_depth": 2},
    full_children_0={"method": "fqn", "value": "clean", "children": True, "children_depth": 0},
    full_around={"method": "fqn", "value": "classify", "childrens_parents": True},
    full_exclude={"method": "tag", "value": "nightly", "exclude": ["clean"]},
    full_exclude_two={"method": "tag", "value": "nightly", "children": True, "exclude": ["clean", {"tag": "slow"}]},
    full_exclude_none={"method": "tag", "value": "nightly", "exclude": []},
    full_graph_in_value={"method": "fqn", "value": "+clean"},
    full_setting={"method": "config.mode", "value": "sync"},
    union={"union": ["clean", {"tag": "weekly"}]},
    union_of_one={"union": ["clean"]},
    union_of_none={"union": []},
    union_of_unknown={"union": ["clean", "nope"]},
    union_exclude={"union": ["+summary", {"exclude": ["+clean"]}]},
    union_exclude_first={"union": [{"exclude": ["clean"]}, {"tag": "nightly"}]},
    union_exclude_only={"union": [{"exclude": ["clean"]}]},
    union_nested={"union": [{"intersection": [{"tag": "nightly"}, {"tag": "slow"}]}, {"union": ["alone", "report"]}]},
    both={"intersection": [{"tag": "nightly"}, {"tag": "slow"}]},
    both_of_one={"intersection": ["clean"]},
    both_of_none={"intersection": []},
    both_exclude={"intersection": [{"tag": "nightly"}, {"group": "ingest"}, {"exclude": ["clean"]}]},
    both_nested={"intersection": [{"union": ["clean", "extract"]}, "+summary", {"exclude": [{"union": ["clean"]}]}]},
    other={"method": "selector", "value": "union_exclude"},
    other_in_union={"union": [{"method": "selector", "value": "both"}, "alone"]},
    other_excluded={"union": ["+summary", {"exclude": [{"method": "selector", "value": "both"}]}]},
    sources={"method": "source", "value": "*", "children": True, "children_depth": 1},
    nothing="nope",
    of_path={"path": "jobs/raw"},
    of_file={"file": "clean.yml"},
    of_kind={"resource_type": "job"},
    of_exposure={"exposure": "board"},
)
WRONG_SELECTORS = named(
    two_excludes={"union": ["clean", {"exclude": ["a"]}, {"exclude": ["b"]}]},
    union_and_both={"union": ["clean"], "intersection": ["clean"]},
    union_and_more={"union": ["clean"], "tag": "slow"},
    no_value={"method": "tag"},
    two_pairs={"tag": "a", "path": "b"},
    unknown_method={"method": "tags", "value": "x"},
    unknown_pair={"tags": "x"},
    a_number=3,
    a_list=["clean"],
    union_of_text={"union": "clean"},
    union_of_numbers={"union": [1]},
    unknown_other={"method": "selector", "value": "nope"},
    around_and_children={"method": "fqn", "value": "clean", "childrens_parents": True, "children": True},
    wrong_word="@clean+",
)


# ---- dbt


class Dbt:
    """dbt in this process, on one project in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runner = import_module("dbt.cli.main").dbtRunner

    def parse(self) -> Any:
        result = self._invoke(self.runner(), ["parse", "--no-partial-parse"])
        if not result.success:
            raise RuntimeError(str(result.exception))
        return self.runner(manifest=result.result)

    def selected(self, runner: Any, arguments: Sequence[str]) -> list[str] | None:
        """Ids of the selected nodes; None where dbt refuses."""
        result = self._invoke(runner, ["ls", *arguments, "--output", "json", "--output-keys", "unique_id"])
        if not result.success:
            return None
        return sorted(our_id(json.loads(line)["unique_id"]) for line in result.result)

    def _invoke(self, runner: Any, arguments: Sequence[str]) -> Any:
        with chdir(self.folder), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return runner.invoke(["--quiet", *arguments])


def our_id(unique_id: str) -> str:
    kind, _, *names = unique_id.split(".")
    if kind == "test":
        return f"test:{names[0]}"
    return names[-1] if kind == "model" else f"{kind}:{names[-1]}"


def dbt_word(word: str) -> str:
    for ours, theirs in WORDS_OF_DBT:
        word = re.sub(ours, theirs, word)
    return word


def dbt_definition(value: Any) -> Any:
    if isinstance(value, dict):
        return {dbt_key(name): dbt_definition(item) for name, item in value.items()}
    if isinstance(value, list):
        return [dbt_definition(item) for item in value]
    if not isinstance(value, str):
        return value
    return {"sync": "view", "batch": "table", "job": "model", "config.mode": "config.materialized"}.get(
        value, dbt_word(value)
    )


def dbt_key(name: str) -> str:
    return "config.materialized" if name == "config.mode" else name


def write_dbt_project(folder: Path, project: Mapping[str, Any], selectors: Sequence[Json] = ()) -> None:
    for name in ("jobs", "declared", "macros", "tests", "target"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(PROJECT)
    (folder / "profiles.yml").write_text(PROFILES)
    for name, text in project.get("included", {}).items():
        (folder / "macros" / f"{name}.sql").write_text(f"{{% macro {name}() %}}{text}{{% endmacro %}}")
    for name, settings in project["jobs"].items():
        path = folder / "jobs" / settings["folder"] / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(model(settings))
        if settings.get("tests"):
            declared_model = {"name": name, "config": config_of(settings), **with_tests(settings["tests"])}
            path.with_suffix(".yml").write_text(json.dumps({"version": 2, "models": [declared_model]}))
    for name, reads in project.get("singular", {}).items():
        refs = " ".join(f"{{{{ ref('{each}') }}}}" for each in reads)
        (folder / "tests" / f"{name}.sql").write_text(f"select 1 -- {refs}\n")
    (folder / "declared" / "declared.yml").write_text(json.dumps(declared(project)))
    file = folder / "selectors.yml"
    file.unlink(missing_ok=True)
    if selectors:
        written = [{**each, "definition": dbt_definition(each["definition"])} for each in selectors]
        file.write_text(json.dumps({"selectors": written}))


def config_of(settings: Mapping[str, Any]) -> Json:
    """Not in the model's file, where it would count as its body."""
    config = {"tags": settings["tags"], "meta": settings["meta"], "materialized": MATERIALIZED[settings["mode"]]}
    config |= {"group": settings["group"]} if settings["group"] else {}
    return config | ({} if settings["enabled"] else {"enabled": False})


def model(settings: Mapping[str, Any]) -> str:
    needs = [f"{{{{ ref('{name}') }}}}" for name in settings["parents"]]
    needs += [f"{{{{ source('{name}', '{name}') }}}}" for name in settings["sources"]]
    needs += [f"{{{{ {name}() }}}}" for name in settings["includes"]]
    return f"select '{settings['prompt']}' -- {' '.join(needs)}\n"


def with_tests(names: Sequence[str]) -> Json:
    """One of `not_null` by each of these names."""
    tests = [{"not_null": {"name": name, "config": {"where": f"'{name}' = ''"}}} for name in names]
    return {"columns": [{"name": "id", "data_tests": tests}]} if names else {}


def declared(project: Mapping[str, Any]) -> Json:
    groups = sorted({settings["group"] for settings in project["jobs"].values() if settings["group"]})
    owner = {"name": "someone", "email": "someone@example.com"}
    return {
        "version": 2,
        "groups": [{"name": name, "owner": owner} for name in groups],
        "models": [
            {"name": name, "config": config_of(settings)}
            for name, settings in project["jobs"].items()
            if not settings.get("tests")
        ],
        "sources": [
            {
                "name": name,
                "tags": settings["tags"],
                "tables": [{"name": name, **with_tests(settings.get("tests", []))}],
            }
            for name, settings in project["sources"].items()
        ],
        "exposures": [
            {
                "name": name,
                "type": "dashboard",
                "owner": owner,
                "tags": settings["tags"],
                "depends_on": [f"ref('{each}')" for each in settings["jobs"]]
                + [f"source('{each}', '{each}')" for each in settings["sources"]],
            }
            for name, settings in project["exposures"].items()
        ],
    }


def write_state(dbt: Dbt, project: Mapping[str, Any]) -> None:
    """The manifest of `before`, and results, as a run would have left them."""
    state = dbt.folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    write_dbt_project(dbt.folder, project["before"])
    dbt.parse()
    shutil.copy(dbt.folder / "target" / "manifest.json", state)
    results = [result(f"model.shop.{name}", status) for name, status in project["results"].items()]
    metadata = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"}
    made = {"metadata": metadata, "results": results, "elapsed_time": 0.0, "args": {}}
    (state / "run_results.json").write_text(json.dumps(made))


def result(unique_id: str, status: str) -> Json:
    return {
        "unique_id": unique_id,
        "status": status,
        "timing": [],
        "thread_id": "1",
        "execution_time": 0.0,
        "adapter_response": {},
        "message": None,
        "failures": None,
        "compiled": None,
        "compiled_code": None,
        "relation_name": None,
    }


# ---- cases


def select_cases(dbt: Dbt, runner: Any, selects: Sequence[tuple[list[str], list[str]]], more: list[str]) -> list[Json]:
    cases = []
    for select, exclude in selects:
        arguments = [part for word in select for part in ("--select", dbt_word(word))]
        arguments += [part for word in exclude for part in ("--exclude", dbt_word(word))]
        cases.append(case(dbt.selected(runner, [*arguments, *more]), select=select, exclude=exclude))
    return cases


def case(selected: list[str] | None, **asked: Any) -> Json:
    return {**{name: value for name, value in asked.items() if value}, "selected": selected}


def of_words(words: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    return [([word], []) for word in words]


def with_cases(dbt: Dbt, project: Json, selects: Sequence[tuple[list[str], list[str]]]) -> Json:
    more: list[str] = []
    if "before" in project:
        write_state(dbt, project)
        more = ["--state", "state"]
    write_dbt_project(dbt.folder, project)
    return {**project, "cases": select_cases(dbt, dbt.parse(), selects, more)}


def with_selectors(dbt: Dbt) -> Json:
    """YAML selectors; one of them the default, or none."""
    project = {**shop(), "name": "selectors"}
    write_dbt_project(dbt.folder, project, SELECTORS)
    runner = dbt.parse()
    cases = [case(dbt.selected(runner, ["--selector", each["name"]]), selector=each["name"]) for each in SELECTORS]
    cases.append(case(dbt.selected(runner, ["--selector", "not_there"]), selector="not_there"))
    with_default = [{**each, "default": each["name"] == "pair"} for each in SELECTORS]
    write_dbt_project(dbt.folder, project, with_default)
    runner = dbt.parse()
    cases += [
        case(dbt.selected(runner, []), default="pair"),
        case(dbt.selected(runner, ["--select", "alone"]), default="pair", select=["alone"]),
        case(dbt.selected(runner, ["--exclude", "alone"]), default="pair", exclude=["alone"]),
        case(dbt.selected(runner, ["--selector", "both"]), default="pair", selector="both"),
        case(dbt.selected(runner, ["--selector", "both", "--select", "alone"]), selector="both", select=["alone"]),
        case(dbt.selected(runner, ["--selector", "union", "--exclude", "clean"]), selector="union", exclude=["clean"]),
    ]
    return {**project, "selectors": SELECTORS, "cases": cases}


def refused_selectors(dbt: Dbt) -> list[Json]:
    refused = []
    for each in WRONG_SELECTORS:
        write_dbt_project(dbt.folder, shop(), [each])
        result = dbt._invoke(dbt.runner(), ["ls", "--selector", each["name"]])
        refused.append({**each, "is_refused": not result.success})
    return refused


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dbt = Dbt(Path(folder))
        made = [
            with_cases(dbt, shop(), [*of_words(SHOP_WORDS), *SHOP_SELECTS]),
            with_cases(dbt, changed_shop(), [*of_words(STATE_WORDS), *STATE_SELECTS]),
            with_cases(dbt, tested_shop(), [*of_words(TEST_WORDS), *TEST_SELECTS]),
            *(
                with_cases(dbt, project, list(random_selects(project, seed, 70)))
                for seed in range(1, 6)
                for project in [random_project(seed)]
            ),
            with_selectors(dbt),
        ]
        refused = refused_selectors(dbt)
    made_with = {name: version(name) for name in ("dbt-core", "dbt-duckdb")} | {"python": sys.version.split()[0]}
    text = json.dumps({"made_with": made_with, "projects": made, "selectors_alone": refused}, ensure_ascii=False)
    # One case a line, so that a difference can be read.
    text = re.sub(r', (\{"(?:select|exclude|selector|selected|default|name)")', r",\n\1", text)
    (HERE / "dbt_cases.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
