"use strict";
// Rows come as one compressed text, a line of JSON each. Everything is put into the page as text, never as markup.
(async () => {
  const PAGE = 100, WORDS = 600;
  const $ = (id) => document.getElementById(id);
  const body = $("rows"), status = $("status");
  if (!body) return;
  const bytes = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  const rows = text.split("\n").filter(Boolean).map((line) => {
    const [job, key, place, kind, words, row, before, after] = JSON.parse(line);
    return { job, key, place, kind, words, row, before, after, found: null };
  });
  const TELLING = ["broken", "invalid", "fixed", "changed", "valid", "same"];
  rows.sort((one, other) => TELLING.indexOf(one.kind) - TELLING.indexOf(other.kind));
  const forms = { job: $("job"), kind: $("kind"), move: $("move"), q: $("q") };
  let shown = [], page = 0, at = 0, open = null;

  const shownValue = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const moves = (row) => Object.keys(row.after)
    .filter((name) => name in row.before && name[0] !== "_" && shownValue(row.before[name]) !== shownValue(row.after[name]))
    .map((name) => [name, shownValue(row.before[name]), shownValue(row.after[name])])
    .filter(([, one, other]) => one.length < 60 && other.length < 60)
    .map(([name, one, other]) => `${name}: ${one} → ${other}`);

  const element = (name, options = {}, ...children) => {
    const made = Object.assign(document.createElement(name), options);
    made.append(...children);
    return made;
  };
  const option = (value, label) => element("option", { value, textContent: label });
  const counted = (values) => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    return [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1));
  };
  const fill = (select, all, values) => {
    select.replaceChildren(option("", all), ...counted(values).slice(0, 200).map(([v, n]) => option(v, `${v} (${n})`)));
  };

  // ---- words that differ

  const common = (one, other) => {
    const sizes = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
    for (let i = one.length - 1; i >= 0; i--) for (let j = other.length - 1; j >= 0; j--)
      sizes[i][j] = one[i] === other[j] ? sizes[i + 1][j + 1] + 1 : Math.max(sizes[i + 1][j], sizes[i][j + 1]);
    return sizes;
  };
  const differing = (before, after) => {
    const one = before.split(/(\s+)/), other = after.split(/(\s+)/), made = document.createDocumentFragment();
    if (one.length > WORDS || other.length > WORDS) {
      made.append(element("del", { textContent: before }), "\n", element("ins", { textContent: after }));
      return made;
    }
    if (!one.some((word) => word.trim() && other.includes(word))) {
      made.append(element("del", { textContent: before }), " ", element("ins", { textContent: after }));
      return made;
    }
    const sizes = common(one, other);
    for (let i = 0, j = 0; i < one.length || j < other.length;) {
      if (i < one.length && j < other.length && one[i] === other[j]) { made.append(one[i]); i++; j++; }
      else if (i < one.length && (j >= other.length || sizes[i + 1][j] >= sizes[i][j + 1]))
        made.append(element("del", { textContent: one[i++] }));
      else made.append(element("ins", { textContent: other[j++] }));
    }
    return made;
  };

  const detail = (row) => {
    const list = element("dl");
    const add = (name, ...values) => list.append(element("dt", { textContent: name }), element("dd", {}, ...values));
    add("stands in", row.place);
    for (const [name, value] of Object.entries(row.row)) add(name, shownValue(value));
    for (const name of new Set([...Object.keys(row.before), ...Object.keys(row.after)])) {
      const before = name in row.before ? shownValue(row.before[name]) : "";
      const after = name in row.after ? shownValue(row.after[name]) : "";
      add(`answer: ${name}`, before === after ? after : differing(before, after));
    }
    const cell = element("td", { colSpan: 4 }, list);
    return element("tr", { className: "detail" }, cell);
  };

  // ---- the list

  const name = (row) => `${row.job}/${row.key}`;
  const line = (row, number) => {
    const button = element("button", { type: "button", textContent: row.key });
    button.setAttribute("aria-expanded", String(open === name(row)));
    button.addEventListener("click", () => { at = number; open = open === name(row) ? null : name(row); draw(); });
    return element("tr", {}, element("td", {}, button), element("td", { textContent: row.job }),
      element("td", {}, element("span", { className: `kind ${row.kind}`, textContent: row.kind })),
      element("td", { textContent: row.words }));
  };
  const draw = (focus = true) => {
    const from = page * PAGE, some = shown.slice(from, from + PAGE);
    body.replaceChildren(...some.flatMap((row, n) => open === name(row) ? [line(row, n), detail(row)] : [line(row, n)]));
    $("before").disabled = page === 0;
    $("after").disabled = from + PAGE >= shown.length;
    const range = some.length ? `${from + 1} to ${from + some.length} of ` : "";
    status.textContent = `${range}${shown.length.toLocaleString("en")} rows`;
    if (focus) body.querySelectorAll("tr:not(.detail) button")[at]?.focus();
    remember();
  };
  const filter = () => {
    const words = forms.q.value.toLowerCase();
    shown = rows.filter((row) => (!forms.job.value || row.job === forms.job.value)
      && (!forms.kind.value || row.kind === forms.kind.value)
      && (!forms.move.value || (row.moves ||= moves(row)).includes(forms.move.value))
      && (!words || (row.found ||= JSON.stringify([row.key, row.words, row.row, row.before, row.after]).toLowerCase())
        .includes(words)));
    page = 0; at = 0;
    draw(false);
  };
  const remember = () => {
    const kept = new URLSearchParams();
    for (const [key, control] of Object.entries(forms)) if (control.value) kept.set(key, control.value);
    if (open) kept.set("row", open);
    history.replaceState(null, "", kept.size ? `#${kept}` : " ");
  };
  const restore = () => {
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const [key, control] of Object.entries(forms)) {
      const value = kept.get(key) || "";
      // A grid may lead to a change that is too rare for the list.
      if (control.options && ![...control.options].some((each) => each.value === value)) control.append(option(value, value));
      control.value = value;
    }
    open = kept.get("row");
    filter();
    const place = shown.findIndex((row) => name(row) === open);
    if (open && place >= 0) {
      page = Math.floor(place / PAGE); at = place % PAGE;
      draw();
      body.querySelector("tr.detail")?.scrollIntoView({ block: "center" });
    }
  };

  fill(forms.job, "all jobs", rows.map((row) => row.job));
  fill(forms.kind, "all", rows.map((row) => row.kind));
  fill(forms.move, "any change", rows.flatMap((row) => (row.moves = moves(row))));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const control of Object.values(forms)) control.addEventListener("input", filter);
  $("before").addEventListener("click", () => { page--; at = 0; draw(); });
  $("after").addEventListener("click", () => { page++; at = 0; draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "Escape") { document.activeElement.blur(); open = null; draw(false); return; }
    if (typing) return;
    const last = Math.min(PAGE, shown.length - page * PAGE) - 1;
    const started = body.contains(document.activeElement);
    if (event.key === "/") { event.preventDefault(); forms.q.focus(); }
    else if (event.key === "j") { at = started ? Math.min(at + 1, last) : at; draw(); }
    else if (event.key === "k") { at = Math.max(at - 1, 0); draw(); }
    else if (event.key === "n" && !$("after").disabled) $("after").click();
    else if (event.key === "p" && !$("before").disabled) $("before").click();
  });
  addEventListener("hashchange", () => {
    if (/^#(job|kind|move|q|row)=/.test(location.hash)) { restore(); $("answers").scrollIntoView(); }
  });
  restore();
  document.body.dataset.ready = "yes";
})();
