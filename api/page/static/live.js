// Keeps the page up to date: one stream for all tabs, applied at most once a frame; tables are fetched again when it moved.
import { clocks, localTimes, page, percent, roll, say, update } from "./dom.js?v=VERSION";

const body = document.body;
const isPast = "past" in body.dataset;
const key = body.dataset.key || "nobody";
const CHANNEL = `tidings-${key}`;
const QUIET_MS = 30000;
const HIDDEN_MS = 60000;
const FOLD_MS = 500;
const LOST_MS = 2500; // a stream that ends in order is back by then

/** @typedef {{kind: string, position: number, data: any}} StreamMessage */

/** The newest position that this page shows or has been told of. */
let position = Number(body.dataset.position);
/** @type {Map<string, StreamMessage>} */
const due = new Map();
/** @type {Map<string, StreamMessage>} what the tab with the stream has heard, by market: for tabs that come later */
const newest = new Map();
let heardFrom = Infinity;
let lastFrame = Date.now();
let lost = 0;
let foldTo = 0, foldedAt = 0, folding = false;
/** @type {EventSource|null} */
let source = null;
/** @type {(() => void)|null} ends the hold of the tab that holds the stream */
let letGo = null;
let isWaiting = false;
const channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;

/** @param {"on"|"lost"|"wait"} state */
function show(state) {
  const live = document.getElementById("live");
  if (!live || live.dataset.state === state) return;
  live.dataset.state = state;
  live.classList.toggle("on", state === "on");
  live.classList.toggle("lost", state === "lost");
  body.classList.toggle("stale", state === "lost");
  const since = clocks.format(new Date());
  live.textContent = state === "on" ? body.dataset.wordsLive || "" : state === "lost"
    ? (body.dataset.wordsLost || "").replace("{time}", since) : body.dataset.wordsConnecting || "";
}

/** Take a message of the stream in, from this tab's stream or from another tab. @param {StreamMessage} message */
function take(message) {
  if (message.kind === "lost") return show("lost");
  clearTimeout(lost);
  lost = 0;
  lastFrame = Date.now();
  show("on");
  if (message.position <= position && message.kind !== "beat") return;
  if (message.kind === "beat") return;
  const market = message.data.market_id || "";
  if (message.kind === "prices") {
    const before = due.get(market);
    if (!before || before.position <= message.position) due.set(market, message);
    if (due.size === 1) soon();
  }
  if (message.kind === "orders" && String(message.data.type).startsWith("TradeSettled")) say(body.dataset.wordsFilled || "");
  if (concerns(market, message.kind)) foldTo = Math.max(foldTo, message.position);
  document.dispatchEvent(new CustomEvent(`tidings:${message.kind}`, { detail: message.data }));
}

/** Apply what is due with the next frame; a tab that is not drawn has no frames. */
function soon() {
  const timer = setTimeout(apply, 250);
  requestAnimationFrame(() => { clearTimeout(timer); apply(); });
}

/** Whether a table of this page may change by an event of a market. @param {string} market @param {string} kind */
function concerns(market, kind) {
  const own = body.dataset.market || document.querySelector(".columns.market")?.getAttribute("data-market");
  return own ? kind === "orders" || own === market : document.querySelector("[data-fold]") !== null;
}

/** Write the newest odds of each market: texts and attributes only. */
function apply() {
  for (const [market, message] of due) {
    for (const [outcome, price] of Object.entries(message.data.prices)) {
      const name = `${market}/${outcome}`;
      for (const each of shown(name)) {
        const text = percent(Number(price));
        if (each.textContent === text) continue;
        roll(each, text, Number(price) > Number(each.getAttribute("value")));
        each.setAttribute("value", String(price));
      }
      for (const bar of bars(name)) bar.setAttribute("width", `${Number(price) * 100}%`);
    }
    const lead = document.getElementById("lead");
    if (lead?.dataset.lead?.startsWith(`${market}/`)) document.title = `${shown(lead.dataset.lead)[0]?.textContent} ${lead.dataset.title}`;
    document.dispatchEvent(new CustomEvent("tidings:odds", { detail: message.data }));
    body.dataset.shown = String(message.position);
  }
  due.clear();
}

