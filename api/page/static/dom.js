// Small helpers of all modules: numbers and times as the server writes them, and bringing a page up to date in place.

/** Odds with one decimal, as the server's filter `percent` writes them. @param {number} price @returns {string} */
export function percent(price) {
  const micros = Math.round(price * 1e6);
  if (micros > 0 && micros < 1000) return "<0.1%";
  if (micros > 999000 && micros < 1000000) return ">99.9%";
  const tenths = Math.floor((micros + 500) / 1000);
  return `${Math.floor(tenths / 10)}.${tenths % 10}%`;
}

/** Say something to people, and to screen readers: only to these where the page shows it anyway.
 * @param {string} text @param {boolean} [isShown] */
export function say(text, isShown = false) {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
  said?.classList.toggle("hidden", isShown);
  setTimeout(() => { if (said && said.textContent === text) said.textContent = ""; }, 6000);
}

const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
/** @type {WeakMap<Element, number>} */
const rolled = new WeakMap();

/** Let odds roll to what they are now: from below when they rose. The number itself is true at once.
 * @param {Element} each @param {string} text @param {boolean} rises */
export function roll(each, text, rises) {
  each.textContent = text;
  const now = performance.now();
  if (isCalm || now - (rolled.get(each) || 0) < 250) return;
  rolled.set(each, now);
  each.animate([{ transform: `translateY(${rises ? "" : "-"}.4em)`, opacity: 0.2 }, {}], { duration: 200, easing: "ease-out" });
}

/** @type {Intl.DateTimeFormatOptions} */
const ZONED = { hour: "numeric", minute: "2-digit", timeZoneName: "short" };
/** Times of the day in the reader's zone, which they name. */
export const clocks = new Intl.DateTimeFormat(document.documentElement.lang, ZONED);
/** The same with their day. */
export const moments = new Intl.DateTimeFormat(document.documentElement.lang, { year: "numeric", month: "short", day: "numeric", ...ZONED });
const plainClocks = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short" });

/** Show the times within an element in the reader's zone; UTC stays in the title. @param {ParentNode} root */
export function localTimes(root) {
  for (const each of root.querySelectorAll("time[data-moment]")) {
    const time = /** @type {HTMLTimeElement} */ (each);
    if (!time.title) time.title = time.textContent || "";
    const text = moments.format(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const each of root.querySelectorAll("[data-clock]")) {
    const form = each.hasAttribute("data-zone") ? clocks : plainClocks;
    each.textContent = form.format(new Date(Number(each.getAttribute("data-clock")) / 1000));
  }
}

/**
 * Fetch a page of this server. The browser parses it and runs no script of it. A newer request with the same key ends an older one.
 * @param {string} url @param {{body?: string, key?: string}} [more] @returns {Promise<Document|null>} null where it was ended or failed
 */
export function page(url, more = {}) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    if (more.key) {
      running.get(more.key)?.abort();
      running.set(more.key, request);
    }
    request.open(more.body === undefined ? "GET" : "POST", url);
    request.responseType = "document";
    request.timeout = 20000;
    request.setRequestHeader("Accept", "text/html");
    if (more.body !== undefined) request.setRequestHeader("Content-Type", "application/x-www-form-urlencoded");
    request.onloadend = () => resolve(request.status ? request.responseXML : null);
    request.send(more.body);
  });
}
/** @type {Map<string, XMLHttpRequest>} */
const running = new Map();

/** Bring an element up to date with another one: where the shape is the same, only texts and attributes change.
 * @param {Element} old @param {Element} fresh */
export function morph(old, fresh) {
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  const mine = [...old.childNodes], theirs = [...fresh.childNodes];
  if (!isAlike(old, fresh)) {
    if (old.contains(document.activeElement) && old !== document.activeElement) return;
    old.replaceChildren(...theirs.map((node) => document.importNode(node, true)));
    if (old.tagName === "TBODY") old.firstElementChild?.classList.add("changed");
    return;
  }
  mine.forEach((node, i) => {
    if (node.nodeType === Node.ELEMENT_NODE) morph(/** @type {Element} */ (node), /** @type {Element} */ (theirs[i]));
    else if (node.nodeValue !== theirs[i].nodeValue) node.nodeValue = theirs[i].nodeValue;
  });
}

/** Whether two elements have children of the same kinds. @param {Element} old @param {Element} fresh */
export function isAlike(old, fresh) {
  const theirs = fresh.childNodes;
  return old.childNodes.length === theirs.length && [...old.childNodes].every((node, i) => node.nodeName === theirs[i].nodeName);
}

/** Bring all parts of the page that are made from read models up to date with a newer one. Most change in place; one with
 * `data-whole` is replaced when that differs: a form by a sentence, when trading has ended. One with `data-sent` stays: nobody
 * knows yet what became of its order, and only its form can ask for it by its id. @param {Document} fresh */
export function update(fresh) {
  for (const old of document.querySelectorAll("[data-whole]")) {
    const found = fresh.getElementById(old.id);
    if (!found || found.getAttribute("data-whole") === old.getAttribute("data-whole")) continue;
    if (old.hasAttribute("data-sent")) {
      late = fresh;
      continue;
    }
    const next = document.importNode(found, true), isHeld = old.contains(document.activeElement);
    old.replaceWith(next);
    if (isHeld) next.focus({ preventScroll: true });
  }
  for (const old of document.querySelectorAll("[data-fold], [data-status]")) {
    const found = old.id ? fresh.getElementById(old.id) : fresh.querySelector(`[data-status="${CSS.escape(old.getAttribute("data-status") || "")}"]`);
    if (found) morph(old, document.importNode(found, true));
  }
  localTimes(document);
  if (fresh.title) document.title = fresh.title;
  document.dispatchEvent(new CustomEvent("tidings:updated"));
}

/** @type {Document|null} */
let late = null;

/** Let a part that had to stay follow again: its order is decided. @param {Element|null} part */
export function decided(part) {
  part?.removeAttribute("data-sent");
  if (late) update(late);
  late = null;
}
