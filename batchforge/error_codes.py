"""Every error and warning a user can meet: what it means, what causes it, how to cure it, and an example."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    title: str
    cause: str
    cure: str
    example: str = ""


ERROR_CODES: dict[str, ErrorCode] = {
    "BF100": ErrorCode(
        "A file is not valid YAML",
        "Brackets or quotes that are not closed, indentation that does not line up, or a colon inside a "
        "value that is not in quotes.",
        "Look at the line that is named and the one above it. A value with `: `, `#`, `{`, `[` or a "
        "backslash belongs in quotes; a text of several lines goes below `name: |`, indented.",
        "BF100 jobs/triage/classify_tickets.yml:4:19: A colon stands where no setting can begin.",
    ),
    "BF101": ErrorCode(
        "A setting does not exist",
        "A name is misspelt, stands at the wrong level, or belongs to another file.",
        "Correct the name, or its indentation. The schema names all settings, and an editor with YAML "
        "support completes them.",
        "BF101 jobs/triage/classify_tickets.yml:4:1: `thinkin` is not a job setting.",
    ),
    "BF102": ErrorCode(
        "A value is of the wrong type",
        "YAML read the value as something else than is needed here: an unquoted 2026 is a number, `yes` is "
        "text, nothing after the colon is empty.",
        "Put texts in quotes, write true or false for switches, plain digits for numbers, and `[a, b]` or "
        "`- a` lines for lists.",
        "BF102 jobs/triage/classify_tickets.yml:1:14: `description` must be text, but is a number.",
    ),
    "BF103": ErrorCode(
        "A setting is missing",
        "The file, or this part of it, cannot do without the setting.",
        "Add it.",
        "BF103 batchforge.yml:1:1: `version` is missing.",
    ),
    "BF104": ErrorCode(
        "A value is not one of those that are possible",
        "The setting takes only certain words.",
        "Use one of the words that are listed.",
        "BF104 jobs/triage/classify_tickets.yml:4:11: `thinking` must be one of `disabled`, `adaptive`, "
        "`between_tools`, but is `disable`.",
    ),
    "BF105": ErrorCode(
        "Settings do not go together",
        "Of several settings exactly one is possible, or a setting does nothing beside another.",
        "Keep the one that you mean.",
        "BF105 jobs/triage/classify_tickets.yml:3:33: `input` takes exactly one of `file`, `files`, "
        "`text_files`, `rows`, `sql`, `ref`, `source`, `generate`, but has 2 of them.",
    ),
    "BF106": ErrorCode(
        "Something is given twice",
        "A mapping has the same name on two lines, or a list the same value twice. YAML parsers would "
        "silently keep one.",
        "Remove one of them, or give it another name.",
        "BF106 jobs/triage/classify_tickets.yml:5:1: `tags` is given twice.",
    ),
    "BF107": ErrorCode(
        "A file uses a YAML tag",
        "Tags such as `!!str` or `!include` are not part of these files: what they do depends on who reads them.",
        "Remove the tag. Quotes make a text; a prompt file is included with `{file: ...}`.",
        "BF107 jobs/triage/classify_tickets.yml:2:7: The tag `!!set` is not allowed.",
    ),
    "BF108": ErrorCode(
        "An alias cannot be used",
        "`*name` has no `&name` above it, stands inside its own anchor, or all aliases of the file "
        "together make too many values.",
        "Write the value out. If no alias is meant, put the text in quotes.",
        "BF108 jobs/triage/classify_tickets.yml:2:7: The alias `*usual` has no anchor above it.",
    ),
    "BF109": ErrorCode(
        "A file holds more than one YAML document",
        "A line `---` begins a second document, of which most readers would see only one.",
        "Remove the line, or move the second document into a file of its own.",
        "BF109 jobs/triage/classify_tickets.yml:2:1: The file holds a second YAML document.",
    ),
    "BF110": ErrorCode(
        "A value is nested too deep",
        "Brackets or indented blocks lie more than 64 levels deep.",
        "Flatten the structure, or keep it in a data file.",
        "BF110 jobs/triage/classify_tickets.yml:2:70: This is nested more than 64 levels deep.",
    ),
    "BF111": ErrorCode(
        "A file holds a character that cannot be seen",
        "NUL, another control character, or a line separator that only some programs treat as a line break.",
        "Remove it, or write it as an escape inside double quotes.",
        "BF111 jobs/triage/classify_tickets.yml:1:41: The file holds the invisible character U+0000.",
    ),
    "BF112": ErrorCode(
        "A file is not UTF-8",
        "It was saved in another encoding, such as Latin-1 or UTF-16.",
        "Save it as UTF-8.",
        "BF112 jobs/triage/classify_tickets.yml:1:24: The byte 0xed is not UTF-8 text.",
    ),
    "BF113": ErrorCode(
        "A file uses a YAML merge key",
        "`<<` is not part of YAML 1.2.",
        "Write the settings out, or put what jobs share under `defaults` in batchforge.yml or into a "
        "folder's `_defaults.yml`.",
        "BF113 jobs/triage/classify_tickets.yml:8:3: Merge keys (`<<`) are not used here.",
    ),
    "BF114": ErrorCode(
        "A tab is used for indentation",
        "YAML is indented with spaces.",
        "Replace the tab by spaces. Most editors do it for a whole file.",
        "BF114 jobs/triage/classify_tickets.yml:8:1: A tab indents this line.",
    ),
    "BF115": ErrorCode(
        "A number is too large",
        "It does not fit into 64 bits, so it could not be passed on exactly.",
        "Put it in quotes if it is an identifier.",
        "BF115 jobs/triage/classify_tickets.yml:2:16: The number 123456789012345678901 is too large to keep exactly.",
    ),
    "BF116": ErrorCode(
        "A setting's name is not plain text",
        "A list or a mapping stands where a name should be, mostly because a value beginning with `{{` is "
        "not in quotes.",
        'Put the value in quotes: "{{ row.text }}".',
        "BF116 jobs/triage/classify_tickets.yml:6:8: A setting's name must be plain text.",
    ),
    "BF117": ErrorCode(
        "A value is outside of what is possible",
        "It is empty, too small, too large, or does not have the form that is needed.",
        "Change it as the message says.",
        "BF117 jobs/triage/classify_tickets.yml:5:13: `max_tokens` must be at least 1, but is 0.",
    ),
    "BF118": ErrorCode(
        "A file is empty",
        "It holds nothing, or only comments.",
        "Write its settings, or remove the file.",
        "BF118 jobs/empty.yml:1:1: The file is empty.",
    ),
    "BF120": ErrorCode(
        "There is no project",
        "Neither this folder nor one above it holds a batchforge.yml, or --project-dir names a folder without one.",
        "Go to the project's folder, or name it with --project-dir or the environment variable BATCHFORGE_PROJECT_DIR.",
        "BF120 There is no batchforge.yml in /home/me or above it.",
    ),
    "BF121": ErrorCode(
        "A project file does not exist",
        "A prompt, list or schema file is misspelt, moved, or was never added.",
        "Correct the path. Paths are relative to the project's folder, not to the file that names them.",
        "BF121 jobs/triage/classify_tickets.yml:5:16: There is no file `prompts/clasify.md.j2`.",
    ),
    "BF122": ErrorCode(
        "A path leads out of the project",
        "It is absolute, has `..` in it, or is written with backslashes.",
        "Keep the file inside the project and write its path relative to the project's folder.",
        "BF122 jobs/triage/classify_tickets.yml:5:16: `../prompts/classify.md.j2` is not a path inside the project.",
    ),
    "BF123": ErrorCode(
        "A symbolic link leads out of the project",
        "The file, or a folder on the way to it, is a link to somewhere else. A project that was cloned "
        "must not read what lies beside it.",
        "Copy the file into the project.",
        "BF123 `prompts/shared.md` is a symbolic link that leads out of the project.",
    ),
    "BF124": ErrorCode(
        "A project file cannot be read",
        "It is a folder, or its permissions do not allow it.",
        "Name a file, or change its permissions.",
        "BF124 jobs/triage/classify_tickets.yml:5:16: `prompts` cannot be read: Is a directory.",
    ),
    "BF125": ErrorCode(
        "A file's name is not UTF-8",
        "It was made on a system with another encoding.",
        "Rename the file.",
        "BF125 The name of `jobs/caf\\xe9.yml` is not UTF-8.",
    ),
    "BF126": ErrorCode(
        "An address in an object store, or a URL, is not allowed on this machine",
        "BATCHFORGE_ALLOWED_STORES names the places that projects may read and write here, and this is below none of "
        "them. A project comes from a pull request; the credentials of the machine may open more.",
        "If you trust the address, add it to BATCHFORGE_ALLOWED_STORES in your own environment (several with commas).",
        "BF126 jobs/triage/classify_tickets.yml:4:1: The address `s3://other/tickets.csv` is not one that this machine "
        "lets projects use.",
    ),
    "BF130": ErrorCode(
        "There is no such target",
        "--target or `default_target` names a target that batchforge.yml does not define.",
        "Use one of the targets that are listed, or add it under `targets`.",
        "BF130 batchforge.yml:3:17: There is no target `loca`.",
    ),
    "BF131": ErrorCode(
        "env_var is used where it cannot be, or wrongly",
        "A target's value holds a template other than env_var('NAME'), a setting that must be known in "
        "advance comes from the environment, or a job uses env_var.",
        "Write \"{{ env_var('NAME') }}\" or \"{{ env_var('NAME', 'default') }}\" in a target; give a job "
        "what it needs through `vars` in batchforge.yml.",
        "BF131 batchforge.yml:6:33: Only env_var can be used in a target.",
    ),
    "BF132": ErrorCode(
        "An environment variable is not set",
        "The target's key or another of its values comes from a variable that this shell does not have.",
        "Set it: export ANTHROPIC_API_KEY=... . To try things without a key, use a target with `type: emulator`.",
        "BF132 batchforge.yml:6:3: The target `prod` needs the environment variable ANTHROPIC_API_KEY, "
        "which is not set.",
    ),
    "BF133": ErrorCode(
        "An environment variable may not be used in vars",
        "What `vars` hold ends up in prompts, and project files come from other people too. So each "
        "variable must be allowed outside the project.",
        "If prompts may hold its value, list its name in the environment variable BATCHFORGE_ENV_ALLOW "
        "(several with commas).",
        "BF133 batchforge.yml:9:16: The environment variable REGION may not be used in `vars`.",
    ),
    "BF134": ErrorCode(
        "A target's address is not usable",
        "It is not an http or https address, holds a user name or a query, or would be reached without encryption.",
        "Write https, host and path. Plain http is for localhost only.",
        "BF134 batchforge.yml:6:34: `gateway.example` would be reached without encryption.",
    ),
    "BF135": ErrorCode(
        "A target's host is not allowed",
        "Keys and prompts go to api.anthropic.com, to this machine, and to hosts that are allowed outside "
        "the project: a changed base_url must not be able to collect keys.",
        "If you trust the host, list it in the environment variable BATCHFORGE_ALLOWED_HOSTS (several with commas).",
        "BF135 batchforge.yml:6:3: The host `gateway.example` is not one that keys and prompts may be sent to.",
    ),
    "BF136": ErrorCode(
        "A key stands in batchforge.yml",
        "Whoever can read the repository, now or later, can spend your money.",
        "Write api_key: \"{{ env_var('ANTHROPIC_API_KEY') }}\", and revoke the key if the file was ever committed.",
        "BF136 batchforge.yml:6:33: The API key stands in the file.",
    ),
    "BF137": ErrorCode(
        "This is not the address of a state",
        "`state` is not of a form like sqlite:///path, postgresql://user@host/database or s3://bucket/folder.",
        "Write e.g. sqlite:///.batchforge/shared.db, or leave `state` out.",
        "BF137 batchforge.yml:6:31: This is not the address of a state.",
    ),
    "BF138": ErrorCode(
        "Outputs cannot be written there",
        "The folder lies outside the project, or is one that BatchForge uses itself: `target/` is removed "
        "by clean, `.batchforge/` holds the state.",
        "Name another folder inside the project, e.g. outputs/.",
        "BF138 jobs/triage/classify_tickets.yml:11:9: Outputs cannot be written to `target/`.",
    ),
    "BF139": ErrorCode(
        "Two targets would write the same outputs",
        "Outputs belong to a target; a run against one would replace the answers of the other.",
        "Give one of them a folder of its own with `outputs:`.",
        "BF139 batchforge.yml:7:3: The targets `dev` and `prod` would write the same outputs.",
    ),
    "BF140": ErrorCode(
        "A variable has no value",
        "It is declared with `required: true`, and neither --vars nor the job gives a value.",
        "Give it: --vars month=2026-11, or set it in the job's `vars`.",
        "BF140 batchforge.yml:9:8: The variable `month` has no value.",
    ),
    "BF141": ErrorCode(
        "--vars gives a variable that nothing declares",
        "The name is misspelt, or the project and its jobs do not know it. It would have no effect.",
        "Correct the name, or declare the variable under `vars` in batchforge.yml or in a job.",
        "BF141 --vars gives `mnth`, which nothing declares.",
    ),
    "BF142": ErrorCode(
        "--vars gives a value of the wrong type",
        "The project declares the variable with a number or with true or false, and the value is something else.",
        "Give a value of the same type.",
        "BF142 --vars limit: `many` is not a number, as it is declared.",
    ),
    "BF143": ErrorCode(
        "The scenario of an emulator target cannot be used",
        "The file that `scenario:` names has a setting that the emulator does not know, or a value it cannot take.",
        "Correct the file; docs/emulator.md lists its settings.",
        "BF143 the scenario of target `local`: unknown proccessing_time_s",
    ),
    "BF144": ErrorCode(
        "A command of `notify:` was not run",
        "A project's files can come from anybody, so they start programs only where the machine's owner says so.",
        "If you trust the project's files, set the environment variable BATCHFORGE_ALLOW_COMMANDS=1.",
        "BF144 batchforge.yml:9:5: The command of `notify:` was not run",
    ),
    "BF150": ErrorCode(
        "A job's name is not usable",
        "A job is named by its file, and the name is used for files and on the command line.",
        "Rename the file: small letters, digits, - and _, beginning with a letter or a digit.",
        "BF150 jobs/Classify Tickets.yml: `Classify Tickets` cannot be a job's name.",
    ),
    "BF151": ErrorCode(
        "Two jobs have the same name",
        "Files in different folders have the same name, and a job is named by its file alone.",
        "Rename one of the files.",
        "BF151 jobs/triage/classify_tickets.yml: The job `classify_tickets` is also defined in "
        "jobs/other/classify_tickets.yml.",
    ),
    "BF152": ErrorCode(
        "A job lacks something that every job needs",
        "Neither the job nor the defaults above it set input, model, max_tokens, or user (or messages).",
        "Set it in the job, in a `_defaults.yml` of its folder, or under `defaults` in batchforge.yml.",
        "BF152 jobs/triage/classify_tickets.yml: `max_tokens` is not set for this job.",
    ),
    "BF153": ErrorCode(
        "A field does not belong in params",
        "It has a setting of its own, or is made by BatchForge.",
        "Use the setting that is named; `params` is for what has none.",
        "BF153 jobs/triage/classify_tickets.yml:4:10: `stream` does not belong in `params`.",
    ),
    "BF154": ErrorCode(
        "An output file would be overwritten",
        "Two jobs write the same file, or a job writes the file that it reads.",
        "Give each job an output file of its own.",
        "BF154 jobs/triage/classify_tickets.yml:7:1: The jobs `other` and `classify_tickets` would write "
        "the same file outputs/tickets.parquet.",
    ),
    "BF156": ErrorCode(
        "There is no such list",
        "`one_of` names a list that batchforge.yml does not have under `lists`.",
        "Correct the name, add the list, or write the labels themselves: one_of: [a, b].",
        "BF156 jobs/triage/classify_tickets.yml:9:24: There is no list `categorys`.",
    ),
    "BF157": ErrorCode(
        "A list of labels is not usable",
        "A label is empty, stands twice, differs from another only in case (Claude may change the case), "
        "or the file is not a list.",
        "Write one label a line: `label: meaning`, or `- label`.",
        "BF157 prompts/categories.yml:2:1: The labels `billing` and `Billing` differ only in case.",
    ),
    "BF158": ErrorCode(
        "A prompt file is empty",
        "It holds nothing but white space, and the API refuses empty text.",
        "Write the prompt, or remove the reference.",
        "BF158 jobs/triage/classify_tickets.yml:5:16: The prompt file `prompts/classify.md.j2` is empty.",
    ),
    "BF159": ErrorCode(
        "What rows are escalated on cannot be read",
        "An entry of `escalate_on` is no cause, or its condition names a field that the answer does not have, or "
        "compares with something that is no number.",
        'Write `invalid`, `refused`, `truncated`, `test_failed`, `votes`, a condition such as "confidence < 0.7", or '
        "{agreement: 0.95, confidence: 0.9, score: confidence}.",
        "BF159 jobs/triage/classify_tickets.yml:4:41: The answer has no field `confidense`.",
    ),
    "BF160": ErrorCode(
        "The API does not take this JSON Schema",
        "Structured outputs know a part of JSON Schema: no formats of your own, no keywords that are not "
        "of draft 2020-12; and an answer is an object.",
        "Remove what is named. Say it in a `description` instead, which Claude reads.",
        "BF160 jobs/triage/classify_tickets.yml:8:70: The API does not know the format `iban`.",
    ),
    "BF161": ErrorCode(
        "A reference in a JSON Schema cannot be used",
        "`$ref` leads nowhere, to another file, or back to itself.",
        "Define it under `$defs` in the same schema; write a recursive structure out to the depth that you need.",
        "BF161 jobs/triage/classify_tickets.yml:8:48: `#/$defs/text` is not defined in this schema.",
    ),
    "BF162": ErrorCode(
        "A JSON Schema is too large for the API",
        "It takes 24 optional fields and 16 fields of several types at most.",
        "Make fields required, or ask in two jobs.",
        "BF162 jobs/triage/classify_tickets.yml:8:3: 25 fields are optional; the API takes 24 at most.",
    ),
    "BF163": ErrorCode(
        "An object in a JSON Schema is open",
        "The API takes objects with `additionalProperties: false` only.",
        "Remove `additionalProperties`; it is added for you.",
        "BF163 jobs/triage/classify_tickets.yml:8:26: The API takes objects with `additionalProperties: false` only.",
    ),
    "BF164": ErrorCode(
        "The API does not take a rule of a schema",
        "The API's part of JSON Schema has no such keyword. The rule holds all the same: answers are "
        "checked against it once they are there, and Claude is not told of it.",
        "Say it in the field's description as well, so that fewer answers break it.",
        "BF164 jobs/triage/classify_tickets.yml:8:62: The API does not take this `maxLength`; it is "
        "checked once the answer is there.",
    ),
    "BF165": ErrorCode(
        "The source of an answer's fields cannot be as it is",
        "`output: from` names a tool that the job does not have, or its pattern cannot be read or lacks a "
        "named group for a field.",
        "Correct the name or the pattern.",
        "BF165 jobs/triage/classify_tickets.yml:8:16: There is no tool `record`.",
    ),
    "BF170": ErrorCode(
        "There is no git repository to read the older side from",
        "`diff` compares with a commit, and the project is in no git repository, git is not installed, or "
        "refuses a repository that belongs to another user.",
        "Run it in a clone of the repository. Of another user's: `git config --global --add safe.directory FOLDER`.",
        "BF170 `/home/me/project` is not in a git repository: not a git repository (or any of the parent "
        "directories): .git.",
    ),
    "BF171": ErrorCode(
        "There is nothing to compare with",
        "No branch was named, and none of those that are usual (the remote's main branch, main, master) is "
        "in this clone; or there is no commit yet.",
        "Name a commit with --base. On a runner, fetch the branch first: `git fetch origin main`, or "
        "`fetch-depth: 0` in the checkout step.",
        "BF171 There is no branch in this clone to compare with; looked for main, master.",
    ),
    "BF172": ErrorCode(
        "A revision does not exist",
        "--base or --head names no branch, tag or commit of this clone.",
        "Check the name; `git fetch origin NAME` brings a branch that the clone lacks.",
        "BF172 `mian` is no commit here.",
    ),
    "BF173": ErrorCode(
        "The histories do not meet",
        "The head and the base have no common commit: the clone is shallow and ends before it, or the "
        "branches have nothing to do with each other.",
        "`git fetch --unshallow`, or `fetch-depth: 0` in the checkout step; or name with --base the commit "
        "that the change was made from.",
        "BF173 The history in this shallow clone ends before it meets `main`.",
    ),
    "BF174": ErrorCode(
        "A file of an older commit cannot be read",
        "The clone is a partial one (made with --filter) and the file cannot be fetched, or the repository is damaged.",
        "`git fetch --refetch`, or clone without --filter; `git fsck` tells what is damaged.",
        "BF174 The object 5f3c9a0d1e22 is not in this clone.",
    ),
    "BF175": ErrorCode(
        "A submodule's commit is not here",
        "Project files lie in a git submodule, and the commit that the older side had it at is not in this clone.",
        "`git submodule update --init`, then fetch that commit in the submodule's folder.",
        "BF175 `prompts/common` is a submodule, and its commit 5f3c9a0d1e22 is not in this clone.",
    ),
    "BF180": ErrorCode(
        "A job that is needed does not exist",
        "`input: {ref: ...}`, `depends_on` or an exposure names a job that no file has, or one that is disabled.",
        "Correct the name: a job is named by its file, without folder and ending.",
        "BF180 jobs/triage/classify_tickets.yml:3:14: There is no job `clean_tickets`.",
    ),
    "BF181": ErrorCode(
        "Jobs need each other in a circle",
        "A job reads or waits for one that needs, perhaps through others, the job itself. The message names the path.",
        "Take one of the refs away, or split a job so that the first half does not need the last.",
        "BF181 jobs/other.yml:1:14: These jobs need each other: other -> classify_tickets -> other.",
    ),
    "BF182": ErrorCode(
        "A ref can mean more than one job",
        "Files in different folders have the same name, and the ref gives only the name.",
        "Rename one of the files.",
        "BF182 jobs/last.yml:1:14: More than one job is named `classify_tickets`: "
        "jobs/other/classify_tickets.yml and jobs/triage/classify_tickets.yml.",
    ),
    "BF183": ErrorCode(
        "There is no such source",
        "`input: {source: ...}` or an exposure names a source that batchforge.yml does not have under `sources`.",
        "Correct the name, or declare the source.",
        "BF183 jobs/triage/classify_tickets.yml:3:17: There is no source `tickets`.",
    ),
    "BF184": ErrorCode(
        "There is no such connection",
        "`connection:` of an input or an output names one that batchforge.yml does not have under "
        "`connections`, neither for all targets nor for the one that is run.",
        "Correct the name, or declare the connection.",
        "BF184 jobs/triage/classify_tickets.yml:3:1: There is no connection `warehouse`.",
    ),
    "BF190": ErrorCode(
        "A test cannot be as it is",
        "A bound is missing or the wrong way round, a pattern or a schema cannot be read, or two settings "
        "say the same thing.",
        "Change what is named. docs/testing.md shows each kind of test.",
        "BF190 jobs/triage/classify_tickets.yml:12:10: `length` needs `min` or `max`.",
    ),
    "BF191": ErrorCode(
        "Two tests of a job have one name",
        "A test was given a name that another has, maybe one of a file in tests/.",
        "Give it another name: failing rows are stored by it.",
        "BF191 jobs/triage/classify_tickets.yml:12:53: Two tests are named `a`.",
    ),
    "BF192": ErrorCode(
        "A test of tests/*.sql cannot be read",
        "Its template is wrong, it reads no job's output, its config names a setting that there is not, or "
        "its file has a name that a test cannot have.",
        "Write one query, with {{ output('job') }} where a job's output is meant.",
        "BF192 tests/none.sql: The test reads no job's output.",
    ),
    "BF195": ErrorCode(
        "A selector is not usable",
        "A definition in selectors.yml is neither a word nor one of the forms that a definition has, names "
        "a selector that is not there, or has a name that another one has.",
        "Correct what is named; docs/selecting.md shows all forms.",
        "BF195 selectors.yml:1:48: `union` is a list of definitions.",
    ),
    "BF201": ErrorCode(
        "An input file cannot be found or read",
        "`input:` names a file that is not there, a glob that matches nothing, or a file that may not be read.",
        "Check the path: it starts at the project's folder, the one that holds batchforge.yml.",
        "BF201 jobs/triage.yml:4:10: there is no file 'data/ticket.tsv'",
    ),
    "BF202": ErrorCode(
        "The format of an input file is not known",
        "The file's ending is none of .csv, .tsv, .tab, .jsonl, .ndjson, .json, .parquet and .pq.",
        "Set `format:` in `input:`.",
        "BF202 'data/tickets.dat' has no ending that tells its format",
    ),
    "BF203": ErrorCode(
        "A file is not in the encoding that it should be in",
        "It holds bytes that are no characters in this encoding (utf-8, unless `encoding:` names another).",
        "Save the file as UTF-8, or name its encoding: `encoding: cp1252` for many files from Windows.",
        "BF203 data/tickets.csv:17: the file is not utf-8: byte 0xe9 (invalid continuation byte)",
    ),
    "BF204": ErrorCode(
        "The header of a CSV or TSV file is not usable",
        "Two columns have the same name, or one has none. A file without a header read as if it had one does that too.",
        "Give each column a name of its own, or set `header: false` (and `columns:`).",
        "BF204 data/tickets.csv:1: the column name 'text' stands twice in the header",
    ),
    "BF205": ErrorCode(
        "A row has more or fewer cells than there are columns",
        "A cell holds the delimiter or a line end and is not quoted, or `delimiter:` or `quote:` do not fit the file.",
        "Quote the cell, or correct the settings. A row is never padded or cut.",
        "BF205 data/tickets.csv:9: the row has 3 cells, but there are 2 columns",
    ),
    "BF206": ErrorCode(
        "A row cannot be taken apart",
        "A quoted cell is never closed, text follows a closing quote, a cell holds a bare carriage return, "
        "or a cell is longer than 256 MB.",
        "Correct the row. If quotes are ordinary characters in the file, set `quote: null`.",
        "BF206 data/reviews.tsv:31: a quoted cell of this row is never closed",
    ),
    "BF207": ErrorCode(
        "A cell is not of the type that is declared for its column",
        "`types:` says integer, number, boolean or json, and the cell is none.",
        "Correct the cell, or declare the column as text. An empty cell is null and no error.",
        "BF207 data/orders.csv:12: column 'amount': '12,50' is not a number",
    ),
    "BF208": ErrorCode(
        "A JSON or JSONL file does not hold rows",
        "It is not valid JSON (NaN and equal names in one object are refused too), or a row is not an object.",
        "Correct the place that is named. JSONL has one object a line, JSON one array of objects.",
        "BF208 data/orders.jsonl:3:14: the line is not JSON: a comma or a closing bracket is missing",
    ),
    "BF209": ErrorCode(
        "A Parquet file cannot be used",
        "It is damaged, encrypted or no Parquet file, or it holds NaN or infinite numbers, which JSON cannot carry.",
        "Write the file anew; put null where a number is not known.",
        "BF209 data/prices.parquet: row 8: column 'price' is nan, which cannot be sent as JSON",
    ),
    "BF210": ErrorCode(
        "A setting names a column that the rows do not have",
        "`key:` or `types:` holds a name that is not among the columns.",
        "Correct the name; upper and lower case count.",
        "BF210 data/tickets.tsv:2: the row has no column 'tikket_id', which `key:` names",
    ),
    "BF211": ErrorCode(
        "Rows have equal keys",
        "The columns in `key:` do not tell all rows apart.",
        "Add a column to `key:`, or set `on_duplicate: first` (keep the first row) or `suffix` (number the others).",
        "BF211 2 rows have a key that an earlier row has (key column 'id'), e.g. 'A17' in data/x.csv:3, data/x.csv:9",
    ),
    "BF212": ErrorCode(
        "Rows have no key",
        "A column in `key:` is null or empty in some rows.",
        "Fill the cells, choose another key, or leave such rows out, e.g. `where: row.id`.",
        "BF212 1 row has no value in key column 'id': data/x.csv:4",
    ),
    "BF213": ErrorCode(
        "`where:` cannot be evaluated",
        "It is no expression, it names a column that a row does not have, or it compares text with a number.",
        "Correct the expression. CSV cells are text unless `types:` says otherwise.",
        "BF213 jobs/triage.yml:5:3: `where:` fails at data/x.csv:2: the row has no column 'lable'",
    ),
    "BF214": ErrorCode(
        "Settings of an input do not go together",
        "E.g. `types:` for a format that has types, `columns:` for a file with a header, equal delimiter and quote.",
        "Drop one of the two.",
        "BF214 jobs/triage.yml:4:3: `types:` is for CSV and TSV; jsonl files keep the types of their values",
    ),
    "BF215": ErrorCode(
        "A value cannot be sent as JSON",
        "An inline row holds .nan, .inf, or an escape that is half of a character.",
        "Write null, or the whole character.",
        "BF215 jobs/triage.yml:row 2: nan cannot be sent as JSON",
    ),
    "BF216": ErrorCode(
        "A compressed file cannot be unpacked",
        "It is damaged, ends in the middle, or unpacks to so many times its size that it is no table.",
        "Write or copy it anew.",
        "BF216 data/a.csv.gz: the file cannot be unpacked: it ends in the middle",
    ),
    "BF220": ErrorCode(
        "A shape names a column that cannot serve",
        "`each`, `distinct` or `group_by` names a column that a row does not have, or `each` one that holds no list.",
        "Correct the name; for lists in CSV cells say `types: {column: json}`.",
        "BF220 jobs/resolve.yml:2:1: `each: entities` names a column that data/documents.jsonl:1 does not have",
    ),
    "BF221": ErrorCode(
        "Two columns have one name",
        "The elements of a list, or a joined input, have a column that the rows have too, and one would "
        "hide the other.",
        "Rename one of them, leave it out upstream with `output: {columns: [...]}`, or give the join a `prefix`.",
        "BF221 jobs/reply.yml:2:1: `join`: both inputs have a column 'name'",
    ),
    "BF222": ErrorCode(
        "A join names a column that is missing",
        "One of the two inputs has no column of this name.",
        "Correct `on`; both inputs must have its columns.",
        "BF222 jobs/reply.yml:2:1: `join`: data/customers.csv:2 has no column 'customer', which `on` names",
    ),
    "BF223": ErrorCode(
        "A joined input has two rows for one value",
        "A row could belong to either of them.",
        "Join the other way round: the input with many rows for one value comes first.",
        "BF223 jobs/reply.yml:2:1: `join`: data/customers.csv:2 and data/customers.csv:9 both have "
        "customer_id = '7', so it is not told which of them a row belongs to",
    ),
    "BF224": ErrorCode(
        "No row finds another",
        "The two inputs of a join have no value in common.",
        "Compare the values and their types: CSV cells are text unless `types:` says otherwise.",
        "BF224 jobs/reply.yml:2:1: `join`: no row finds another by customer_id",
    ),
    "BF225": ErrorCode(
        "A group is too large",
        "Its rows have more tokens together than `max_tokens` of `group_by` allows. The group is not "
        "asked; the others are.",
        "Set `split: true` and merge the parts' answers by a second job, or raise `max_tokens`.",
        "BF225 the group has more than 100,000 tokens; `group_by: {split: true}` asks about it in parts, "
        "which a second job can merge",
    ),
    "BF226": ErrorCode(
        "A job reads another that has no answers",
        "The other job is not part of this run, and was never run against this target.",
        "Run it too, with `--select +JOB`, or read production's with `--defer --state main`.",
        "BF226 jobs/second.yml:2:3: second reads `first`, which has no answers on target `prod` yet",
    ),
    "BF227": ErrorCode(
        "A job's answers look otherwise in production",
        "With `--defer --state FOLDER`, answers of a job that is not selected would be read by its `output`, which is "
        "another one than when the manifest was written.",
        "Run the job too, with `--select +JOB`, or give --state a commit: its job then says how answers are read.",
        "BF227 jobs/second.yml:2:3: second reads `first`, whose answers look otherwise here than in the manifest of "
        "--state",
    ),
    "BF228": ErrorCode(
        "The input has no rows",
        "The file, the query or the job that is read gives no row, or `where` takes none. That is no error, and an "
        "output without rows takes the old one's place.",
        "Where there must be some, add `tests: [{row_count: {min: 1}}]` to the job: the old output then stays.",
        "warning: classify_tickets: BF228 the input has no rows; the output is written without any",
    ),
    "BF230": ErrorCode(
        "An input was never fetched",
        "The job reads a query or files of an object store, and there is no snapshot of them for this "
        "target and these settings: a query, its params or its connection's name were changed, or `clean` "
        "has removed target/.",
        "Run `batchforge fetch`, which takes the snapshot. `run` and `try` do it by themselves, unless "
        "--no-fetch is given.",
        "BF230 jobs/triage/classify_tickets.yml:3:1: the query was never fetched for this target",
    ),
    "BF231": ErrorCode(
        "A query is not one SELECT",
        "`sql:` holds no statement, more than one, or one that would write. The transaction in which it "
        "runs is read-only too, so that nothing can be changed by what is called in it.",
        "Write one SELECT. What has to be written before belongs into a job of the database.",
        "BF231 queries/sales.sql:3: the query would write: `DELETE`",
    ),
    "BF232": ErrorCode(
        "A query and its params do not fit",
        "The query names a `:param` that has no value, `params:` holds one that the query does not name, "
        "or a value is a template that cannot be rendered.",
        "Give every `:name` of the query a value under `params:`. Values are bound, never put into the text.",
        "BF232 jobs/sales.yml:2:1: the query's :day has no value",
    ),
    "BF233": ErrorCode(
        "A query has neither an order nor a key",
        "Databases give rows in any order, another one each time; then outputs would change though no row did.",
        "Add `key:` with the columns that name a row: then rows are sorted by them. Or end the query with ORDER BY.",
        "BF233 jobs/triage/classify_tickets.yml:3:1: the query has neither a key nor an order, so its rows "
        "would come in another order each time",
    ),
    "BF234": ErrorCode(
        "A snapshot is too old",
        "It was fetched longer ago than `max_age` allows.",
        "Run `batchforge fetch`, or raise `max_age`.",
        "BF234 jobs/sales.yml:2:1: the snapshot of queries/sales.sql is 26 h old, and `max_age` allows 24 h",
    ),
    "BF235": ErrorCode(
        "Two columns of a query have one name",
        "A join gives two columns of the same name, or an expression has none.",
        "Name them: SELECT a.id AS customer_id, b.id AS order_id.",
        "BF235 the query gives two columns that are called 'id'",
    ),
    "BF236": ErrorCode(
        "Rows cannot be written as a snapshot",
        "A value is outside of what the type of its column can hold in Parquet, e.g. NaN in a numeric(10, "
        "2); or the disk is full.",
        "Cast the column in the query, e.g. to text.",
        "BF236 the rows cannot be written as a snapshot: Conversion Error: …",
    ),
    "BF237": ErrorCode(
        "A package is missing",
        "The database or the object store needs a package that the base installation does without.",
        "Install the extra that is named, e.g. pip install 'batchforge[postgres]'.",
        "BF237 batchforge.yml:5:3: the connection `warehouse` needs psycopg, which is not installed",
    ),
    "BF238": ErrorCode(
        "A database refuses",
        "It cannot be reached, does not know the user, or finds something wrong with the query; or the "
        "connection broke off. The snapshot that was there is untouched.",
        "The database's own words say what. Correct it, then fetch again.",
        "BF238 jobs/triage/classify_tickets.yml:3:1: the query in jobs/triage/classify_tickets.yml: "
        "Catalog Error: Table with name tickets does not exist!",
    ),
    "BF239": ErrorCode(
        "A query cannot read a source",
        "The source holds rows of the YAML file or text files, or it is a query that reads itself.",
        "Queries of the embedded DuckDB read sources that are table files, URLs or other queries.",
        "BF239 batchforge.yml:9:3: the source `notes` cannot be read by a query",
    ),
    "BF240": ErrorCode(
        "A remote file cannot be read",
        "The server cannot be reached, refuses, breaks off again and again, or the file changed while it "
        "was read. The snapshot that was there is untouched; half a file is never used.",
        "Check the address, the network and the credentials of the cloud in the environment, then fetch again.",
        "BF240 https://data.example/a.csv cannot be read: the server answers 404",
    ),
    "BF241": ErrorCode(
        "A URL is not one that files are read from",
        "It is not s3://, gs://, az:// or https://, holds a user or a password, or would be reached "
        "without encryption.",
        "Write an address of these, without secrets. Credentials come from the environment.",
        "BF241 jobs/triage/classify_tickets.yml:3:1: `ftp://` is not known",
    ),
    "BF300": ErrorCode(
        "A template cannot be read",
        "The Jinja text has a tag, bracket or block that is not closed, or a word that Jinja does not know.",
        "Correct the line that is named. To write braces as text, use {{ '{{' }} or {% raw %}…{% endraw %}.",
        "BF300 prompts/classify.md.j2:12: the template cannot be read: unexpected '}'",
    ),
    "BF301": ErrorCode(
        "A template uses something that is not there",
        "A column, variable or list is misspelt, or this row does not have it.",
        "Correct the name. Where a column may be missing, write {{ row.note | default('') }}.",
        "BF301 jobs/triage/classify_tickets.yml:6: the template uses 'txt', which is not there (row "
        "data/tickets.tsv:2)",
    ),
    "BF302": ErrorCode(
        "A template includes a file that is not there",
        "Includes and imports are looked up in prompts/ only.",
        "Move the file to prompts/, or correct its name.",
        "BF302 prompts/classify.md.j2:1: the template includes 'rules.j2', and there is no prompts/rules.j2",
    ),
    "BF303": ErrorCode(
        "A template failed",
        "An expression of the template cannot be computed for a row, such as a division by zero or text plus number.",
        "Look at the row that is named; guard the expression with {% if %}.",
        "BF303 prompts/score.j2:3: the template failed: ZeroDivisionError: division by zero (row data/a.csv:9)",
    ),
    "BF304": ErrorCode(
        "A template does something that templates may not do",
        "Templates run in a sandbox, since job specs can come from anybody: they cannot reach Python's "
        "inner attributes or change values.",
        "Compute the value before, in the input.",
        "BF304 prompts/x.j2:1: access to attribute '__class__' of 'str' object is unsafe",
    ),
    "BF310": ErrorCode(
        "A file of sample rows cannot be read",
        "A file in samples/ is not as `batchforge prompts write` writes it: it was edited, or holds a merge conflict.",
        "Write it again with `batchforge prompts write --with-rows N JOB`, where the job's data is.",
        "BF310 samples/triage.jsonl:1: This is no line of sample rows.",
    ),
    "BF311": ErrorCode(
        "A page of rendered prompts is stale",
        "A prompt, a macro, a variable or a setting was edited, and samples/ was not written again.",
        "`batchforge prompts write`, and commit what it writes.",
        "BF311 samples/triage.md:14: samples/triage.md is not what the prompt is now.",
    ),
    "BF312": ErrorCode(
        "Sample rows cannot be taken",
        "The rows of the job are answers of another job, not rows of a file.",
        "Name the jobs to take samples of: `batchforge prompts write --with-rows 20 JOB`.",
        "BF312 The rows of `summary` are answers of triage, not files to sample from.",
    ),
    "BF401": ErrorCode(
        "A parameter that the API does not know",
        "A parameter, a field of a block or tool, or a type is misspelt, stands in the wrong place, or needs a beta.",
        "Take the name that is proposed, or add the beta header under `betas:`.",
        "params: {top_n: 3}",
    ),
    "BF402": ErrorCode(
        "A value of the wrong kind in a request",
        "A parameter, a content block or a tool holds a text where a number belongs, lacks a field, and the like.",
        "Write the kind of value that the message names.",
        'max_tokens: "400"',
    ),
    "BF403": ErrorCode(
        "A parameter that batches do not take",
        "The parameter works in single requests only; in a batch each row would fail.",
        "Leave it out.",
        "params: {speed: fast}",
    ),
    "BF404": ErrorCode(
        "The conversation has the wrong order",
        "It does not begin with the user, a block stands in a message of the wrong role, or a tool call has no result.",
        "Begin `messages:` with role user; put each tool_result into the message after its tool_use.",
        "messages: [{role: assistant, content: Hello}]",
    ),
    "BF405": ErrorCode(
        "An empty text block",
        "A text of the system prompt or of a message is empty, which the API refuses.",
        "Write something into it, or leave the block out.",
        'system: ""',
    ),
    "BF406": ErrorCode(
        "cache_control is used in a way that the API refuses",
        "More than 4 marks, a mark of 1h after one of 5m, or a mark on an empty or thinking block.",
        "Leave the marks to `cache:`, or remove the one that is named.",
    ),
    "BF407": ErrorCode(
        "Tools and tool_choice do not fit together",
        "`tool_choice` names a tool that is not there, there are no tools, or two tools share a name.",
        "Correct the name, or add the tool under `tools:`.",
        "tool_choice: {type: tool, name: serch}",
    ),
    "BF408": ErrorCode(
        "Citations with a fixed form of answer",
        "A document has citations switched on, and `output:` has fields or a schema; the API takes one of them.",
        "Leave out `citations`, or take the answer as text.",
    ),
    "BF409": ErrorCode(
        "Not the name of a beta",
        "An entry of `betas:` is not one header value.",
        "Write one beta an entry.",
        "betas: [output-300k-2026-03-24]",
    ),
    "BF410": ErrorCode(
        "A row leaves a text block empty",
        "A block that is made from the row alone is empty for this row, and the API refuses empty texts.",
        "Leave such rows out with `where`, or put fixed words around the value.",
        'user: "{{ row.text }}"',
    ),
    "BF411": ErrorCode(
        "A row's text is not Unicode",
        "A cell holds half of a surrogate pair, mostly from a text that was cut in the middle of an emoji.",
        "Repair the cell, or leave the row out with `where`.",
    ),
    "BF412": ErrorCode(
        "A row's request is too large",
        "The request of this row alone is larger than a batch of the job may be.",
        "Shorten or split the row's text; the API takes 256 MB a batch.",
    ),
    "BF413": ErrorCode(
        "Not taken under this API version",
        "Since 2026-10-21 the API takes no document in an assistant message and no citations on a user's text.",
        "Move the document to a user message, or leave the citations out.",
    ),
    "BF414": ErrorCode(
        "Many rows make the same request",
        "The template says the same for many rows: a column that should be in it is not, or the input "
        "holds rows twice.",
        "Nothing, if that is meant: equal requests are paid once, and every row gets the answer. Else put "
        "into the template what sets the rows apart.",
        "BF414 5,000 rows make only 37 distinct requests",
    ),
    "BF420": ErrorCode(
        "An unknown model",
        "The name is misspelt, or the model is newer than this version or a gateway's own.",
        "Take a name from `batchforge models`, or say `--allow-unknown-model`.",
        "model: claude-haiku-55",
    ),
    "BF421": ErrorCode(
        "A retired model",
        "The model is no longer served; each row would fail.",
        "Take the newer model that is named.",
        "model: claude-3-7-sonnet-20250219",
    ),
    "BF422": ErrorCode(
        "A deprecated model",
        "The model is still served, until the day that is named.",
        "Try the job with its successor before that day.",
        "model: claude-sonnet-4-5",
    ),
    "BF423": ErrorCode(
        "A model of limited access",
        "Only organisations that were let in can use the model; for others each row fails.",
        "Run one row first, or take another model.",
        "model: claude-mythos-5-2",
    ),
    "BF424": ErrorCode(
        "Sampling parameters are refused",
        "temperature, top_p and top_k are not taken under API version 2026-10-21, and by newer models under none.",
        "Leave them out; older models take them with `anthropic_version: 2023-06-01` set for the target.",
        "params: {temperature: 0}",
    ),
    "BF425": ErrorCode(
        "The model cannot be forced to use a tool",
        "`tool_choice` of type any or tool is refused by this model.",
        "Use `tool_choice: auto`, or `output:` where a fixed form of answer is what you want.",
        "tool_choice: {type: any}",
    ),
    "BF426": ErrorCode(
        "The model does not take this kind of thinking",
        "Models differ: some always think, older ones want a budget, newer ones decide by themselves.",
        "Write the kind that the message names, or leave `thinking` out.",
        "thinking: disabled",
    ),
    "BF427": ErrorCode(
        "This kind of thinking does not go with this effort",
        "The model takes it only up to effort high.",
        "Lower `effort`, or leave `thinking` out.",
        "effort: max",
    ),
    "BF428": ErrorCode(
        "A thinking budget that does not fit",
        "budget_tokens must be 1,024 or more, and less than max_tokens.",
        "Raise max_tokens or change budget_tokens.",
        "thinking: {type: enabled, budget_tokens: 500}",
    ),
    "BF429": ErrorCode(
        "The model does not take this effort",
        "Older models take no effort at all, or not every level.",
        "Take a level that the message names, or leave `effort` out.",
        "effort: xhigh",
    ),
    "BF430": ErrorCode(
        "max_tokens is more than the model can write",
        "Each model has a longest answer; some write more in batches, with a beta header.",
        "Lower max_tokens, or add the beta that the message names.",
        "max_tokens: 200000",
    ),
    "BF431": ErrorCode(
        "Thinking may eat up max_tokens",
        "The model thinks before it answers, and thinking counts towards max_tokens: the answer may be cut or missing.",
        "Write `thinking: disabled` or `effort: low` where the model takes it, or raise max_tokens.",
        "max_tokens: 200",
    ),
    "BF432": ErrorCode(
        "The model does not go on from the start of an answer",
        "The last message is the assistant's; newer models want the user's, and so does a fixed form of answer.",
        "Say in the prompt how the answer begins, or use `output:`.",
    ),
    "BF433": ErrorCode(
        "Something that this model may refuse",
        "It is deprecated, not listed for the model, or nobody could verify that it is taken.",
        "Run one row first: `--limit 1`.",
    ),
    "BF434": ErrorCode(
        "The model takes no system message within the conversation",
        "`messages:` holds one of role system.",
        "Write it under `system:`.",
    ),
    "BF435": ErrorCode(
        "A request comes near the end of the model's context window",
        "Prompt and answer together must fit into the window, and the largest row, as estimated, hardly leaves room.",
        "Look at the longest rows, lower `max_tokens`, or take a model with a larger window. A request "
        "that does not fit gets an error and is not billed.",
        "BF435 the largest request has about 188,000 tokens, with 8,000 for the answer; claude-haiku-4-5's "
        "context window holds 200,000",
    ),
    "BF436": ErrorCode(
        "Rows exceed the model's context window",
        "Even if every token of them were very long, there would be too many.",
        "Shorten or split these rows, or take a model with a larger window. Sent as they are, they get an "
        "error each and cost nothing.",
        "BF436 3 rows surely exceed the 200,000 tokens of claude-haiku-4-5's context window, first the row "
        "`17` (data/leases.jsonl:18)",
    ),
    "BF440": ErrorCode(
        "A price that cannot be read",
        "`prices:` in batchforge.yml prices a model twice, or holds a price too fine to be summed exactly.",
        "Give input, output, and where they differ cache_write_5m, cache_write_1h, cache_read: USD per "
        "million tokens, with at most 4 digits after the point.",
        "prices: {my-model: {input: 0.5, output: 2}}",
    ),
    "BF441": ErrorCode(
        "Prices that should not be relied on",
        "The model's prices are unknown, not verified, or older than 60 days, so costs shown may be wrong.",
        "Install a newer version, or look the prices up before a large run.",
    ),
    "BF450": ErrorCode(
        "A document of a row cannot be read",
        "The row names no file, or one that is not there, may not be read, or lies outside of the project.",
        "Correct the path in the row; paths are relative to the project. Other rows are asked all the same.",
        "BF450 data/claims.csv:3: there is no file 'scans/17.pdf'",
    ),
    "BF451": ErrorCode(
        "A document of a row is empty",
        "The file has no bytes, or it is a text of nothing but white space.",
        "Replace the file, or leave the row out with `where:`.",
        "BF451 inbox/17.pdf: 'inbox/17.pdf' is empty",
    ),
    "BF452": ErrorCode(
        "A document of a row is encrypted",
        "The PDF has a password, if only one against printing or copying.",
        "Save it without a password, e.g. with `qpdf --decrypt`.",
        "BF452 inbox/17.pdf: 'inbox/17.pdf' is an encrypted PDF, which the API cannot read",
    ),
    "BF453": ErrorCode(
        "A document of a row is damaged",
        "The file was cut off while it was copied, or its inside is not what its format asks for.",
        "Copy it again from where it came, or print it into a new PDF.",
        "BF453 inbox/17.pdf: 'inbox/17.pdf' is a damaged PDF, or only a part of one",
    ),
    "BF454": ErrorCode(
        "A document of a row is not what its name says",
        'The ending promises another kind of file than the content is: often a page that says "not '
        'found", saved as a PDF.',
        "Fetch the file again; if it is the right one, rename it.",
        "BF454 inbox/17.pdf: 'inbox/17.pdf' is named like a PDF, and its content is text",
    ),
    "BF455": ErrorCode(
        "A document of a row is of a kind that the API does not take",
        "Claude reads PDF, JPEG, PNG, GIF, WebP and UTF-8 text; a block `image:` takes images only.",
        "Convert the file, e.g. a Word document to PDF.",
        "BF455 inbox/17.docx: 'inbox/17.docx' is a ZIP file, as Word, Excel and PowerPoint write them; the "
        "API takes PDF, JPEG, PNG, GIF, WebP and UTF-8 text",
    ),
    "BF456": ErrorCode(
        "The documents of a row are too large or too many",
        "The API takes 600 PDF pages and images in a request (100 for models with a small context), images "
        "of 8,000 pixels a side (2,000 where there are more than 20) and 10 MB as base64, and files of 500 "
        "MB.",
        "Split the document into several rows, or scale the image down.",
        "BF456 inbox/17.pdf: the request has 614 PDF pages; this model takes 600 of them together",
    ),
    "BF457": ErrorCode(
        "A document changed while its row was being sent",
        "Somebody wrote to the file after the run had planned its requests.",
        "Run again when the file has come to rest. Batches that were sent before are kept.",
        "BF457 'inbox/17.pdf' is not what it was when the run was planned",
    ),
    "BF501": ErrorCode(
        "The state was written by a newer version",
        "Somebody ran a newer BatchForge on the same state; this one does not know its form and leaves it alone.",
        "Upgrade BatchForge.",
        "BF501 the state .batchforge/state.db was written by a newer version of BatchForge (schema 3; this "
        "one knows 1)",
    ),
    "BF502": ErrorCode(
        "The state is held by another process",
        "Another process was writing for longer than this one was willing to wait.",
        "Let it finish and run again; nothing was lost.",
        "BF502 the state .batchforge/state.db is held by another process",
    ),
    "BF503": ErrorCode(
        "The state is damaged, or no state",
        "The file is another program's, was cut short, or was overwritten.",
        "Move it away and keep it. `batchforge state recover` reads what was paid in the last 29 days back "
        "from the API; `batchforge state import` takes an export.",
        "BF503 the state .batchforge/state.db is damaged or not a state: file is not a database",
    ),
    "BF504": ErrorCode(
        "No room for the state",
        "The disk is full.",
        "Free some space and run again: what was stored is whole, and what is in flight stays there.",
        "BF504 no room on the disk of .batchforge/state.db",
    ),
    "BF505": ErrorCode(
        "The state cannot be written",
        "The file or its folder is read-only, or belongs to another user.",
        "Set its permissions, or point the target's `state:` elsewhere.",
        "BF505 the state .batchforge/state.db cannot be opened for writing",
    ),
    "BF506": ErrorCode(
        "The state belongs to another origin",
        "A state holds answers of one origin (an emulator, or Claude's API and workspace), and the target is another.",
        "Give the target a `state:` of its own, or none at all: the default keeps origins apart.",
        "BF506 the state of target `prod` holds answers of emulator local, and the target is claude api.anthropic.com",
    ),
    "BF507": ErrorCode(
        "Another process keeps asking for the same rows",
        "Two runs of the same job are under way, and each time this one had planned, the other had begun "
        "some of its rows.",
        "Let the other one finish, then run again: its answers are reused.",
        "BF507 another process keeps asking for the same rows",
    ),
    "BF508": ErrorCode(
        "The disk failed",
        "A write could not be brought to the disk: a defect, a cable, a network file system that went "
        "away. What was stored before is whole; a batch that was being sent is found again by the next "
        "run.",
        "Check the disk, then run again. If it goes on, move the project to another one.",
        "BF508 the disk of the state .batchforge/state.db failed: disk I/O error",
    ),
    "BF509": ErrorCode(
        "The state's database cannot be reached",
        "The server is down, the address or password is wrong, or the network is in the way.",
        "Check the address in `state:`, the password and the network, then run again. Nothing that was "
        "paid is lost: a batch that was being sent is found again by the next run.",
        "BF509 the state postgresql://me@127.0.0.1:5432/state cannot be reached: connection refused",
    ),
    "BF510": ErrorCode(
        "The state's address is not one of a PostgreSQL database",
        "The address names several hosts, holds a setting that it may not hold, or cannot be taken apart.",
        "Write postgresql://user:{{ env_var('STATE_PASSWORD') }}@host:5432/database; special characters in "
        "a password are written as %40.",
        "BF510 the state's address is not one of a PostgreSQL database. `hostaddr` cannot be set in it.",
    ),
    "BF511": ErrorCode(
        "There is not enough memory",
        "The machine, or the limit that a container or `ulimit -v` sets, has no more.",
        "Run again with more memory: what was accepted or answered is in the state, and is not paid again. Fewer "
        "`--threads` and less `concurrency` need less, and so do smaller batches (`batch: {max_bytes: ...}`).",
        "BF511 there is not enough memory",
    ),
    "BF512": ErrorCode(
        "Another process has taken this one's place",
        "This process showed no sign of life for longer than its lease (it was stopped, or its machine "
        "slept), or somebody ran `batchforge state unlock`. What it still meant to write was refused.",
        "Run again: it goes on where the state is now. Nothing was lost, and nothing is paid twice.",
        "BF512 this process held `submit` of the state for too long without a sign of life, and ci@runner "
        "(process 7) has it now",
    ),
    "BF513": ErrorCode(
        "Another process is submitting",
        "Plans and batches of one state are submitted by one process at a time, and it was at work for "
        "longer than `--lock-timeout`.",
        "Let it finish and run again, or give a longer --lock-timeout. `batchforge state locks` shows who "
        "it is; if it is surely gone, `batchforge state unlock` ends its lease.",
        "BF513 the state is held by ci@runner (process 7) since 2026-11-24T09:00:00Z: submitting to prod",
    ),
    "BF514": ErrorCode(
        "The new state is not empty",
        "`state migrate` copies the whole of a state into a place where there is none yet; this one holds rows.",
        "Name another place, or remove what is there if it is of no use.",
        "BF514 the state sqlite:///new.db is not empty: it has rows in `attempts`",
    ),
    "BF515": ErrorCode(
        "Not all of the state arrived",
        "Counts or digests of a table differ between the old state and the new one, so something wrote meanwhile.",
        "Remove the new state and migrate again while nobody is at work; the old one is as it was.",
        "BF515 `results` of sqlite:///new.db has 99 rows with another digest than the 100 of sqlite:///old.db",
    ),
    "BF516": ErrorCode(
        "The store cannot keep two processes apart",
        "Two that opened the same state both got the same lock: a network disk without locks, or a cache in between.",
        "Keep the state on a local disk, in PostgreSQL, or in an object store with conditional writes.",
        "BF516 the store of sqlite:////mnt/share/state.db lets two processes hold one lock",
    ),
    "BF520": ErrorCode(
        "A library for this kind of state is not installed",
        "The target's `state:` lies in an object store or a database, and what speaks to it is an extra of "
        "the package.",
        "Install the extra that the message names.",
        "BF520 the state s3://team-states/tickets needs the library obstore, which is not installed",
    ),
    "BF521": ErrorCode(
        "The store of the state cannot be used",
        "The address is wrong, the network or the store is down, or the environment holds no credentials, "
        "or wrong ones.",
        "Check the address and the cloud's environment variables, then run again. What was stored is whole.",
        "BF521 the state s3://team-states/tickets cannot be used: NoSuchBucket",
    ),
    "BF522": ErrorCode(
        "The store cannot keep two writers apart",
        "It lets an object be written a second time that was to be written only if it is not there yet, so "
        "two runs at once could pay the same rows twice.",
        "Use a store with conditional writes, or PostgreSQL.",
        "BF522 the store s3://old-store/tickets cannot hold a state",
    ),
    "BF524": ErrorCode(
        "The objects of the state are damaged, or no state",
        "Something else wrote to the place of the state, or objects were removed or restored one by one.",
        "Restore the objects as they were, or begin in an empty place and read what was paid back with "
        "`batchforge state recover`.",
        "BF524 the state s3://team-states/tickets is damaged or not a state: state.json is not one of ours",
    ),
    "BF601": ErrorCode(
        "The API refused the credentials",
        "The key is wrong, was revoked, or may not use this workspace.",
        "Check the target's `api_key`. What is in flight can be collected once the key is right.",
        "BF601 the API refused the credentials (list of batches): HTTP 401 authentication_error: API key is invalid.",
    ),
    "BF602": ErrorCode(
        "Results are said to lie on another host",
        "The batch's results_url does not lead to the target's base_url, and a key is never sent elsewhere.",
        "If a gateway stands between, let it rewrite results_url; else correct base_url.",
        "BF602 the results are said to be at https://example.com, not at the target's base_url",
    ),
    "BF603": ErrorCode(
        "The API did not accept a batch",
        "It answered with a rate limit, an overload or nothing at all, several times in a row.",
        "Run again later. Nothing of the batch was paid; what was accepted before is kept.",
        "BF603 the API did not accept a batch of 20,000 requests in 8 tries",
    ),
    "BF604": ErrorCode(
        "The API refused a batch",
        "It named a reason that waiting does not mend: a malformed request, a spend limit, too large a body.",
        "Mend what the message names and run again. Nothing of the batch was paid.",
        "BF604 the API refused the batch: HTTP 400 invalid_request_error: ...",
    ),
    "BF605": ErrorCode(
        "The results of a batch cannot be read",
        "The stream of results broke off several times in a row.",
        "Run `batchforge collect` later: what was read is kept, and results stay readable for 29 days.",
        "BF605 the results of msgbatch_01... cannot be read, 8 times in a row",
    ),
    "BF606": ErrorCode(
        "A batch is undecided",
        "It may have been accepted (the connection broke, or the process died, while it was sent), it was "
        "not listed in time, and it can cost more than may be risked.",
        "Look at the workspace's batches in the console. `batchforge adopt BATCH_ID` takes one for it; "
        "`batchforge run --resend-and-risk-paying-twice` sends it again.",
        "BF606 attempt 7 of classify_tickets (20,000 requests, sent 2026-11-24T07:31:02Z) may have been "
        "accepted: not listed 900 s after it was sent",
    ),
    "BF607": ErrorCode(
        "The API asks to wait for long",
        "Its retry-after is longer than a run waits.",
        "Run again after that time. Nothing of what it refused was paid; what was accepted or answered before is kept.",
        "BF607 the API asks to wait 60 minutes before the next batch (HTTP 429 rate_limit_error: ...)",
    ),
    "BF608": ErrorCode(
        "A document cannot be uploaded",
        "The API's Files endpoint refuses the file or does not answer. Files that are large, or that many "
        "requests share, are uploaded once instead of standing in each request.",
        "Run again later. If the server has no Files API (a gateway), keep documents below 3 MB and to one request.",
        "BF608 a document cannot be uploaded (manual.pdf): HTTP 404 not_found_error: Not found",
    ),
    "BF609": ErrorCode(
        "Results have not been fetched for long",
        "A batch ended days ago, and nothing has read its results; the API deletes them 29 days after the "
        "batch was made.",
        "`batchforge collect` with the name of that job stores them.",
        "BF609 the results of msgbatch_01... have not been fetched for 8 days; `batchforge collect about` "
        "can until 2026-12-20",
    ),
    "BF610": ErrorCode(
        "Results came twice",
        "The results of a batch held the same custom_id more than once.",
        "Nothing: the first one is kept and counted. If it happens often, tell the operator of the server.",
        "BF610 3 results of msgbatch_01... were given twice, first bf1_...; left out",
    ),
    "BF611": ErrorCode(
        "Results came that nobody asked for",
        "The results of a batch held custom_ids that were not in it.",
        "Nothing: they are left out. If it happens often, tell the operator of the server.",
        "BF611 1 results of msgbatch_01... were given without having been asked for, first order-17; left out",
    ),
    "BF612": ErrorCode(
        "Results are missing",
        "A batch ended, and its results hold no line for some of its requests. Whether they were paid cannot be told.",
        "Their rows are errors of type `missing_result`, which a plain run does not ask again; `batchforge "
        "retry` does, and pays.",
        "BF612 2 requests of msgbatch_01... have no result, first bf1_...",
    ),
    "BF613": ErrorCode(
        "A batch is gone",
        "It was deleted by somebody, or is older than 29 days, before its results were stored.",
        "Its rows are errors of type `result_gone`, which a plain run does not ask again; `batchforge "
        "retry` does, and pays.",
        "BF613 batch msgbatch_01... is gone before its results were stored: HTTP 404 not_found_error: "
        "Message Batch msgbatch_01... not found.",
    ),
    "BF614": ErrorCode(
        "Answers came too late",
        "This process had not been heard of for so long (a machine that slept, a disk that hung) that "
        "another one took over its requests.",
        "Nothing: the other process asks for these rows again. Their answers here were paid and are lost.",
        "BF614 2 answers came after another process had taken over; they are lost",
    ),
    "BF615": ErrorCode(
        "Lost answers cannot be looked for",
        "A first run on an empty state looks for batches of this project that an earlier state paid for, "
        "and the API gave no list of batches.",
        "If there was an earlier state, stop the run, and try `batchforge state recover` when the API can "
        "be reached. Else there is nothing to do.",
        "BF615 the API's batches cannot be listed, to look for lost answers: HTTP 500 api_error: Internal server error",
    ),
    "BF616": ErrorCode(
        "Answers of a lost state were recovered",
        "The state was empty, and the API still held results of batches of ours.",
        "Nothing: they are reused, and not paid again.",
        "BF616 recovered 4,000 answers of 2 earlier batches from the API",
    ),
    "BF617": ErrorCode(
        "Batches are in progress that the state does not know",
        "The state has sent nothing yet, and the workspace has batches in progress. They are others', or "
        "this project's from a state that was lost; their custom_ids can be read only when they have "
        "ended.",
        "If a state may have been lost, wait until they have ended and run again, or `batchforge state "
        "recover`: their answers are read back. If they are surely others', `--yes` sends all the same. On "
        "a terminal you are asked.",
        "BF617 a batch is in progress in the workspace that this state does not know; nothing was sent",
    ),
    "BF618": ErrorCode(
        "An uncertain batch is given up on your word",
        "`--resend-and-risk-paying-twice` takes batches whose acceptance is uncertain for lost.",
        "Nothing. If one of them was accepted after all, it is paid twice; the workspace's list of batches tells.",
        "BF618 attempt 7 is taken for lost on your word; it may be paid twice",
    ),
    "BF619": ErrorCode(
        "A batch could not be deleted at the API",
        "`delete_remote: after_collect` deletes batches once their results are stored, and the API did not do it.",
        "Nothing: the next run tries again.",
        "BF619 batch msgbatch_01... could not be deleted at the API, the next run tries again: HTTP 500 "
        "api_error: Internal server error",
    ),
    "BF620": ErrorCode(
        "The list of models cannot be had",
        "The API did not answer, or the server that stands in for it has no list of models.",
        "Try again later. Without --check nobody is asked.",
        "BF620 the list of models cannot be had: HTTP 404 not_found_error: Not found",
    ),
    "BF621": ErrorCode(
        "A batch was not canceled",
        "The API could not be reached, or would not do it.",
        "Run `batchforge cancel` again. Until then it goes on, and is billed as it is answered.",
        "BF621 msgbatch_01... was not canceled: HTTP 500 api_error: Internal server error",
    ),
    "BF630": ErrorCode(
        "The API refuses every request",
        "The refusal is not about one row: the plan's limit of spending is reached, payment is due, or the "
        "target's address has no Messages API.",
        "Mend what the message names, then run again: what was answered is stored and not asked again.",
        "BF630 the API refuses every request: HTTP 404",
    ),
    "BF631": ErrorCode(
        "The server answers nothing",
        "It cannot be reached, or refused or failed many requests in a row, however long they waited.",
        "Check the target's `base_url` and whether the server runs and has room; lower `concurrency`; run again later.",
        "BF631 the server answers nothing, 6 times in a row: cannot connect: [Errno 111] Connection refused",
    ),
    "BF690": ErrorCode(
        "The target's server cannot be reached",
        "`debug` asked it for its models, and there was no answer: a wrong address, no network, a proxy between.",
        "Look at the target's base_url and at the network. Nothing was sent that costs.",
        "BF690 The server of target `prod` cannot be reached: ConnectError Connection refused",
    ),
    "BF701": ErrorCode(
        "An output file cannot be written",
        "The disk is full, the folder may not be written to, or a folder has the file's name.",
        "Make room or set the permissions, and run again: answers are stored, nothing is paid twice.",
        "BF701 outputs/tickets.parquet: the file cannot be written: No space left on device",
    ),
    "BF702": ErrorCode(
        "The input and the output have a column of the same name",
        "A field of the answer, `text_column:`, or a column that begins with _ is called like an input column.",
        "Give the field another name, or leave the input column out with `output: {columns: [...]}`.",
        "BF702 jobs/triage.yml:9:1: the input of triage has a column 'label', and so has its output",
    ),
    "BF703": ErrorCode(
        "The ending of an output file tells no format",
        "The format of an output is by its ending, and this one is not known.",
        "Use .jsonl, .csv, .tsv or .parquet.",
        "BF703 the ending of an output file tells its format, and that of 'tickets.txt' tells none",
    ),
    "BF704": ErrorCode(
        "Two columns of a Parquet output differ only in case",
        "Readers of Parquet take `Text` and `text` for one column.",
        "Leave one out with `output: {columns: [...]}`, or write JSONL or CSV.",
        "BF704 the columns 'Text' and 'text' differ only in case, which a Parquet output cannot hold",
    ),
    "BF705": ErrorCode(
        "There is no output yet",
        "From Python, the rows of a job's output were asked for, and no run has published them.",
        "Run the job. Where a run held its output back, the candidates lie beside the output's place.",
        "BF705 outputs/tickets.parquet: there is no output of classify_tickets yet",
    ),
    "BF706": ErrorCode(
        "There is no such table",
        "`output: {table: ...}` names one that the database does not have.",
        "Make it, or let it be made by the answer's schema: `create: true`.",
        "BF706 jobs/label.yml:4:1: there is no table reviews_labelled",
    ),
    "BF707": ErrorCode(
        "A table is not what the output needs",
        "It lacks a column of the output, holds one of another type, or has one that must have a value and "
        "gets none. It is asked before anything is sent, and again when the rows are written.",
        "Change the table with ALTER TABLE, or the output's `fields` or `columns`.",
        "BF707 jobs/label.yml:4:1: the table reviews_labelled is not what the output needs: it has no "
        "column 'label' (text)",
    ),
    "BF708": ErrorCode(
        "A key does not name one row of a table",
        "Two rows of the output have the same key, or one has none; an upsert would keep one of them by chance.",
        "Add a column to the output's `key`, or use `mode: append` or `replace`.",
        "BF708 jobs/label.yml:4:1: `key: id` does not name one row of the output: 7 is there more than once or empty",
    ),
    "BF709": ErrorCode(
        "A table cannot be written with these settings",
        "An upsert has no key, its key is no column of the output, or two targets would write one table: "
        "the answers of one would replace those of the other.",
        "Set `key`, or give each target a connection of its own.",
        "BF709 jobs/triage/classify_tickets.yml:7:1: the table labelled needs a `key`",
    ),
    "BF710": ErrorCode(
        "A test asks for a column that the output does not have",
        "The name is misspelt, or `output: columns` leaves the column out. It is told before anything is sent.",
        "Correct the name, or carry the column into the output.",
        "BF710 jobs/triage/classify_tickets.yml:12:5: The test not_null_reson asks for the column 'reson', "
        "which the output does not have.",
    ),
    "BF711": ErrorCode(
        "The SQL of a test cannot be read",
        "`where`, `expression` or a file of tests/ is no SQL as DuckDB reads it, or names a column that is not there.",
        "Correct it at the place that is named. Texts stand in single quotes, names with spaces in double ones.",
        "BF711 jobs/triage/classify_tickets.yml:12:5: The SQL of the test expression cannot be read: "
        'syntax error at or near "FROM".',
    ),
    "BF712": ErrorCode(
        "The output cannot be written to the object store",
        "The store cannot be reached, refuses the credentials of the environment, or has no such bucket. What was "
        "there is untouched.",
        "Check the address, the network and the cloud's environment variables, then run again: answers that are there "
        "are not asked again.",
        "BF712 jobs/label.yml:4:1: s3://none/labels.parquet cannot be written: NoSuchBucket",
    ),
    "BF713": ErrorCode(
        "Emulated answers were kept from where real ones stand",
        "The target is an emulator, and the table or the object of the output is not its own.",
        "Nothing needs to be done. To try the delivery too, give the emulator's target a connection of its own, or "
        "write {target} into the address.",
        "BF713 s3://labels/tickets.parquet is not written: emulated answers go only to an address with {target} in it",
    ),
    "BF801": ErrorCode(
        "Rows of a group share no block",
        "`cache: per:` names a column whose rows should share a prefix, and the texts before the first "
        "block's end differ between rows of one group.",
        "Put what the group shares (the document) into a content block of its own, before what differs by "
        "row (the question).",
        "BF801 `cache: per: contract_id` finds no block that the rows of a group share: rows of the group "
        "'c7' differ in text 1 from byte 120 on",
    ),
    "BF802": ErrorCode(
        "A limit does not hold the most that the run can cost",
        "The ceiling of what would be sent, with what is spent and reserved already, is higher than "
        "max_cost_usd, --max-cost or month_max_cost_usd.",
        "Send fewer rows (the hint says how many would fit), or raise the limit. Nothing was sent.",
        "BF802 the run: at most $26.32, over the limit of $10.00",
    ),
    "BF803": ErrorCode(
        "There is no upper bound on the cost",
        "A limit is set, but the cost has no bound: server tools, documents by URL, or a model without a known price.",
        "Leave the limit out, give the model's `prices:`, or leave out what has no bound.",
        "BF803 the run: there is no upper bound on the cost (web_search can add any number of tokens), so "
        "a limit cannot be kept",
    ),
    "BF804": ErrorCode(
        "What went first did not go well",
        "The rows that were sent ahead of the others failed, or cost more than was estimated.",
        "Look at their reasons, mend the job, and run again. What was answered is kept; what was learnt is used.",
        "BF804 classify_tickets: 18 of the 20 rows that went first failed, so the other 4,960 were not sent",
    ),
    "BF805": ErrorCode(
        "A run needs a yes",
        "It is expected to cost more than confirm_above_usd, nobody is at the terminal, and no budget is set.",
        "Give --yes, --max-cost USD, or set month_max_cost_usd.",
        "BF805 this run needs a yes: $6.87 expected, $26.32 at most, and confirm_above_usd is $5.00",
    ),
    "BF806": ErrorCode(
        "Not confirmed",
        "The question whether to send was answered with no.",
        "Nothing was sent.",
        "BF806 not confirmed; nothing was sent",
    ),
    "BF807": ErrorCode(
        "A saved plan does not cover what would be sent",
        "Since the plan was made, requests, prices or the target have changed, so that more would be sent "
        "than was approved.",
        "Make a new plan and have it approved.",
        "BF807 classify_tickets: 12 requests are not in the plan",
    ),
    "BF808": ErrorCode(
        "A saved plan cannot be read",
        "The file is not a plan, or was made by another version.",
        "Make it again: batchforge plan --out plan.json.",
        "BF808 plan.json is not a plan",
    ),
    "BF809": ErrorCode(
        "cache: per: names no column",
        "Rows are grouped by a column that they do not have.",
        "Name one of the input's columns. It need not be among those that go into the output.",
        "BF809 jobs/review.yml:9: `cache: per: contract` names a column that data/questions.csv:2 does not have",
    ),
    "BF810": ErrorCode(
        "Something has moved since the plan was saved",
        "The commit or the state is another one than when `batchforge plan --out` was called.",
        "Nothing: still no request is sent that the plan did not approve. Make a new plan if the difference matters.",
        "BF810 the state has moved on since the plan was made",
    ),
    "BF811": ErrorCode(
        "Some rows went first, and the others wait",
        "With `--no-wait` the run ends after the rows that go first (a canary, or a row that primes the cache).",
        "`batchforge resume` sends the others once these have ended.",
        "BF811 20 of 5,000 requests went first (canary); `batchforge resume` sends the others when they have ended",
    ),
    "BF812": ErrorCode(
        "The row that went first took too long",
        "What it put into the prompt cache lives for an hour (or five minutes) from the start of its "
        "request, and it ended too late for the others to find it.",
        "Nothing: the others are sent without marks, which would cost more than they save. `cache: {prime: "
        "sync}` primes in seconds.",
        "BF812 the row that went first took 58 minutes, and what it put into the cache lives for 1h: the "
        "others are sent without cache marks, which would now cost more than they save",
    ),
    "BF813": ErrorCode(
        "More is expected to be spent than `warn_cost_usd`",
        "The job, or the jobs of the folder together, are expected to cost more than the sum from which on "
        "you want to be told.",
        "Nothing, if that is fine: a warning stops no run. `max_cost_usd` does.",
        "BF813 expected to cost $6.87, over warn_cost_usd $5.00",
    ),
    "BF814": ErrorCode(
        "The row that went first failed for a time only",
        "The row that was to write the shared prefix into the cache met an overloaded API, or expired. "
        "Nothing was paid for it, and nothing is in the cache.",
        "Nothing: the others go on without cache marks, and the next run asks that row again.",
        "BF814 the row that went first failed for a time only: the others are sent without cache marks",
    ),
    "BF820": ErrorCode(
        "A file is no usage export",
        "It is not there, is not CSV, or has no column for the day, the model, or tokens and costs.",
        "Export usage or cost as CSV from the Console; docs/cost.md lists the columns that are read.",
        "BF820 usage.csv has no column for the day; its columns are: model, tokens",
    ),
    "BF821": ErrorCode(
        "A line of a usage export cannot be read",
        "Its day is no day, or a number is none.",
        "Export the file again, and compare it before a spreadsheet has changed it.",
        "BF821 usage.csv:3: this line of the usage export cannot be read: `n/a` is not a number",
    ),
    "BF822": ErrorCode(
        "A day cannot be read",
        "--since and --until take a day, or how many days ago it was.",
        "Write 2026-11-01, or 7d.",
        "BF822 --since `last week` is not a day.",
    ),
    "BF830": ErrorCode(
        "A change goes beyond a limit of its review",
        "`review: fail_on:` in batchforge.yml, or --fail-on, sets a limit that the change does not keep.",
        "Change less, or have the limit raised by a change of its own.",
        "BF830 rows_rerun (limit 2): 3 rows are asked again",
    ),
    "BF901": ErrorCode(
        "--vars cannot be read",
        "The value is neither KEY=VALUE nor a YAML or JSON mapping.",
        "Write --vars month=2026-11, or --vars '{month: \"2026-11\", limit: 20}'.",
        "BF901 --vars `month` is neither KEY=VALUE nor a mapping.",
    ),
    "BF902": ErrorCode(
        "A word of a selection cannot be read",
        "A word has a method before the colon that does not exist, or a value that the method does not take.",
        "Use a job's name, a folder, a glob, a path, or METHOD:VALUE; docs/selecting.md lists the methods.",
        "BF902 `tags:nightly` does not say which jobs are meant: `tags:` is not a way to choose.",
    ),
    "BF903": ErrorCode(
        "There is no such job",
        "No job has this name. Going on would run something else than was meant.",
        "Look at the jobs with `batchforge ls`.",
        "BF903 There is no job `clasify_tickets`.",
    ),
    "BF904": ErrorCode(
        "A disabled job is selected by its name",
        "The job says `enabled: false`.",
        "Set `enabled: true`, or select other jobs.",
        "BF904 The job `classify_tickets` is disabled.",
    ),
    "BF905": ErrorCode(
        "There is no such error code",
        "`explain` was asked for a code that does not exist.",
        "List all codes with `batchforge explain`.",
        "BF905 There is no error code `BF999`.",
    ),
    "BF906": ErrorCode(
        "target/ cannot be removed",
        "It is a symbolic link, or a file in it may not be removed.",
        "Remove it yourself, or change its permissions.",
        "BF906 /home/me/support/target is a symbolic link; what it leads to is not removed.",
    ),
    "BF907": ErrorCode(
        "There is no row with this key",
        "The key is misspelt, or the row is not in the input any more.",
        "`batchforge render JOB --limit 20` shows the keys of the first rows.",
        "BF907 classify_tickets has no row with the key `7`.",
    ),
    "BF908": ErrorCode(
        "There is no state yet",
        "Nothing was run against this target.",
        "The first run makes the state.",
        "BF908 There is no state of target `prod` yet.",
    ),
    "BF909": ErrorCode(
        "An age cannot be read",
        "--older-than takes a number of days or hours.",
        "Write 90d or 12h.",
        "BF909 --older-than `3 weeks` is not an age.",
    ),
    "BF910": ErrorCode(
        "There is no unfinished run",
        "The last run against this target ended well, or there was none.",
        "Start one with `batchforge run`.",
        "BF910 there is no unfinished run to resume",
    ),
    "BF911": ErrorCode(
        "More would be sent than the run had planned",
        "Prompts or inputs have changed since the run that is to be resumed.",
        "`batchforge run` plans anew and sends them as they are now.",
        "BF911 classify_tickets: 12 requests differ from those that run 20261124T071045-81e6d7 had planned",
    ),
    "BF912": ErrorCode(
        "No uncertain attempt can have sent a batch",
        "`adopt` was given a batch whose count or custom_ids belong to none of the attempts that are uncertain.",
        "`batchforge status` shows the uncertain ones with their counts.",
        "BF912 no uncertain attempt can have sent msgbatch_01... (20,000 requests)",
    ),
    "BF913": ErrorCode(
        "A file is not an export",
        "A line is not one that `batchforge state export` prints.",
        "Make the file with `batchforge state export > FILE`.",
        "BF913 line 1 is not a line of an export",
    ),
    "BF914": ErrorCode(
        "An emulator is not an API to be tried",
        "verify-live checks our facts against a real server, and the chosen target is an embedded emulator.",
        "Choose a target of type claude with --target.",
        "BF914 target `local` is an emulator, not an API to be tried.",
    ),
    "BF915": ErrorCode(
        "There is no such run or batch",
        "`--run` or `--batch` names one that the target's state does not know.",
        "`batchforge runs` lists runs, `batchforge status` what is in flight.",
        "BF915 there is no batch `msgbatch_x` in the state",
    ),
    "BF920": ErrorCode(
        "Nothing is selected",
        "No job matches what --select and --exclude say, and --on-empty fail makes that an error.",
        "Look at the jobs and their tags with `batchforge ls`.",
        "BF920 Nothing is selected.",
    ),
    "BF921": ErrorCode(
        "There is no such selector",
        "--selector or `selector:` names a selector that no file of selectors has.",
        "Correct the name, or define it in selectors.yml.",
        "BF921 There is no selector `nightly`.",
    ),
    "BF922": ErrorCode(
        "There is nothing to compare with",
        "`state:` or `result:` is asked for, and --state is not given, is neither a folder with a "
        "manifest.json nor a commit of this clone, or what it names cannot be read.",
        "Keep the folder target/ of the run to compare with, and name it with --state; or name a branch or commit.",
        "BF922 `state:` needs something to compare with.",
    ),
    "BF923": ErrorCode(
        "A word selects nothing",
        "No enabled job, source or exposure matches the word. The others of the selection hold.",
        "Correct the word, or leave it out. --on-empty fail makes it an error where nothing at all is selected.",
        "BF923 `clasify_tickets` selects nothing.",
    ),
    "BF924": ErrorCode(
        "Words beside --selector are not looked at",
        "--selector is given together with jobs, --select or --exclude.",
        "Write the selector as a word: --select selector:NAME --exclude OTHER.",
        "BF924 --selector stands alone: no other word is looked at.",
    ),
    "BF925": ErrorCode(
        "--fail-on names no rule, or no limit",
        "The rule does not exist, or its limit is missing or no number.",
        "Write e.g. --fail-on rows_rerun=1000, or --fail-on unpriced_model.",
        "BF925 There is no rule `rows`.",
    ),
    "BF926": ErrorCode(
        "An emulator's answers are not for a real target",
        "`--defer` would let a real target read what an emulator made up.",
        "Defer to a real target: set `defer_to` in batchforge.yml, or give --state the manifest of a real run.",
        "BF926 `local` is an emulator; its answers never serve the real target `prod`.",
    ),
    "BF930": ErrorCode(
        "Files are in the way of a new project",
        "`init` never overwrites, and the folder has files of the same names already.",
        "Name another folder, or move away what is named.",
        "BF930 batchforge.yml is there already; nothing was written.",
    ),
    "BF931": ErrorCode(
        "A file cannot be used for a new project",
        "The file that --from names is not there, is a folder, or holds no rows.",
        "Name a CSV, TSV, JSONL, JSON or Parquet file with at least one row.",
        "BF931 There is no file tickets.cvs.",
    ),
    "BF940": ErrorCode(
        "There is nothing to compare",
        "Only one variant is named, so there is nothing that it could be held against.",
        "Give two models, prompts, efforts or modes, or --aa.",
        "BF940 there is only one variant, so nothing can be compared.",
    ),
    "BF941": ErrorCode(
        "There is no such prompt",
        "--prompts names a file that the project does not have.",
        "Paths start at the project folder, e.g. prompts/short.j2.",
        "BF941 there is no prompt prompts/shrot.j2.",
    ),
    "BF942": ErrorCode(
        "There is nothing of this name to compare by",
        "--label, --field or --reference names a field or a variant that is not there.",
        "The message lists those that are.",
        "BF942 there is no `categry` to compare by.",
    ),
    "BF943": ErrorCode(
        "Rows that are to be erased are in flight",
        "A batch that asks for them has not been collected yet; its results would come after the erasure.",
        "Fetch them with `batchforge collect --wait`, or give them up with `batchforge cancel`, and erase then.",
        "BF943 2 of the requests are in flight",
    ),
    "BF944": ErrorCode(
        "It is not said which rows are to be erased",
        "`state erase` takes rows by their keys or by a condition, and got neither or both.",
        "Give `--key`, as often as you like, or `--where` with a condition in SQL.",
        "BF944 Say which rows: either --key or --where.",
    ),
    "BF950": ErrorCode(
        "Somebody was not told of the end of a run",
        "The URL of `notify:` did not answer in time or refused, or its command could not be run or failed.",
        "Try the URL or command by hand. The run itself is not affected.",
        "BF950 batchforge.yml:9:5: the URL of `notify:` was not reached: HTTP 404",
    ),
    "BF960": ErrorCode(
        "A comment of another workflow cannot be posted",
        "The file that the review left behind is missing, damaged, or about another pull request than the "
        "run it comes from.",
        "Download the artifact of the review's own run, as the workflow that `init --ci github` writes does.",
        "BF960 comment.json is not what a review left behind.",
    ),
    "BF961": ErrorCode(
        "A submit finds no reviewed plan",
        "The commit comes from no merged review whose comment carries a plan, or the plan is not kept any more.",
        "Merge a reviewed change, name a plan file with --plan, or approve the run itself with --plan none "
        "and --max-cost.",
        "BF961 Nothing was sent: this commit comes from no review with a plan.",
    ),
    "BF962": ErrorCode(
        "The state would vanish with the runner",
        "A step that sends runs on a machine that is made for its job alone, and the target's state is a file in the "
        "checkout. What is in flight would be forgotten, and paid again by the next run.",
        "Give the target a state that runners share: `state: s3://BUCKET/NAME`, or a PostgreSQL database.",
        "BF962 batchforge.yml:7:3: Nothing was sent: the state of `prod` is a file of this runner, and would be gone "
        "with it.",
    ),
    "BF971": ErrorCode(
        "The emulator cannot listen",
        "Another program has the port, or the address is not one of this machine.",
        "Choose another port with --port, or 0 for a free one.",
        "BF971 the emulator cannot listen on 127.0.0.1:8787: Address already in use",
    ),
    "BF972": ErrorCode(
        "A scenario of the emulator says something unknown",
        "The YAML file given with --scenario has a name or a value that the emulator does not know.",
        "docs/emulator.md lists what a scenario may say.",
        "BF972 chaos.yml: chaos.yml: faults[0]: unknown knd. Known are at_byte, body, …",
    ),
    "BF973": ErrorCode(
        "A file of answers cannot be used",
        "The file given with --answers cannot be read, or a line or the script in it is not of the form described.",
        "docs/emulator.md shows what a file of answers looks like.",
        "BF973 answers.jsonl:3: …",
    ),
    "BF974": ErrorCode(
        "The upstream address is not one",
        "--upstream is not the http or https address of a server.",
        "Such as http://127.0.0.1:11434.",
        "BF974 --upstream: not an http or https address: localhost",
    ),
    "BF975": ErrorCode(
        "The emulator's database cannot be used",
        "The file given with --database is no SQLite database, or may not be written.",
        "Choose another file with --database; it is made if there is none.",
        "BF975 the database notes.txt cannot be used: file is not a database",
    ),
}
