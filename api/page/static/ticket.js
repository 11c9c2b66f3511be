// The order ticket in place: the server's review is fetched while one types, and confirmed without leaving the page.
import { decided, isAlike, morph, page, say, update } from "./dom.js?v=VERSION";

const QUIET_MS = 250;
const REQUOTE_MS = 1000;
let timer = 0, quotedAt = 0, asked = 0, busy = false;

/** @returns {HTMLFormElement|null} */
function form() { return /** @type {HTMLFormElement|null} */ (document.getElementById("order")); }

/** The fields of the form as text, with a step. @param {HTMLFormElement} order @param {string} step */
function fields(order, step) {
  const data = new URLSearchParams();
  for (const [name, value] of new FormData(order)) data.set(name, String(value));
  data.set("step", step);
  return data;
}

/** Ask for a review some time after the last key. */
function ask() {
  clearTimeout(timer);
  const order = form();
  if (!order || busy) return;
  asked++; // an answer about what stood there before is not shown
  document.getElementById("review")?.classList.add("waiting");
  const button = document.getElementById("ask"), amount = /** @type {HTMLInputElement|null} */ (document.getElementById("amount"));
  if (button) button.hidden = Boolean(amount?.value.trim());
  document.querySelector("#review button[value=confirm]")?.setAttribute("disabled", "");
  timer = setTimeout(review, QUIET_MS);
}

async function review() {
  const order = form();
  if (!order || busy) return;
  const typed = /** @type {HTMLInputElement} */ (order.elements.namedItem("amount")).value.trim();
  if (!typed) return clear();
  const data = fields(order, "review");
  data.delete("sure");
  const mine = ++asked;
  quotedAt = Infinity;
  const fresh = await page(order.action, { body: data.toString(), key: "ticket" });
  if (busy || mine !== asked) return;
  put(fresh);
}

/** Put the review of a page into this one; the fields that are typed in stay as they are. A page that has none says why.
 * @param {Document|null} fresh */
function put(fresh) {
  const slot = document.getElementById("review"), found = fresh?.getElementById("review");
  quotedAt = Date.now();
  if (!found && replaceBox(fresh)) return; // trading has ended: the box says so
  if (!slot) return;
  if (!fresh || !found) {
    slot.classList.remove("waiting");
    for (const each of document.querySelectorAll("#order button[name=step]")) each.removeAttribute("disabled");
    const why = fresh?.getElementById("main")?.textContent || document.getElementById("ticket-box")?.dataset.silent || "";
    return say(why.replace(/\s+/g, " ").trim().slice(0, 200));
  }
  const problem = fresh.getElementById("problem");
  const next = document.importNode(found, true);
  if (problem) next.prepend(document.importNode(problem, true));
  if (isAlike(slot, next)) morph(slot, next); // the button stays under the finger
  else slot.replaceChildren(...next.childNodes);
  slot.classList.remove("waiting");
  const amount = document.getElementById("amount"), isWrong = fresh.getElementById("amount")?.hasAttribute("aria-invalid");
  if (isWrong) amount?.setAttribute("aria-invalid", "true");
  else amount?.removeAttribute("aria-invalid");
  if (problem) amount?.setAttribute("aria-describedby", "problem");
}

/** Put the box of the ticket of a page into this one, if it has one. @param {Document|null} fresh */
function replaceBox(fresh) {
  const next = fresh?.getElementById("ticket-box");
  if (next) document.getElementById("ticket-box")?.replaceWith(document.importNode(next, true));
  return Boolean(next);
}

/** The id that makes the order of a page one, however often it is sent. @param {Document} of */
function orderId(of) { return of.querySelector("#review [name=client_order_id]")?.getAttribute("value"); }

function clear() {
  const slot = document.getElementById("review");
  slot?.replaceChildren();
  slot?.classList.remove("waiting");
}

/** Send the step of a button. @param {HTMLFormElement} order @param {string} step */
async function send(order, step) {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  for (const each of order.querySelectorAll("button[name=step]")) each.setAttribute("disabled", "");
  const box = document.getElementById("ticket-box"), id = orderId(document);
  if (step === "confirm") box?.setAttribute("data-sent", "");
  const fresh = await page(order.action, { body: fields(order, step).toString(), key: "ticket" });
  busy = false;
  const placed = fresh?.getElementById("placed");
  if (!fresh || !placed) {
    put(fresh);
    if (fresh?.getElementById("ticket-box") && orderId(fresh) !== id) decided(box); // undecided, it keeps its id
    return;
  }
  replaceBox(fresh);
  decided(null);
  update(fresh);
  say((placed.textContent || "").replace(/\s+/g, " ").trim(), true);
  document.getElementById("amount")?.focus();
}

document.addEventListener("input", (event) => {
  if (event.target instanceof Element && event.target.closest("#order")) ask();
});
document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const all = target?.closest("[data-all]"), choose = target?.closest("[data-choose]");
  const order = form();
  if (all && order) {
    /** @type {HTMLInputElement} */ (order.elements.namedItem("amount")).value = all.getAttribute("data-all") || "";
    choice(order, all.getAttribute("data-of") || "");
    ask();
  }
  if (choose && order) {
    event.preventDefault();
    choice(order, choose.getAttribute("data-choose") || "");
    location.hash = "ticket"; // on a phone the style makes it a sheet
    document.getElementById("amount")?.focus();
    ask();
  }
});

/** Choose an outcome. @param {HTMLFormElement} order @param {string} outcome */
function choice(order, outcome) {
  const field = order.elements.namedItem("outcome");
  if (field instanceof RadioNodeList || field instanceof HTMLSelectElement) field.value = outcome;
}

document.addEventListener("submit", (event) => {
  const order = form();
  if (event.target !== order || !order) return;
  event.preventDefault();
  const button = event instanceof SubmitEvent ? event.submitter : null;
  const step = button?.getAttribute("value") || "review";
  send(order, step);
});

document.addEventListener("tidings:odds", (event) => {
  const box = document.querySelector("[data-ticket]");
  const isOurs = box?.getAttribute("data-ticket") === /** @type {CustomEvent} */ (event).detail.market_id;
  // The old quote stays valid meanwhile: the order's bound refuses what has moved too far.
  if (isOurs && !box?.hasAttribute("data-sent") && document.querySelector("#review button") && Date.now() - quotedAt > REQUOTE_MS) review();
});

// Whoever was quicker than this module has typed already.
if (/** @type {HTMLInputElement|null} */ (document.getElementById("amount"))?.value) ask();
