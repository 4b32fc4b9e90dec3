// Draws /asyncapi.json, and speaks the plain protocol: connect with a token, send an event, watch.
import { codeBlock, currentToken, element, schemaTables, Schemas, start } from "./docs.js";

const MAX_FRAMES = 200;

// -- the connection

const state = document.getElementById("state");
const button = document.getElementById("connect");
const log = document.getElementById("log");
let socket = null;
let address = "";
let lastId = 0;

function show(name, text) {
  state.dataset.state = name;
  state.textContent = text;
  button.textContent = socket ? "Disconnect" : "Connect";
}

function record(direction, title, value) {
  document.getElementById("empty").hidden = true;
  const time = new Date().toLocaleTimeString();
  const arrow = { sent: "\u2191 sent", received: "\u2193 received", note: "" }[direction];
  const line = element("summary", {},
    element("span", { class: "note" }, time), " ",
    element("span", { class: "direction" }, arrow), " ", element("strong", {}, title));
  const failed = title === "error" || title === "connect_error";
  const entry = element("details", { class: failed ? "failed" : null, open: value !== undefined }, line);
  if (value !== undefined) entry.append(codeBlock(value));
  log.prepend(element("li", { class: direction }, entry));
  while (log.childElementCount > MAX_FRAMES) log.lastElementChild.remove();
}

function connect() {
  const token = currentToken();
  if (!token) {
    record("note", "Sign in first, or set an access token.");
    document.getElementById("sign-in").open = true;
    return;
  }
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}${address}`);
  show("waiting", "Connecting");
  // The first frame authenticates: a page cannot set a header. Its token is not shown in the log.
  socket.addEventListener("open", () => {
    socket.send(JSON.stringify({ event: "authenticate", data: { token }, id: (lastId += 1) }));
  });
  socket.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.event === "connected") show("live", "Connected");
    record("received", frame.event, frame);
  });
  socket.addEventListener("close", ({ code, reason }) => {
    socket = null;
    show("closed", "Not connected");
    record("note", `Closed with ${code}${reason ? `: ${reason}` : ""}`);
  });
}

function send(event, data) {
  if (!socket || socket.readyState !== WebSocket.OPEN) {
    record("note", "Connect first.");
    return;
  }
  const frame = { event, data, id: (lastId += 1) };
  socket.send(JSON.stringify(frame));
  record("sent", event, frame);
}

button.addEventListener("click", () => (socket ? socket.close(1000) : connect()));
document.getElementById("clear").addEventListener("click", () => log.replaceChildren());

// -- the events

function sendForm(name, example) {
  const text = element("textarea", { spellcheck: "false", "aria-label": `Payload of ${name}` });
  text.value = JSON.stringify(example, null, 2);
  const message = element("output", { class: "failed" });
  function submit(event) {
    event.preventDefault();
    message.textContent = "";
    try {
      send(name, JSON.parse(text.value));
    } catch (error) {
      message.textContent = error.message;
    }
  }
  return element("form", { onsubmit: submit },
    element("h3", {}, "Send it"), text,
    element("p", {}, element("button", { type: "submit", class: "primary" }, "Send"), " ", message));
}

function eventPart(schemas, action, message) {
  const fromClient = action === "receive";
  const id = `${action}-${message.name}`;
  const box = element("details", { class: "operation", id });
  box.dataset.words = `${message.name} ${message.summary || ""} ${fromClient ? "client send" : "server"}`.toLowerCase();
  box.append(element("summary", {},
    element("span", { class: "path" }, message.name),
    element("span", { class: "about" }, message.summary || "")));
  box.addEventListener("toggle", () => {
    if (!box.open || box.childElementCount > 1) return;
    const example = ((message.examples || [])[0] || {}).payload;
    box.append(element("div", {},
      element("p", { class: "link" }, element("a", { href: `#${id}` }, "Link to this event")),
      ...schemaTables(schemas, message.payload),
      ...(fromClient ? [sendForm(message.name, example)] : [element("h3", {}, "Example"), codeBlock(example)])));
  });
  return box;
}

function draw(spec) {
  const schemas = new Schemas(spec);
  address = spec.servers.websocket.pathname;
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  const parts = { receive: [], send: [] };
  for (const { action, messages } of Object.values(spec.operations)) {
    parts[action].push(eventPart(schemas, action, schemas.resolve(schemas.resolve(messages[0]))));
  }
  return [
    element("p", { class: "note" }, spec.info.description),
    element("section", {}, element("h2", {}, "From the client"), ...parts.receive),
    element("section", {}, element("h2", {}, "From the server"), ...parts.send),
  ];
}

start("/asyncapi.json", draw);
