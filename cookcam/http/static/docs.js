// Shared by the pages of the documentation: elements, schemas, examples, sign-in, search.
// Everything from a document goes in as text, never as markup.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export class Schemas {
  constructor(spec) {
    this.spec = spec;
  }

  resolve(node) {
    if (!node || !node.$ref) return node || {};
    const path = node.$ref.replace(/^#\//, "").split("/");
    return this.resolve(path.reduce((at, key) => (at || {})[key], this.spec));
  }

  // A short word for a type, such as `string (uuid) | null` or `array of Recipe`.
  type(schema) {
    if (!schema) return "any";
    if (schema.$ref) return schema.$ref.split("/").pop();
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
    if ("const" in schema) return JSON.stringify(schema.const);
    const options = schema.anyOf || schema.oneOf;
    if (options) return options.map((option) => this.type(option)).join(" | ");
    if (schema.type === "array") return `array of ${this.type(schema.items)}`;
    if (schema.type === "object" && schema.additionalProperties) {
      return `map to ${this.type(schema.additionalProperties)}`;
    }
    const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "any";
    return schema.format ? `${type} (${schema.format})` : type;
  }

  rules(schema) {
    const words = {
      minLength: "at least %s characters", maxLength: "at most %s characters",
      minimum: "at least %s", maximum: "at most %s", pattern: "matches %s",
      minItems: "at least %s items", maxItems: "at most %s items",
    };
    const texts = Object.entries(words)
      .filter(([key]) => key in schema)
      .map(([key, text]) => text.replace("%s", schema[key]));
    if ("default" in schema) texts.push(`default ${JSON.stringify(schema.default)}`);
    if (schema.description) texts.push(schema.description);
    return texts.join(", ");
  }
}

export function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((heading) => element("th", {}, heading)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, head, ...body);
}

export function schemaTables(schemas, schema, seen = new Set()) {
  const parts = [];
  const name = schema && schema.$ref ? schemas.type(schema) : null;
  if (name && seen.has(name)) return parts;
  if (name) seen.add(name);
  const known = schemas.resolve(schema);
  if (known.properties) {
    const required = known.required || [];
    const rows = Object.entries(known.properties).map(([key, value]) => [
      element("code", {}, key + (required.includes(key) ? "" : "?")),
      schemas.type(value),
      schemas.rules(value),
    ]);
    parts.push(element("h3", {}, name || "object"), table(["field", "type", ""], rows));
  } else if (name) {
    parts.push(element("h3", {}, name), element("p", {}, schemas.type(known)));
  }
  for (const inner of nested(known)) parts.push(...schemaTables(schemas, inner, seen));
  return parts;
}

function nested(schema) {
  const found = [];
  for (const value of [...Object.values(schema.properties || {}), schema]) {
    const inner = [value, value.items, value.additionalProperties, ...(value.anyOf || [])];
    found.push(...inner.filter((one) => one && one !== schema && (one.$ref || one.items)));
  }
  return found;
}

export function codeBlock(value) {
  return element("pre", { class: "code", tabindex: "0" }, JSON.stringify(value, null, 2));
}

// -- sign-in: the token stays in this page's memory

const SIGN_IN = "/api/v1/auth/login";

export function currentToken() {
  return document.getElementById("token").value.trim();
}

async function signIn(event) {
  event.preventDefault();
  const form = event.target;
  const message = form.querySelector("output");
  message.className = "";
  message.textContent = "Signing in.";
  try {
    const { email, password } = Object.fromEntries(new FormData(form));
    const response = await fetch(SIGN_IN, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    const body = await response.json();
    if (!response.ok) throw new Error(body.message);
    form.reset();
    document.getElementById("token").value = body.access_token;
    message.textContent = `Signed in as ${email}.`;
    showSession(email);
  } catch (error) {
    message.className = "failed";
    message.textContent = error.message;
  }
}

function showSession(name) {
  document.getElementById("session").textContent = name || "Sign in";
  document.body.classList.toggle("has-token", Boolean(name));
}

// Fills the element `sign-in` of a page: a form, and a field for a token from elsewhere.
function drawSignIn() {
  const field = (label, attributes) => element("label", {}, `${label} `, element("input", attributes));
  const token = element("input", {
    id: "token", type: "password", autocomplete: "off",
    oninput: () => showSession(currentToken() ? "Token set" : ""),
  });
  document.getElementById("sign-in").append(
    element("summary", { id: "session" }, "Sign in"),
    element("div", { class: "panel" },
      element("form", { onsubmit: signIn },
        field("Email", { name: "email", type: "email", required: true, autocomplete: "username" }),
        field("Password", { name: "password", type: "password", required: true, autocomplete: "current-password" }),
        element("button", { type: "submit", class: "primary" }, "Sign in"),
        element("output", { role: "status" })),
      element("label", {}, "or an access token ", token)),
  );
}

// -- search: boxes have their words in `data-words`

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const box of document.querySelectorAll("[data-words]")) {
    box.hidden = !words.every((word) => box.dataset.words.includes(word));
    count += box.hidden ? 0 : 1;
  }
  for (const section of document.querySelectorAll("main section")) {
    section.hidden = !section.querySelector("[data-words]:not([hidden])");
  }
  document.getElementById("found").textContent = words.length ? `${count} found` : "";
}

function openLinked() {
  const box = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!box) return;
  box.open = true;
  box.scrollIntoView();
}

// Draws `document` with `draw` into the element `content` once it has been read.
export async function start(address, draw) {
  drawSignIn();
  const search = document.getElementById("filter");
  search.addEventListener("input", () => filter(search.value));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    search.focus();
  });
  const content = document.getElementById("content");
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`${address} responded with ${response.status}`);
    content.replaceChildren(...draw(await response.json()));
    openLinked();
    addEventListener("hashchange", openLinked);
  } catch (error) {
    content.replaceChildren(element("p", { class: "failed" }, String(error)));
  }
  content.removeAttribute("aria-busy");
}
