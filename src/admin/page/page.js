"use strict";
// How Squire stands, as `v1/status` says it. Whatever comes from outside becomes the text of a node, and never markup.

// The words of the command line, with a sign and a tone, so that colour never stands alone. The order is that of the list.
const SECRET = {
  expired: ["expired", "✕", "bad"], denied: ["denied", "⊘", "bad"], gone: ["gone", "∅", "bad"], held: ["held", "◆", "warn"],
  awaited: ["awaited", "○", "warn"], stale: ["stale but valid", "▲", "warn"], renewing: ["renewing", "↻", "calm"], fresh: ["fresh", "●", "good"],
};
const SOURCE = {
  logged_in: ["logged in", "●", "good"], logging_in: ["logging in", "○", "calm"], login_failing: ["login fails", "✕", "bad"],
  unreachable: ["unreachable", "▲", "bad"], busy: ["busy", "…", "warn"], stopping: ["stopping", "◆", "none"],
};
const OUTCOME = {
  committed: ["committed", "●", "good"], not_passed: ["not passed", "⊘", "bad"], not_published: ["not published", "✕", "bad"],
  taken_back: ["taken back", "◆", "warn"], forced: ["forced", "▲", "bad"],
};
const STEP = {
  stage: "stage", rehearse: "rehearse", check: "check", publish: "publish", react: "react", try: "try", hand_over: "hand over", go_back: "go back",
};
const ACTION = { fetch: "fetch", renew: "renew", look_up: "look up", log_in: "log in" };
const ASK_EVERY_MS = 1000, POLL_EVERY_MS = 5000, LOOK_EVERY_MS = 15000, PATIENCE_MS = 8000, EVENTS_KEPT = 30;

let status = null, saidAt = 0, said = "", lost = null, isFollowing = false;
let ticking = [];

// ---- Elements

