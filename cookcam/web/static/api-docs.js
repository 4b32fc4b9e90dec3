// Draws /openapi.json: operations by tag, their parameters and schemas, and a form to try each.
// Everything from the document goes in as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

class Schemas {
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
    const said = Object.entries(words)
      .filter(([key]) => key in schema)
      .map(([key, text]) => text.replace("%s", schema[key]));
    if ("default" in schema) said.push(`default ${JSON.stringify(schema.default)}`);
    if (schema.description) said.push(schema.description);
    return said.join(", ");
  }

  // A value of the shape of the schema, to start a request from.
  example(schema, depth = 0) {
    const known = this.resolve(schema);
    if ("default" in known) return known.default;
    if (known.examples) return known.examples[0];
    if (known.enum) return known.enum[0];
    if ("const" in known) return known.const;
    const options = known.anyOf || known.oneOf;
    if (options) return this.example(options[0], depth);
    if (depth > 5) return null;
    if (known.type === "object" || known.properties) {
      const entries = Object.entries(known.properties || {});
      return Object.fromEntries(entries.map(([key, value]) => [key, this.example(value, depth + 1)]));
    }
    if (known.type === "array") return [this.example(known.items, depth + 1)];
    if (known.type === "integer" || known.type === "number") return known.minimum || 0;
    if (known.type === "boolean") return false;
    if (known.type === "null") return null;
    return known.format === "uuid" ? "00000000-0000-4000-8000-000000000000" : "";
  }
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((heading) => element("th", {}, heading)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, head, ...body);
}

function schemaTables(schemas, schema, seen = new Set()) {
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

function parameterTable(schemas, parameters) {
  const rows = parameters.map((parameter) => [
    element("code", {}, parameter.name),
    parameter.in,
    schemas.type(parameter.schema),
    schemas.rules(parameter.schema || {}),
  ]);
  return table(["name", "in", "type", ""], rows);
}

function responseParts(schemas, responses) {
  const parts = [];
  for (const [status, given] of Object.entries(responses || {})) {
    const response = schemas.resolve(given);
    const content = (response.content || {})["application/json"];
    const schema = content && content.schema;
    const tables = given.$ref ? [] : schemaTables(schemas, schema);
    parts.push(
      element("details", {},
        element("summary", {}, `${status} ${response.description || ""} `,
          element("code", {}, schema ? schemas.type(schema) : "")),
        ...tables),
    );
  }
  return parts;
}

function tryForm(schemas, base, path, method, operation) {
  const inputs = (operation.parameters || []).map((parameter) => ({
    parameter,
    input: element("input", { name: parameter.name, placeholder: schemas.type(parameter.schema) }),
  }));
  const content = ((operation.requestBody || {}).content || {})["application/json"];
  const body = content
    && element("textarea", { name: "body", spellcheck: "false", "aria-label": "Request body" });
  if (body) body.value = JSON.stringify(schemas.example(content.schema), null, 2);
  const output = element("pre", { hidden: true, "aria-live": "polite" });

  async function send(event) {
    event.preventDefault();
    let address = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") {
        address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      } else if (parameter.in === "query" && input.value !== "") {
        query.set(parameter.name, input.value);
      }
    }
    const url = base + address + (query.size ? `?${query}` : "");
    const headers = {};
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    output.hidden = false;
    output.classList.remove("failed");
    output.textContent = `${method.toUpperCase()} ${url}`;
    try {
      const request = { method: method.toUpperCase(), headers, body: body ? body.value : undefined };
      const response = await fetch(url, request);
      output.classList.toggle("failed", !response.ok);
      output.textContent = await shown(response);
    } catch (error) {
      output.classList.add("failed");
      output.textContent = String(error);
    }
  }

  return element("form", { onsubmit: send },
    element("h3", {}, "Try it"),
    ...inputs.map(({ parameter, input }) => element("label", {}, `${parameter.name} `, input, " ")),
    body,
    element("p", {}, element("button", { type: "submit" }, "Send")),
    output);
}

async function shown(response) {
  const lines = [`${response.status} ${response.statusText}`];
  for (const [name, value] of response.headers) lines.push(`${name}: ${value}`);
  const text = await response.text();
  let body = text;
  try {
    body = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // It is no JSON: shown as it came.
  }
  return [...lines, "", body].join("\n");
}

function operationPart(schemas, base, path, method, operation) {
  const content = ((operation.requestBody || {}).content || {})["application/json"];
  const box = element("details", { class: "operation" });
  box.append(
    element("summary", {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, base + path),
      operation.security ? element("span", { class: "lock", title: "wants a token" }, "key") : null,
      element("span", { class: "about" }, operation.summary || "")),
  );
  // Drawn when it is opened: most never are.
  box.addEventListener("toggle", () => {
    if (!box.open || box.childElementCount > 1) return;
    const parameters = operation.parameters || [];
    box.append(
      element("div", {},
        operation.description ? element("p", {}, operation.description) : null,
        ...(parameters.length
          ? [element("h3", {}, "Parameters"), parameterTable(schemas, parameters)] : []),
        ...(content
          ? [element("h3", {}, "Request body"), ...schemaTables(schemas, content.schema)] : []),
        element("h3", {}, "Responses"),
        ...responseParts(schemas, operation.responses),
        tryForm(schemas, base, path, method, operation)),
    );
  });
  box.dataset.words = `${method} ${base}${path} ${operation.summary || ""}`.toLowerCase();
  return box;
}

function draw(spec) {
  const schemas = new Schemas(spec);
  const groups = new Map();
  const usual = ((spec.servers || [])[0] || { url: "" }).url;
  for (const [path, item] of Object.entries(spec.paths)) {
    const base = (item.servers ? item.servers[0].url : usual).replace(/\/$/, "");
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      const tag = (operation.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationPart(schemas, base, path, method, operation));
    }
  }
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  return [...groups].map(([tag, parts]) => element("section", {}, element("h2", {}, tag), ...parts));
}

function filter(event) {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const box of document.querySelectorAll(".operation")) {
    box.hidden = !words.every((word) => box.dataset.words.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".operation:not([hidden])");
  }
}

async function start() {
  const main = document.getElementById("operations");
  document.getElementById("filter").addEventListener("input", filter);
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`/openapi.json answered ${response.status}`);
    main.replaceChildren(...draw(await response.json()));
  } catch (error) {
    main.replaceChildren(element("p", { class: "failed" }, String(error)));
  }
  main.removeAttribute("aria-busy");
}

start();
