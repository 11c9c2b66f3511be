// Takes a chart that the server drew up: its end follows the odds, hover, touch and arrow keys read it.
import { moments, percent } from "./dom.js?v=VERSION";

/** @typedef {{x: number, price: number}} Step */

class TidingsChart extends HTMLElement {
  connectedCallback() {
    this.at = -1;
    if (!this.querySelector(".readout")) return;
    const svg = this.svg();
    svg.addEventListener("pointermove", (event) => this.point(event));
    svg.addEventListener("pointerdown", (event) => this.point(event));
    // What a finger has tapped at stays to be read when it is lifted, until the next tap elsewhere.
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") this.hide(); });
    svg.addEventListener("blur", () => this.hide());
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  svg() { return /** @type {SVGSVGElement} */ (this.querySelector("svg")); }

  get low() { return Number(this.dataset.low) / 1e6; }
  get high() { return Number(this.dataset.high) / 1e6; }
  get right() { const [x] = this.scale()[this.scale().length - 1]; return x; }

  /** @returns {[number, number][]} pairs of x and milliseconds */
  scale() {
    return (this.dataset.scale || "").split(";").map((pair) => {
      const [x, time] = pair.split(",").map(Number);
      return [x, time / 1000];
    });
  }

  /** @param {number} y */
  price(y) {
    const top = Number(this.dataset.top), bottom = Number(this.dataset.bottom);
    return this.low + (bottom - y) / (bottom - top) * (this.high - this.low);
  }

  /** @param {number} price */
  y(price) {
    const top = Number(this.dataset.top), bottom = Number(this.dataset.bottom);
    const y = bottom - (price - this.low) / (this.high - this.low) * (bottom - top);
    return Math.min(Math.max(y, top - 8), bottom + 8);
  }

  /** @param {number} x */
  time(x) {
    const anchors = this.scale();
    for (let i = 1; i < anchors.length; i++) {
      const [x0, t0] = anchors[i - 1], [x1, t1] = anchors[i];
      if (x <= x1 && x1 > x0) return t0 + (t1 - t0) * (x - x0) / (x1 - x0);
    }
    return anchors[anchors.length - 1][1];
  }

  /** The steps of a line, read from its path. @param {Element} line @returns {Step[]} */
  steps(line) {
    /** @type {Step[]} */
    const found = [];
    let x = 0, y = 0;
    for (const [, command, numbers] of (line.getAttribute("d") || "").matchAll(/([MhvHV])([^MhvHVZ]*)/g)) {
      const [first, second] = numbers.trim().split(/[ ,]+/).map(Number);
      if (command === "M") { x = first; y = second; }
      if (command === "h") x += first;
      if (command === "H") x = first;
      if (command === "v") y += first;
      if (command === "V") y = first;
      const price = this.price(y);
      if (found.length && found[found.length - 1].x === x) found[found.length - 1].price = price;
      else found.push({ x, price });
    }
    return found;
  }

  lines() { return [...this.querySelectorAll("[data-line]")]; }

  /** Let the line's ends follow new odds at once; the whole chart is fetched again soon. @param {Record<string, string>} prices */
  follow(prices) {
    for (const line of this.lines()) {
      const outcome = line.getAttribute("data-line") || "";
      if (!(outcome in prices)) continue;
      const y = this.y(Number(prices[outcome])).toFixed(1);
      line.setAttribute("d", (line.getAttribute("d") || "").replace(/(V[-\d.]+)?$/, `V${y}`));
      const name = CSS.escape(outcome);
      this.querySelector(`[data-dot="${name}"]`)?.setAttribute("cy", y);
      const end = this.querySelector(`[data-end="${name}"]`);
      if (end) end.textContent = percent(Number(prices[outcome]));
    }
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.svg().getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * this.svg().viewBox.baseVal.width;
    this.read(Math.min(Math.max(x, 0), this.right));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const line = this.lines()[this.lines().length - 1];
    const steps = line ? this.steps(line) : [];
    const by = event.shiftKey ? 10 : 1;
    if (this.at < 0) this.at = steps.length - 1;
    if (event.key === "ArrowLeft") this.at -= by;
    else if (event.key === "ArrowRight") this.at += by;
    else if (event.key === "Home") this.at = 0;
    else if (event.key === "End") this.at = steps.length - 1;
    else return;
    event.preventDefault();
    this.at = Math.min(Math.max(this.at, 0), steps.length - 1);
    this.read(steps[this.at].x);
  }

  /** Show a line at a place, its time and all odds there. @param {number} x */
  read(x) {
    const svg = this.svg();
    let cross = svg.querySelector(".cross");
    if (!cross) {
      cross = document.createElementNS("http://www.w3.org/2000/svg", "path");
      cross.setAttribute("class", "cross");
      svg.append(cross);
    }
    cross.setAttribute("d", `M${x.toFixed(1)} ${this.dataset.top}V${this.dataset.bottom}`);
    const odds = this.lines().filter((line) => !line.classList.contains("quiet")).map((line) => {
      const before = this.steps(line).filter((step) => step.x <= x + 0.01);
      const last = before[before.length - 1];
      return last ? `${line.getAttribute("data-line")} ${percent(last.price)}` : "";
    });
    const out = /** @type {HTMLOutputElement|null} */ (this.querySelector(".readout"));
    if (!out) return;
    out.textContent = `${moments.format(new Date(this.time(x)))}: ${odds.filter(Boolean).join(", ")}`;
    out.hidden = false;
    const part = x / svg.viewBox.baseVal.width;
    out.style.setProperty("left", part < 0.5 ? `${part * 100}%` : "auto");
    out.style.setProperty("right", part < 0.5 ? "auto" : `${(1 - part) * 100}%`);
  }

  hide() {
    this.at = -1;
    this.querySelector(".cross")?.remove();
    const out = /** @type {HTMLOutputElement|null} */ (this.querySelector(".readout"));
    if (out) out.hidden = true;
  }
}
customElements.define("tidings-chart", TidingsChart);

document.addEventListener("tidings:odds", (event) => {
  const { market_id, prices } = /** @type {CustomEvent} */ (event).detail;
  for (const chart of document.querySelectorAll("tidings-chart")) {
    if (chart instanceof TidingsChart && chart.dataset.market === market_id) chart.follow(prices);
  }
});
