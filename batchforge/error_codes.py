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
        "A CSV or TSV row cannot be taken apart",
        "A quoted cell is never closed, text follows a closing quote, a cell holds a bare carriage return, or a cell "
        "is longer than 256 MB.",
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
        "Leave it out, or run the job with `mode: sync` where it is taken.",
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
        "",
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
        "",
    ),
    "BF409": ErrorCode(
        "Not the name of a beta",
        "An entry of `betas:` is not one header value.",
        "Write one beta an entry.",
        "betas: [output-300k-2026-03-24]",
    ),
    "BF413": ErrorCode(
        "Not taken under this API version",
        "Since 2026-10-21 the API takes no document in an assistant message and no citations on a user's text.",
        "Move the document to a user message, or leave the citations out.",
        "",
    ),
    "BF420": ErrorCode(
        "An unknown model",
        "The name is misspelt, or the model is newer than this version or a gateway's own.",
        "Take a name from `batchforge models`, give its prices in batchforge.yml, or say `--allow-unknown-model`.",
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
        "",
    ),
    "BF433": ErrorCode(
        "Something that this model may refuse",
        "It is deprecated, not listed for the model, or nobody could verify that it is taken.",
        "Run one row first: `--limit 1`.",
        "",
    ),
    "BF434": ErrorCode(
        "The model takes no system message within the conversation",
        "`messages:` holds one of role system.",
        "Write it under `system:`.",
        "",
    ),
    "BF440": ErrorCode(
        "A price that cannot be read",
        "`prices:` in batchforge.yml holds a name that is no price, or a value that is no amount.",
        "Give input, output, and where they differ cache_write_5m, cache_write_1h, cache_read: USD per million tokens.",
        "prices: {my-model: {input: 0.5, output: 2}}",
    ),
    "BF441": ErrorCode(
        "Prices that should not be relied on",
        "The model's prices are unknown, not verified, or older than 60 days, so costs shown may be wrong.",
        "Give your own under `prices:` in batchforge.yml, or install a newer version.",
        "",
    ),
    "BF701": ErrorCode(
        "An output file cannot be written",
        "The disk is full, the folder may not be written to, or a folder has the file's name.",
        "Make room or set the permissions, and run again: answers are stored, nothing is paid twice.",
        "BF701 outputs/tickets.parquet: the file cannot be written: No space left on device",
    ),
    "BF702": ErrorCode(
        "Two columns of a Parquet output differ only in case",
        "Readers of Parquet take `Text` and `text` for one column.",
        "Leave one out with `output: columns:`, or write JSONL or CSV.",
        "BF702 the columns 'Text' and 'text' differ only in case, which a Parquet output cannot hold",
    ),
    "BF703": ErrorCode(
        "The ending of an output file tells no format",
        "The format of an output is by its ending, and this one is not known.",
        "Use .jsonl, .csv, .tsv or .parquet.",
        "BF703 the ending of an output file tells its format, and that of 'tickets.txt' tells none",
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
}
