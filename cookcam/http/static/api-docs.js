// Draws /openapi.json: operations by tag, their parameters and schemas, and a form to try each.
import { codeBlock, currentToken, element, schemaTables, Schemas, start, table } from "./docs.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

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
          element("code", {}, schema && schema.$ref ? schemas.type(schema) : "")),
        ...tables,
        ...(content && content.example !== undefined ? [element("h3", {}, "Example"), codeBlock(content.example)] : [])),
    );
  }
  return parts;
}

// The ways to send a body: JSON, a form with a file, or a file by itself.
function bodyKinds(content) {
  const kinds = Object.keys(content);
  const files = kinds.filter((kind) => !["application/json", "multipart/form-data"].includes(kind));
  return {
    json: kinds.includes("application/json"),
    form: kinds.includes("multipart/form-data"),
    file: files.length > 0,
    accept: files.join(","),
  };
}

// The field of a JSON body that holds a file as base64; undefined where there is none.
function base64Field(schemas, schema) {
  const properties = Object.entries(schemas.resolve(schema).properties || {});
  const found = properties.find(([, kind]) => kind.contentEncoding === "base64");
  return found && found[0];
}

function asBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1]);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

// The inputs of a request body, and `read()`: its content type (unless the browser sets it) and value.
function bodyInputs(schemas, content) {
  const kinds = bodyKinds(content);
  const labels = { json: "JSON", form: "form with a file", file: "file" };
  const offered = Object.keys(labels).filter((kind) => kinds[kind]);
  if (offered.length === 0) return { parts: [], read: () => ({}) };
  const choice = element("select", { name: "kind", "aria-label": "Kind of body" },
    ...offered.map((kind) => element("option", { value: kind }, labels[kind])));
  const text = element("textarea", { name: "body", spellcheck: "false", "aria-label": "Request body" });
  if (kinds.json) text.value = JSON.stringify(content["application/json"].example, null, 2);
  const file = element("input", { name: "file", type: "file", accept: kinds.accept || null });
  const encoded = kinds.json && base64Field(schemas, content["application/json"].schema);
  const show = () => {
    text.hidden = choice.value !== "json";
    file.hidden = choice.value === "json" && !encoded;
  };
  choice.addEventListener("change", show);
  file.addEventListener("change", async () => {
    if (choice.value !== "json" || !file.files[0]) return;
    const fields = { ...JSON.parse(text.value), [encoded]: await asBase64(file.files[0]) };
    text.value = JSON.stringify(fields, null, 2);
  });
  choice.hidden = offered.length === 1;
  show();

  function read() {
    if (choice.value === "json") return { type: "application/json", value: text.value };
    const chosen = file.files[0];
    if (!chosen) throw new Error("Choose a file first.");
    if (choice.value === "file") return { type: chosen.type, value: chosen };
    const form = new FormData();
    const { properties } = schemas.resolve(content["multipart/form-data"].schema);
    form.set(Object.keys(properties)[0], chosen);
    return { value: form };
  }

  return { parts: [choice, text, file], read };
}

function tryForm(schemas, base, path, method, operation) {
  const inputs = (operation.parameters || []).map((parameter) => ({
    parameter,
    input: element("input", {
      name: parameter.name,
      placeholder: schemas.type(parameter.schema),
      required: parameter.required,
    }),
  }));
  const body = bodyInputs(schemas, (operation.requestBody || {}).content || {});
  const output = element("pre", { hidden: true, "aria-live": "polite" });

  function request() {
    let address = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") {
        address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      } else if (parameter.in === "query" && input.value !== "") {
        query.set(parameter.name, input.value);
      } else if (parameter.in === "header" && input.value !== "") {
        headers[parameter.name] = input.value;
      }
    }
    const token = currentToken();
    if (token) headers.Authorization = `Bearer ${token}`;
    const { type, value } = body.read();
    if (type) headers["Content-Type"] = type;
    const url = base + address + (query.size ? `?${query}` : "");
    return new Request(url, { method: method.toUpperCase(), headers, body: value });
  }

  async function send(event) {
    event.preventDefault();
    output.hidden = false;
    output.classList.remove("failed");
    output.textContent = "Sending.";
    try {
      const response = await fetch(request());
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
    ...body.parts,
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
  const name = `${method}-${base}${path}`;
  const box = element("details", { class: "operation", id: name });
  box.append(
    element("summary", {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, base + path),
      operation.security ? element("span", { class: "lock", title: "needs a token" }, "token") : null,
      element("span", { class: "about" }, operation.summary || "")),
  );
  // Drawn when it is opened: most never are.
  box.addEventListener("toggle", () => {
    if (!box.open || box.childElementCount > 1) return;
    const parameters = operation.parameters || [];
    box.append(
      element("div", {},
        element("p", { class: "link" }, element("a", { href: `#${encodeURIComponent(name)}` }, "Link to this operation")),
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

start("/openapi.json", draw);