const by = (id) => document.getElementById(id);

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A text that changes while time goes by.
function live(compute, tag = "span") {
  const element = make(tag);
  ticking.push(() => say(element, compute()));
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---- Time

// By Squire's clock: that of this machine may be another.
const now = () => Date.parse(status.at) + performance.now() - saidAt;

const UNITS = [[86400e3, "d"], [3600e3, "h"], [60e3, "min"], [1e3, "s"]];

// Two units while the larger one is small, then one: it says enough, fits a column, and stands still.
function short(ms) {
  const index = UNITS.findIndex(([size]) => ms >= size);
  if (index < 0) return `${Math.max(0, Math.floor(ms))} ms`;
  const [size, unit] = UNITS[index], [smaller, rest] = UNITS[index + 1] ?? [size, ""];
  const count = Math.floor(ms / size), more = Math.floor((ms % size) / smaller);
  return count < 10 && more > 0 ? `${count} ${unit} ${more} ${rest}` : `${count} ${unit}`;
}

// How long something took: of a few seconds the tenths count.
const exact = (ms) => (ms < 1 ? "<1 ms" : ms >= 1000 && ms < 10e3 ? `${(ms / 1000).toFixed(1)} s` : short(ms));

// What goes by is told in whole seconds, so that it does not flicker.
const age = (ms) => (ms < 1000 ? "0 s" : short(ms));

function relative(at) {
  const left = at - now();
  if (left >= 1000) return `in ${short(left)}`;
  return left > -1000 ? "now" : `${short(-left)} ago`;
}

function clockTime(at) {
  const time = new Date(at), isNear = Math.abs(at - now()) < 20 * 3600e3;
  return isNear ? time.toLocaleTimeString([], { hour12: false }) : time.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}

function moment(text, before = "", words = relative) {
  const at = Date.parse(text);
  const cell = make("span", { title: new Date(at).toString() }, live(() => words(at)));
  return [cell, make("small", null, before + clockTime(at))];
}

// What is due waits for its turn, or its question is out.
function due(at) {
  const late = now() - at, unit = UNITS.find(([size]) => late >= size);
  return unit ? `due for ${Math.floor(late / unit[0])} ${unit[1]}` : relative(at);
}

const planned = (next) => (next ? moment(next.at, `${ACTION[next.action] ?? next.action}, `, due) : ["–"]);

// ---- The axis that all leases share: logarithmic, relative to now

const NOW = 34, EDGE = 97, KNEE_MS = 10e3;
const TICKS = [[60e3, "1 min"], [3600e3, "1 h"], [86400e3, "1 d"], [30 * 86400e3, "30 d"], [365 * 86400e3, "1 y"], [3650 * 86400e3, "10 y"]];
// Where there is room between those.
const MORE_TICKS = [[10e3, "10 s"], [600e3, "10 min"], [6 * 3600e3, "6 h"], [7 * 86400e3, "7 d"]];

function axisOf(status) {
  const at = Date.parse(status.at), times = [];
  for (const secret of status.secrets) times.push(secret.changed, secret.ends, secret.next?.at);
  for (const source of status.sources) times.push(source.token?.ends, source.token?.next?.at);
  const offsets = times.filter(Boolean).map((time) => Date.parse(time) - at);
  const log = (ms) => Math.log1p(ms / KNEE_MS);
  const past = log(Math.max(120e3, ...offsets.map((ms) => -ms)) * 1.2), future = log(Math.max(120e3, ...offsets) * 1.2);
  return (ms) => (ms < 0 ? NOW - (NOW - 3) * Math.min(1, log(-ms) / past) : NOW + (EDGE - NOW) * Math.min(1, log(ms) / future));
}

function ticksOf(place) {
  const found = [], hasRoom = (at) => at > 5 && at < 96 && [NOW, ...found.map((tick) => tick.at)].every((other) => Math.abs(at - other) > 10.5);
  for (const [ms, word] of [...TICKS, ...MORE_TICKS]) {
    for (const [at, label] of [[place(-ms), `−${word}`], [place(ms), word]]) if (hasRoom(at)) found.push({ at, word: label });
  }
  return found;
}

function axis(place) {
  const line = make("span", { class: "axis", "aria-hidden": "true" });
  const put = (at, word, kind) => { const mark = make("span", { class: kind }, word); mark.style.left = `${at}%`; line.append(mark); };
  put(NOW, "now", "now");
  for (const { at, word } of ticksOf(place)) put(at, word, "");
  return line;
}

// From `from` by way of `next` to `end`; each may be unknown.
function strip(place, from, next, end, hasValue) {
  const line = make("span", { class: "strip", "aria-hidden": "true" }, make("i", { class: "track" }));
  for (const { at } of ticksOf(place)) { const mark = make("i", { class: "tick" }); mark.style.left = `${at}%`; line.append(mark); }
  const [past, ahead, over, mark] = ["past", end ? "ahead" : "open", "over", "next"].map((kind) => make("i", { class: kind }));
  const current = make("i", { class: "now" });
  current.style.left = `${NOW}%`;
  line.append(past, ahead, over, current, mark);
  const span = (element, begin, finish) => {
    element.hidden = !(finish > begin);
    element.style.left = `${begin}%`;
    element.style.width = `${Math.max(0, finish - begin)}%`;
    element.style.display = element.hidden ? "none" : "";
  };
  ticking.push(() => {
    const at = now(), where = (time) => place(Date.parse(time) - at);
    const until = end ? where(end) : EDGE + 3;
    span(past, hasValue && from ? where(from) : NOW, Math.min(NOW, until));
    span(ahead, NOW, hasValue ? until : NOW);
    span(over, until, NOW);
    mark.style.display = next ? "" : "none";
    if (next) mark.style.left = `${where(next.at)}%`;
  });
  return line;
}

// ---- Rows

const cell = (attributes, ...children) => make("td", attributes, ...children);
const word = ([text, sign, tone]) => make("span", { class: "state", "data-tone": tone }, make("i", { "aria-hidden": "true" }, sign), text);
const known = (table, name) => table[name] ?? [name, "?", "none"];

function head(id, ...cells) {
  by(id).replaceChildren(make("tr", null, ...cells.map((content) => {
    const isAxis = content instanceof Node;
    return make("th", isAxis ? { class: "axis-of", "aria-label": "timeline" } : { scope: "col" }, content);
  })));
}

function rows(id, width, items, none) {
  by(id).replaceChildren(...(items.length ? items.flat().filter(Boolean) : [make("tr", null, cell({ class: "nothing wide", colspan: width }, none))]));
}

const trouble = (text, tone, width) => text && make("tr", { class: "trouble", "data-tone": tone }, cell({ colspan: width }, make("p", null, text)));

function valueOf(secret) {
  if (secret.live === null) return secret.revision ? `#${secret.revision}, not live` : "–";
  return secret.live === secret.revision ? `#${secret.live}` : `#${secret.live} of ${secret.revision}`;
}

function secretRows(secret, place) {
  const state = known(SECRET, secret.state), hasValue = secret.changed !== null && secret.revision > 0;
  const never = hasValue ? ["never"] : ["–"];
  return [
    make("tr", { "data-tone": state[2] },
      cell({ class: "now-state" }, word(state)),
      cell({ class: "name" }, make("b", null, secret.name), make("span", { class: "from" }, ` from ${secret.source}`), make("span", { class: "path" }, secret.path)),
      cell({ class: "value" }, valueOf(secret)),
      cell({ "data-label": "changed" }, ...(secret.changed ? moment(secret.changed) : ["–"])),
      cell({ "data-label": "ends" }, ...(secret.ends ? moment(secret.ends) : never)),
      cell({ "data-label": "next" }, ...planned(secret.next)),
      cell({ class: "wide" }, strip(place, secret.changed, secret.next, secret.ends, hasValue))),
    trouble(secret.trouble, state[2], 7),
  ];
}

// As the command says it: where the next login has its credential from, and what is left of it.
function credentialOf(held) {
  if (!held) return null;
  const place = held.from === "file" ? held.written_in : `in ${held.from}`;
  const uses = held.uses_left === null ? "" : `, ${held.uses_left} uses left`;
  const ends = held.ends && live(() => `, ends ${relative(Date.parse(held.ends))}`);
  return make("small", null, `credential: ${place}${uses}`, ends || null);
}

function sourceRows(source, place) {
  const state = known(SOURCE, source.state), token = source.token;
  const failures = source.login_failures ? `${source.login_failures} logins failed in a row` : null;
  const until = source.not_before ? [make("small", null, "asked again ", live(() => relative(Date.parse(source.not_before))))] : [];
  return [
    make("tr", { "data-tone": state[2] },
      cell({ class: "now-state" }, word(state), ...until),
      cell({ class: "name" }, make("b", null, source.name), make("span", { class: "from" }, ` ${source.kind}`), credentialOf(source.credential),
        failures && make("small", null, failures)),
      cell({ "data-label": "leases" }, String(source.leases)),
      cell({ "data-label": "token ends" }, ...(token ? (token.ends ? moment(token.ends) : ["never"]) : ["–"])),
      cell({ "data-label": "next" }, ...planned(token?.next)),
      cell({ class: "wide" }, strip(place, null, token?.next, token?.ends, token !== null))),
    trouble(source.trouble, "bad", 6),
  ];
}

function stepsOf(rollout, tone) {
  const bar = make("span", { class: "steps", "aria-hidden": "true" }), words = make("span", { class: "took" });
  const total = Math.max(1e-3, rollout.steps.reduce((sum, step) => sum + (step.took_s ?? 0), 0));
  for (const step of rollout.steps) {
    const name = STEP[step.step] ?? step.step, isOver = step.took_s !== null;
    const piece = make("i", { class: isOver ? "" : "going" });
    piece.style.flexGrow = String(isOver ? Math.max(step.took_s / total, 0.01) : 0.5);
    bar.append(piece);
    const time = isOver ? exact(step.took_s * 1000) : live(() => `for ${age(now() - Date.parse(step.began))}`);
    words.append(make("span", null, make("b", null, name), " ", time));
  }
  bar.dataset.tone = tone;
  return [bar, words];
}

function rolloutRows(rollout) {
  const state = rollout.outcome ? known(OUTCOME, rollout.outcome) : ["going on", "↻", "calm"];
  const took = rollout.ended ? exact(Date.parse(rollout.ended) - Date.parse(rollout.began)) : live(() => age(now() - Date.parse(rollout.began)));
  return [
    make("tr", { "data-tone": state[2] },
      cell({ class: "now-state" }, word(state)),
      cell({ class: "name" }, make("b", null, String(rollout.generation))),
      cell({ "data-label": "began" }, ...moment(rollout.began)),
      cell({ "data-label": "took" }, took),
      cell({ "data-label": "new values" }, rollout.secrets.join(", ") || "–"),
      cell({ class: "wide" }, ...stepsOf(rollout, state[2]), make("small", { class: "trace" }, `trace ${rollout.trace}`))),
    trouble(rollout.reason, state[2], 6),
  ];
}

// ---- The whole

function reasonOf(reason) {
  if (reason.reason === "no_release") {
    const missing = reason.missing?.length ? [`there is no value of ${reason.missing.join(", ")}`] : [];
    return ["No release is live yet", ...missing, ...(reason.why ?? [])].join("; ");
  }
  if (reason.reason === "no_process") return reason.last_ending ? `The process does not run: ${reason.last_ending}` : "The process does not run yet";
  if (reason.reason === "expired") return `The value of ${reason.secret} is past its end`;
  return String(reason.reason);
}

// A reload that was refused, or that waits for its secrets.
function formerConfiguration({ is_former: isFormer, problems }) {
  if (!isFormer) return [];
  const said = "The configuration before holds: what was asked for last is not reloaded";
  return [make("li", { "data-tone": "warn" }, said, ...problems.map((problem) => make("small", null, problem)))];
}

// New values that do not fit the templates.
function withoutRelease(problems) {
  if (!problems.length) return [];
  const said = "The newest values make no release: the one before stays";
  return [make("li", { "data-tone": "warn" }, said, ...problems.map((problem) => make("small", null, problem)))];
}

function fact(name, value, ...rest) {
  return make("div", null, make("dt", null, name), make("dd", null, value, make("small", null, ...rest)));
}

function processFact(process) {
  if (!process) return fact("Process", "none", "Squire runs none");
  const rest = `${process.starts} started so far${process.last_ending ? `; the last one ended: ${process.last_ending}` : ""}`;
  if (process.since) return fact("Process", live(() => `runs for ${age(now() - Date.parse(process.since))}`), `pid ${process.pids.join(" and ")}; ${rest}`);
  const again = process.again_at ? live(() => `does not run, starts ${relative(Date.parse(process.again_at))}`) : "does not run";
  return fact("Process", again, rest);
}

function facts() {
  const { wanted, live: current, is_pending: isPending } = status.generation;
  const differs = wanted !== null && wanted !== current;
  const next = isPending ? "a newer one is on its way" : differs ? `${wanted} is wanted, and is not live` : "nothing is on its way";
  const hold = status.on_hold_since;
  by("facts").replaceChildren(
    fact("Generation", current === null ? "none is live" : `${current} is live`, next),
    fact("Rollouts", hold ? live(() => `on hold for ${age(now() - Date.parse(hold))}`) : "not on hold", hold ? "by order of an operator" : "new values go out"),
    processFact(status.process),
    fact("Squire", live(() => `runs for ${age(now() - Date.parse(status.since))}`), `${status.version}, pid ${status.pid}`));
}

// Renewing is as good as fresh, so that no row jumps while it is asked for.
const rank = (secret) => Math.min(Object.keys(SECRET).indexOf(secret.state), Object.keys(SECRET).indexOf("renewing"));

function counts() {
  const found = {};
  for (const { state } of status.secrets) found[state] = (found[state] ?? 0) + 1;
  const parts = Object.keys(SECRET).filter((state) => found[state]).flatMap((state, index) =>
    [index ? " · " : "", make("span", { "data-tone": SECRET[state][2] }, make("b", null, `${found[state]} ${SECRET[state][0]}`))]);
  by("count").replaceChildren(...parts);
}

function build() {
  ticking = [];
  const place = axisOf(status);
  by("main").hidden = false;
  const reasons = status.ready.reasons.map((reason) => make("li", { "data-tone": "bad" }, reasonOf(reason)));
  by("reasons").replaceChildren(...reasons, ...formerConfiguration(status.configuration), ...withoutRelease(status.unrendered));
  facts();
  counts();
  head("secrets-head", "State", "Secret", "Value", "Changed", "Ends", "Next", axis(place));
  const secrets = [...status.secrets].sort((one, other) => rank(one) - rank(other));
  rows("secrets", 7, secrets.map((secret) => secretRows(secret, place)), "No source has said yet how its secrets stand.");
  head("sources-head", "State", "Source", "Leases", "Token ends", "Next", axis(place));
  rows("sources", 6, status.sources.map((source) => sourceRows(source, place)), "There is no source.");
  head("rollouts-head", "Outcome", "Generation", "Began", "Took", "New values", "Steps");
  rows("rollouts", 6, status.rollouts.map(rolloutRows), "Nothing was rolled out yet.");
}

// What changes while time goes by.
function tick() {
  const link = lost ? "lost" : isFollowing ? "live" : "polling";
  by("link").dataset.link = link;
  const ago = status ? age(performance.now() - saidAt) : "";
  say(by("link-words"), { live: "live", polling: "asked every 5 s", lost: "no connection" }[link]);
  const isReady = status?.ready.is_ready;
  const health = lost ? "lost" : !status ? "asking" : isReady ? "ready" : "unready";
  document.body.dataset.health = health;
  const title = { lost: "No answer", asking: "Asking…", ready: "Ready", unready: "Not ready" }[health];
  say(by("word"), title);
  document.title = `${title} · Squire`;
  icon(health);
  if (lost) {
    const last = status ? `Its last answer came ${ago} ago; what stands below is what it said then.` : "It has not answered yet.";
    say(by("said"), `Squire does not answer: ${lost}. ${last}`);
  } else if (status) {
    say(by("said"), isReady ? "What Squire serves can be relied on." : "What Squire serves cannot be relied on.");
  }
  // A squire that is silent says nothing new: its times stand still, rather than pretend.
  if (status && !lost) for (const change of ticking) change();
}

function icon(health) {
  const colour = { ready: "%2316703c", unready: "%23d0352b", lost: "%23d0352b", asking: "%23808080" }[health];
  const shape = health === "ready" ? "<circle cx='8' cy='8' r='7'/>" : "<path d='M8 0l8 8-8 8-8-8z'/>";
  const address = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='${colour}'>${shape}</svg>`;
  const link = document.querySelector("link[rel=icon]");
  if (link.href !== address) link.href = address;
}

// ---- Asking

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)); });
let isBusy = false, isWanted = false, asked = -Infinity;

// Asks soon, and at most once a second, however much happens.
async function ask() {
  isWanted = true;
  if (isBusy) return;
  isBusy = true;
  while (isWanted) {
    await sleep(asked + ASK_EVERY_MS - performance.now());
    isWanted = false;
    asked = performance.now();
    await askNow();
  }
  isBusy = false;
}

async function askNow() {
  try {
    const response = await fetch("v1/status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!response.ok) throw new Error((await response.text()).trim().slice(0, 200) || `it answers with ${response.status}`);
    const answer = await response.json();
    const isFirst = status === null || lost !== null;
    [status, saidAt, lost] = [answer, performance.now(), null];
    // The same again is not built again, so that what somebody selects stays selected. Times may differ by a millisecond, since Squire
    // counts by another clock than it tells.
    const { at, ...rest } = answer;
    const text = JSON.stringify(rest).replaceAll(/\.\d{3}Z"/g, 'Z"');
    if (isFirst || text !== said) { said = text; build(); }
  } catch (error) {
    lost = error.name === "TimeoutError" ? "it takes too long" : error instanceof TypeError ? "nobody takes the connection" : error.message;
  }
  tick();
}

let following = null;

async function follow() {
  for (;;) {
    following = new AbortController();
    try {
      if (!document.hidden) {
        const response = await fetch("v1/events", { cache: "no-store", signal: following.signal });
        if (response.ok) await listen(response.body.pipeThrough(new TextDecoderStream()).getReader());
      }
    } catch { /* It ended, or there is none: it is asked for again. */ }
    if (isFollowing) { isFollowing = false; ask(); }
    tick();
    await sleep(POLL_EVERY_MS);
  }
}

async function listen(reader) {
  isFollowing = true;
  ask();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    const events = lines.filter((line) => line.startsWith("data: ")).map((line) => JSON.parse(line.slice(6)));
    for (const event of events) happened(event);
    if (events.length) ask();
  }
}

function happened(event) {
  if (!event.what || event.what === "source_asked") return;
  const about = [event.secret ?? event.source, event.generation && `generation ${event.generation}`].filter(Boolean).join(", ");
  const time = new Date(event.at).toLocaleTimeString([], { hour12: false });
  by("events").prepend(make("li", null, make("time", { datetime: event.at }, time), make("b", null, event.what.replaceAll("_", " ")), make("span", null, about)));
  while (by("events").children.length > EVENTS_KEPT) by("events").lastChild.remove();
  by("happened").hidden = false;
}

// A page that nobody looks at asks nothing, and takes no follower's place.
document.addEventListener("visibilitychange", () => (document.hidden ? following?.abort() : ask()));
setInterval(tick, 1000);
// What no event tells (an end that passes, a connection that hangs) is looked for as well.
setInterval(() => {
  const isDue = !isFollowing || performance.now() - asked >= LOOK_EVERY_MS;
  if (isDue && !document.hidden) ask();
}, POLL_EVERY_MS);
ask();
follow();