/** @param {string} name */
function shown(name) { return [...document.querySelectorAll(`[data-odds="${CSS.escape(name)}"]`)]; }
/** @param {string} name */
function bars(name) { return document.querySelectorAll(`[data-bar="${CSS.escape(name)}"]`); }

/** Fetch the tables again, at most twice a second, never an older state than was heard of. */
async function fold() {
  if (folding || foldTo === 0 || Date.now() - foldedAt < FOLD_MS || document.hidden) return;
  const wanted = foldTo;
  folding = true;
  foldedAt = Date.now();
  const url = new URL(location.href);
  url.hash = "";
  url.searchParams.delete("placed");
  url.searchParams.set("min_position", String(wanted));
  const fresh = await page(url.href, { key: "fold" });
  folding = false;
  if (fresh && fresh.body.dataset.position) {
    update(fresh);
    if (foldTo === wanted) foldTo = 0;
  }
}

/** Open the stream behind a position. @param {number} after */
function open(after) {
  source?.close();
  const channels = ["trades", "prices", "lifecycle", ...("orders" in body.dataset ? ["orders"] : [])].join(",");
  source = new EventSource(`/v1/stream?channels=${channels}&conflate=true&after=${after}`);
  heardFrom = Math.min(heardFrom, after);
  lastFrame = Date.now();
  for (const kind of ["hello", "beat", "trades", "prices", "lifecycle", "orders"]) {
    source.addEventListener(kind, (event) => {
      const at = Number(event.lastEventId) || 0;
      const data = JSON.parse(event.data);
      const message = { kind: kind === "hello" ? "beat" : kind, position: data.position || at, data };
      if (kind === "prices" || kind === "lifecycle") newest.set(`${kind} ${data.market_id}`, message);
      channel?.postMessage(message);
      take(message);
    });
  }
  source.addEventListener("reset", () => location.reload());
  source.addEventListener("error", () => {
    lost ||= window.setTimeout(() => { take({ kind: "lost", position: 0, data: {} }); channel?.postMessage({ kind: "lost" }); }, LOST_MS);
    if (source && source.readyState === EventSource.CLOSED) reopen();
  });
}

/** Open the stream again a little later, behind what was heard. */
function reopen() {
  source?.close();
  source = null;
  show("lost");
  setTimeout(() => { if (letGo && !source) open(heardTo()); }, 500 + Math.random() * 1500);
}

function heardTo() { return Math.max(position, ...[...newest.values()].map((each) => each.position)); }

/** Hold the stream for all tabs as soon as this one is chosen. Without locks, as behind plain http, each tab has its own. */
function hold() {
  if (letGo || isWaiting) return;
  isWaiting = true;
  if (navigator.locks) navigator.locks.request(CHANNEL, () => new Promise(begin));
  else begin(() => {});
}

/** @param {(value?: any) => void} release */
function begin(release) {
  isWaiting = false;
  letGo = () => { source?.close(); source = letGo = null; release(); };
  open(heardTo());
}

channel?.addEventListener("message", (event) => {
  const message = event.data;
  if (message.kind !== "join") return take(message);
  if (!source) return;
  if (message.position < heardFrom) return open(message.position);
  for (const each of newest.values()) if (each.position > message.position) channel.postMessage(each);
  channel.postMessage({ kind: "beat", position: message.position, data: {} });
});

/** Say the state of a market's page when it has become another one: screen readers hear no ticks, but this. */
let state = "";
function tellState() {
  const badge = document.querySelector("#state .badge");
  if (!badge || !badge.className || badge.className === state) return;
  if (state) say(badge.textContent || "");
  state = badge.className;
}
document.addEventListener("tidings:updated", tellState);

tellState();
localTimes(document);
if (!isPast && document.getElementById("live")) {
  show("wait");
  hold();
  channel?.postMessage({ kind: "join", position });
  setInterval(fold, 100);
  let hiddenAt = Date.now();
  setInterval(() => {
    if (document.hidden && Date.now() - hiddenAt >= HIDDEN_MS) return letGo?.();
    if (Date.now() - lastFrame < QUIET_MS) return;
    show("lost");
    if (letGo) { lastFrame = Date.now(); reopen(); }
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    hiddenAt = Date.now();
    if (document.hidden || letGo) return;
    lastFrame = Date.now();
    hold();
    channel?.postMessage({ kind: "join", position });
  });
}
