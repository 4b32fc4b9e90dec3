// Keeps a page of the operations console current: the server sends HTML of the parts that changed,
// and figures for the charts, over a socket that the page's cookie authenticates.
"use strict";

const RECONNECT_MS = [500, 1000, 2000, 4000];
const SPAN_MS = 5 * 60 * 1000;
const MIN_SPAN_MS = 60 * 1000;
const PHASES = {
  starting: "This process is starting.",
  notice: "Draining: the sockets have been notified.",
  closing: "Draining: the listeners are closed.",
  draining: "Draining: requests and sockets finish. Pages cannot be loaded from this process any more.",
  background: "Draining: background work finishes.",
};
const SERIES = {
  requests: ["requests", "failed"],
  latency: ["p95", "median"],
  sockets: ["sockets"],
  lag: ["loopLag"],
  pool: ["poolInUse", "poolSize"],
  load: ["inFlight", "queued"],
};

const view = document.body.dataset.view;
const process = document.body.dataset.process;
let wasLive = false;
let draining = false;

// -- the socket

const connection = document.getElementById("connection");

function showConnection(state, text) {
  if (connection.dataset.state === state && connection.textContent === text) return;
  connection.dataset.state = state;
  connection.textContent = text;
}

function connect(attempt = 0) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/ops/live`);
  let opened = false;
  socket.addEventListener("open", () => {
    socket.send(JSON.stringify({ event: "watch_console", data: { view }, id: 1 }));
  });
  socket.addEventListener("message", (message) => {
    const { event, data } = JSON.parse(message.data);
    if (event === "console_updated") {
      opened = true;
      showConnection("live", "Live");
      update(data);
    } else if (event === "server_shutdown") {
      draining = true;
    } else if (event === "error") {
      showConnection("lost", data.message);
    }
  });
  socket.addEventListener("close", ({ code }) => {
    if (code === 4401 || code === 4403) {
      location.assign("/ops/sign-in");
      return;
    }
    if (draining) showBanner("This process has ended. Waiting for the next one.");
    showConnection("lost", "Connection lost, reconnecting");
    const next = opened ? 0 : attempt + 1;
    const delay = RECONNECT_MS[Math.min(next, RECONNECT_MS.length - 1)];
    setTimeout(() => connect(next), delay * (0.75 + Math.random() / 2));
    if (!opened && attempt > 0) checkSession();
  });
}

// A handshake that is rejected has no status for scripts: whether the session has ended is asked.
async function checkSession() {
  try {
    const response = await fetch("/ops", { redirect: "manual" });
    if (response.type === "opaqueredirect") location.assign("/ops/sign-in");
  } catch {
    // The server does not respond: the next attempt follows.
  }
}

function update(data) {
  if (data.process !== process && wasLive) {
    location.reload(); // the next process has its own page
    return;
  }
  wasLive = true;
  draining = !["starting", "serving"].includes(data.phase);
  const elsewhere = `Several processes respond at this address. These figures are those of ${data.process}.`;
  showBanner(data.process === process ? PHASES[data.phase] : elsewhere);
  for (const [section, html] of Object.entries(data.sections)) replace(section, html);
  for (const badge of document.querySelectorAll("[data-count]")) {
    const count = data.counts ? data.counts[badge.dataset.count] : 0;
    badge.hidden = !count;
    badge.textContent = count;
    badge.setAttribute("aria-label", `${count} ${badge.dataset.label}`);
  }
  addSamples(data.samples);
}

const banner = document.getElementById("banner");

function showBanner(text) {
  if (banner.textContent === (text || "")) return;
  banner.textContent = text || "";
  banner.hidden = !text;
}

// -- parts that the server renders

const shown = new Map();
const later = new Map();

function isEdited(part) {
  const inputs = part.querySelectorAll("input:not([type=hidden])");
  return [...inputs].some((input) => input === document.activeElement || input.value !== "");
}

function replace(name, html) {
  const part = document.getElementById(name);
  if (!part || shown.get(name) === html) return;
  if (isEdited(part)) {
    later.set(name, html); // what is being written stays
    return;
  }
  later.delete(name);
  shown.set(name, html);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const scrolls = [...part.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
  part.innerHTML = html; // the server has escaped every value in it
  part.querySelectorAll(".scroll").forEach((box, index) => {
    if (scrolls[index]) [box.scrollLeft, box.scrollTop] = scrolls[index];
  });
  if (!focused) return;
  const same = focused.id && document.getElementById(focused.id);
  const target = same || part.querySelector(focused.matches(".scroll") ? ".scroll" : "h2[tabindex]");
  if (target) target.focus({ preventScroll: true });
}

document.addEventListener("focusout", () => {
  setTimeout(() => later.forEach((html, name) => replace(name, html)), 50);
});

// -- actions

const notice = document.getElementById("notice");

function showNotice(text, failed) {
  notice.hidden = false;
  notice.className = failed ? "message failed" : "message ok";
  notice.textContent = text;
}

async function submit(event) {
  const form = event.target.closest("form[data-action]");
  if (!form) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const response = await fetch(form.action, { method: "POST", body });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const result = page.getElementById("result");
    showNotice(result ? result.textContent : `The server responded with ${response.status}.`, !response.ok);
    if (response.status === 401) location.assign("/ops/sign-in");
    if (response.ok) form.reset();
  } catch {
    showNotice("The server did not respond.", true);
  }
  buttons.forEach((button) => { button.disabled = false; });
  const dialog = form.closest("dialog");
  if (dialog) dialog.close();
  later.forEach((html, name) => replace(name, html));
}

document.addEventListener("submit", submit);
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open).showModal();
  const closer = event.target.closest("[data-close]");
  if (closer) closer.closest("dialog").close();
});

// -- charts

const SVG = "http://www.w3.org/2000/svg";
const samples = [];

function addSamples(added) {
  const newest = samples.length ? samples[samples.length - 1].at : 0;
  const fresh = added.filter((sample) => sample.at > newest);
  if (!fresh.length) return;
  samples.push(...fresh);
  const oldest = samples[samples.length - 1].at - SPAN_MS;
  while (samples[0].at < oldest) samples.shift();
  charts.forEach((chart) => chart.draw());
}

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 5, 10, 20 … that is not below a value.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

// The time that the charts show: from the first sample on, at least a minute.
function span() {
  const shown = samples[samples.length - 1].at - samples[0].at;
  return Math.min(SPAN_MS, Math.max(MIN_SPAN_MS, shown));
}

function ago(ms) {
  const seconds = Math.round(ms / 1000);
  const rest = seconds % 60 ? ` ${seconds % 60} s` : "";
  return `${Math.floor(seconds / 60)} min${rest} ago`;
}

function format(value) {
  if (value >= 10000) return `${(value / 1000).toFixed(0)}k`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

class Chart {
  constructor(figure) {
    this.keys = SERIES[figure.dataset.chart];
    this.unit = figure.dataset.unit;
    this.title = figure.querySelector("h3").textContent;
    this.output = figure.querySelector("output");
    this.svg = figure.querySelector("svg");
    this.chosen = null; // the time under the pointer or the keyboard's cursor
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.choose(null));
    this.svg.addEventListener("blur", () => this.choose(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  choose(at) {
    this.chosen = at;
    this.draw();
  }

  point(event) {
    if (!samples.length) return;
    const { left, width } = this.svg.getBoundingClientRect();
    const end = samples[samples.length - 1].at;
    this.choose(end - span() * (1 - (event.clientX - left) / width));
  }

  step(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (!(event.key in steps) || !samples.length) return;
    event.preventDefault();
    const current = this.index() ?? samples.length - 1;
    const next = Math.min(samples.length - 1, Math.max(0, current + steps[event.key]));
    this.choose(samples[next].at);
  }

  // The index of the sample that is nearest to the chosen time.
  index() {
    if (this.chosen === null || !samples.length) return null;
    let best = 0;
    samples.forEach((sample, index) => {
      if (Math.abs(sample.at - this.chosen) < Math.abs(samples[best].at - this.chosen)) best = index;
    });
    return best;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.svg;
    if (!samples.length || !width) return;
    const bottom = height - 18;
    const end = samples[samples.length - 1].at;
    const highest = Math.max(...samples.flatMap((sample) => this.keys.map((key) => sample[key])));
    const limit = roundUp(highest * 1.05);
    const x = (at) => width * (1 - (end - at) / span());
    const y = (value) => bottom - (bottom - 14) * (value / limit);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const line = y(limit * share);
      parts.push(node("line", { class: "grid", x1: 0, x2: width, y1: line, y2: line }));
      if (share) parts.push(node("text", { x: 0, y: line - 3 }, format(limit * share)));
    }
    parts.push(node("text", { x: 0, y: height - 3 }, ago(span())));
    parts.push(node("text", { x: width, y: height - 3, "text-anchor": "end" }, "now"));
    this.keys.forEach((key, number) => {
      const points = samples.map((sample) => `${x(sample.at).toFixed(1)} ${y(sample[key]).toFixed(1)}`);
      const d = `M${points.join("L")}`;
      if (number === 0) {
        const area = `${d}L${x(end)} ${bottom}L${x(samples[0].at).toFixed(1)} ${bottom}Z`;
        parts.push(node("path", { class: "area", d: area }));
      }
      parts.push(node("path", { class: number ? "two" : "one", d }));
    });
    const index = this.index();
    const sample = samples[index ?? samples.length - 1];
    if (index !== null) {
      const line = x(sample.at);
      parts.push(node("line", { class: "cursor", x1: line, x2: line, y1: 0, y2: bottom }));
      this.keys.forEach((key, number) => {
        parts.push(node("circle", { class: number ? "two" : "one", cx: line, cy: y(sample[key]), r: 3.5 }));
      });
      const time = new Date(sample.at).toLocaleTimeString();
      const side = line > width / 2 ? { x: line - 6, "text-anchor": "end" } : { x: line + 6 };
      const values = this.keys.map((key) => format(sample[key])).join(" · ");
      parts.push(node("text", { ...side, y: 10 }, `${time}  ${values}`));
    }
    this.svg.replaceChildren(...parts);
    this.output.textContent = format(sample[this.keys[0]]);
    const when = index === null ? "now" : `at ${new Date(sample.at).toLocaleTimeString()}`;
    this.svg.setAttribute(
      "aria-label",
      `${this.title}, ${when} ${format(sample[this.keys[0]])} ${this.unit}, at most ${format(highest)} in five minutes`,
    );
  }
}

const charts = [...document.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure));

connect();
