import { copy, failure, h } from "./dom.js";
import { follow } from "./schema.js";

/** Characters of an answer that are shown; a stream goes on, and the rest is left out. */
const MOST = 200_000;

/**
 * A form that makes a call of the document, and shows its answer as it comes.
 * @param {any} document_
 * @param {string} base Operator's address, with its path prefix.
 * @param {() => string} token
 * @param {string} path
 * @param {string} method
 * @param {any} operation
 */
export function tryForm(document_, base, token, path, method, operation) {
  const inputs = parameterInputs(operation);
  const content = Object.entries(follow(document_, operation.requestBody)?.content ?? {})[0];
  const body = content === undefined ? null : bodyInput(content[1]);
  const accept = acceptInput(document_, operation);
  const output = h("output", { "aria-label": "Answer" });
  /** @type {AbortController | undefined} */
  let running;

  const asked = () => requestOf(base, path, method, { inputs, body, accept: accept?.value, token: token() });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    running?.abort();
    const own = (running = new AbortController());
    stop.hidden = false;
    output.replaceChildren();
    try {
      const { url, ...init } = asked();
      await showAnswer(await fetch(url, { ...init, signal: own.signal }), output);
    } catch (error) {
      if (!own.signal.aborted) output.append(failure(error));
    }
    if (running === own) stop.hidden = true;
  };
  const stop = h("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Stop");
  const asCurl = h("button", { type: "button", onclick: () => copy(curl(asked()), asCurl) }, "Copy as curl");

  return h(
    "form.try",
    { onsubmit: send, "aria-label": `Try ${method.toUpperCase()} ${path}` },
    h("h3", {}, "Try it"),
    ...inputs.map(({ parameter, input }) => h("label", {}, h("code", {}, parameter.name), input)),
    accept === null ? null : h("label", {}, "Answer as", accept),
    body === null ? null : h("label", {}, "Body", body),
    h("div.row", {}, h("button.primary", { type: "submit" }, "Send"), stop, asCurl),
    output,
  );
}

/**
 * @param {any} operation
 * @returns {{parameter: any, input: HTMLInputElement}[]}
 */
function parameterInputs(operation) {
  return (operation.parameters ?? []).map((/** @type {any} */ parameter) => ({
    parameter,
    input: /** @type {HTMLInputElement} */ (
      h("input", {
        name: parameter.name,
        required: parameter.required === true,
        placeholder: parameter.required ? "" : "optional",
        autocomplete: "off",
      })
    ),
  }));
}

/** @param {any} content */
function bodyInput(content) {
  const text = JSON.stringify(content.example ?? {}, null, 2);
  const rows = Math.min(text.split("\n").length, 16);
  return /** @type {HTMLTextAreaElement} */ (h("textarea", { name: "body", rows, spellcheck: "false" }, text));
}

/**
 * @param {any} document_
 * @param {any} operation
 */
function acceptInput(document_, operation) {
  const types = Object.entries(operation.responses)
    .filter(([status]) => status < "400")
    .flatMap(([, answer]) => Object.keys(follow(document_, answer).content ?? {}));
  const distinct = [...new Set(types)];
  if (distinct.length < 2) return null;
  return /** @type {HTMLSelectElement} */ (h("select", { name: "accept" }, ...distinct.map((type) => h("option", {}, type))));
}

/**
 * @param {string} base
 * @param {string} path
 * @param {string} method
 * @param {{inputs: {parameter: any, input: HTMLInputElement}[], body: HTMLTextAreaElement | null, accept: string | undefined, token: string}} given
 */
function requestOf(base, path, method, { inputs, body, accept, token }) {
  const headers = /** @type {Record<string, string>} */ ({});
  const query = new URLSearchParams();
  let place = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") place = place.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value === "") continue;
    else if (parameter.in === "query") query.append(parameter.name, input.value);
    else headers[parameter.name] = input.value;
  }
  if (token !== "") headers["X-VX11-Token"] = token;
  if (accept !== undefined) headers["Accept"] = accept;
  if (body !== null) headers["Content-Type"] = "application/json";
  const url = `${base}${place.slice(1)}${query.size > 0 ? `?${query}` : ""}`;
  return { url, method: method.toUpperCase(), headers, body: body === null ? null : body.value };
}

/**
 * The same call for a shell, with the token left to a variable.
 * @param {{url: string, method: string, headers: Record<string, string>, body: string | null}} asked
 */
function curl({ url, method, headers, body }) {
  const quoted = (/** @type {string} */ text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl -sN -X ${method} ${quoted(url)}`];
  for (const [name, value] of Object.entries(headers)) {
    lines.push(name === "X-VX11-Token" ? `-H "${name}: $OPERATOR_TOKEN"` : `-H ${quoted(`${name}: ${value}`)}`);
  }
  if (body !== null) lines.push(`-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

/**
 * @param {Response} answer
 * @param {HTMLElement} output
 */
async function showAnswer(answer, output) {
  const type = answer.headers.get("Content-Type") ?? "";
  const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  output.append(
    h(`p.badge.${answer.ok ? "good" : "bad"}`, {}, `${answer.status} ${answer.statusText}`.trim()),
    h("details", {}, h("summary", {}, "Headers"), h("pre", { tabindex: "0" }, h("code", {}, headers))),
  );
  if (type.startsWith("image/")) {
    const address = URL.createObjectURL(await answer.blob());
    const forget = () => URL.revokeObjectURL(address);
    output.append(h("img", { src: address, alt: "The picture that was answered", onload: forget, onerror: forget }));
    return;
  }
  const shown = h("code");
  output.append(h("pre", { tabindex: "0", "aria-label": "Body of the answer" }, shown));
  let text = "";
  for await (const piece of piecesOf(answer)) {
    if (text.length >= MOST) continue;
    text += piece;
    shown.textContent = text.length < MOST ? text : `${text.slice(0, MOST)}\n… and more`;
  }
  if (/json$/.test(type.split(";")[0] ?? "") && text.length < MOST && text !== "") {
    shown.textContent = JSON.stringify(JSON.parse(text), null, 2);
  }
}

/**
 * The body's text in the pieces in which it comes; not every browser iterates over a body.
 * @param {Response} answer
 */
async function* piecesOf(answer) {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) yield piece.value;
}
