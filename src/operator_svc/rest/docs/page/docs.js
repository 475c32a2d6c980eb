import { failure, h } from "./dom.js";
import { markdown } from "./markdown.js";
import { anchorOf, fields, follow, isObject, json, table, typeOf } from "./schema.js";
import { tryForm } from "./try.js";

/** Where the console keeps its token too: who signed in there need not do it here. */
const TOKEN = "operator.token";
const base = new URL("../", import.meta.url).href;
const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const about = /** @type {HTMLElement} */ (document.getElementById("about"));
/** @type {Map<HTMLElement, string>} */
const searched = new Map();
const controls = /** @type {HTMLElement} */ (document.getElementById("controls"));

/**
 * A part of the page that is filled when it is first opened, as the documents are long.
 * @param {string} id
 * @param {(Node | string)[]} summary
 * @param {unknown} source What the filter looks into.
 * @param {() => (Node | null)[]} children
 */
function part(id, summary, source, children) {
  const made = h("details", { id }, h("summary", {}, ...summary));
  made.addEventListener("toggle", () => made.append(...children().filter((child) => child !== null)), { once: true });
  searched.set(made, JSON.stringify(source).toLowerCase());
  return made;
}

/**
 * @param {any} document_
 * @param {Record<string, any>} content
 */
function bodyOf(document_, content) {
  return Object.entries(content).flatMap(([media, entry]) => [
    h("p", {}, h("code", {}, media), " ", ...typeOf(document_, entry.schema)),
    entry.schema ? fields(document_, entry.schema) : null,
    entry.example === undefined ? null : json(entry.example),
  ]);
}

/**
 * @param {any} document_
 * @param {string} path
 * @param {string} method
 * @param {any} operation
 */
function callParts(document_, path, method, operation) {
  const parameters = (operation.parameters ?? []).map((/** @type {any} */ parameter) => [
    [h("code", {}, parameter.name), parameter.required ? "" : h("span.muted", {}, " optional")],
    [parameter.in],
    typeOf(document_, parameter.schema),
    markdown(parameter.description ?? ""),
  ]);
  const answers = Object.entries(operation.responses).flatMap(([status, given]) => {
    const answer = follow(document_, given);
    if (status >= "400") return markdown(`${status} ${answer.description}`);
    return [h("h3", {}, `${status} ${answer.description}`), ...bodyOf(document_, answer.content ?? {})];
  });
  return [
    ...markdown(operation.description ?? ""),
    parameters.length > 0 ? table(["Parameter", "In", "Type", "Meaning"], parameters) : null,
    ...(operation.requestBody ? [h("h3", {}, "Body"), ...bodyOf(document_, operation.requestBody.content)] : []),
    ...answers,
    tryForm(document_, base, token, path, method, operation),
  ];
}

/** @param {any} document_ */
function calls(document_) {
  const all = Object.entries(document_.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== "options")
      .map(([method, operation]) => ({ path, method, operation })),
  );
  return document_.tags.map((/** @type {any} */ tag) =>
    h(
      "section",
      {},
      h("h2", {}, tag.name),
      ...markdown(tag.description),
      ...all
        .filter(({ operation }) => operation.tags.includes(tag.name))
        .map(({ path, method, operation }) =>
          part(
            operation.operationId,
            [h(`span.method.${method}`, {}, method.toUpperCase()), h("code", {}, path), ` ${operation.summary}`],
            [path, operation],
            () => callParts(document_, path, method, operation),
          ),
        ),
    ),
  );
}

/** @param {any} document_ */
function frames(document_) {
  const channel = document_.channels.session;
  const messages = Object.entries(document_.components.messages).map(([name, message]) =>
    part(name, [h("code", {}, name)], [name, message], () => [
      ...markdown(message.summary),
      fields(document_, message.payload),
      ...message.examples.map((/** @type {any} */ example) => json(example.payload)),
    ]),
  );
  const codes = Object.entries(document_["x-close-codes"]).map(([code, meaning]) => [[h("code", {}, code)], markdown(meaning)]);
  return h(
    "section",
    {},
    h("h2", {}, "websocket"),
    h("p", {}, h("code", {}, channel.address)),
    ...markdown(channel.description),
    ...markdown(document_.info.description),
    ...messages,
    h("h3", {}, "Close codes"),
    table(["Code", "Meaning"], codes),
  );
}

/** @param {any} document_ */
function schemas(document_) {
  const all = Object.entries(document_.components.schemas).filter(([, schema]) => isObject(schema));
  return h(
    "section",
    {},
    h("h2", {}, document_.openapi ? "schemas of calls" : "schemas of the websocket"),
    ...all.map(([name, schema]) =>
      part(anchorOf(document_, name), [h("code", {}, name)], [name, schema], () => [
        ...markdown(schema.description ?? ""),
        fields(document_, schema),
      ]),
    ),
  );
}

const tokenInput = /** @type {HTMLInputElement} */ (
  h("input", { type: "password", name: "token", autocomplete: "off", value: sessionStorage.getItem(TOKEN) ?? "" })
);
tokenInput.addEventListener("input", () => sessionStorage.setItem(TOKEN, tokenInput.value));
const token = () => tokenInput.value.trim();

const filter = /** @type {HTMLInputElement} */ (
  h("input", { type: "search", id: "filter", placeholder: "Path, frame or word" })
);
filter.addEventListener("input", () => {
  const wanted = filter.value.toLowerCase();
  for (const [element, text] of searched) element.hidden = !text.includes(wanted);
});

/** Opens what the address names. */
function openTarget() {
  const found = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(found instanceof HTMLDetailsElement)) return;
  found.open = true;
  found.scrollIntoView();
}

/** @param {string} name */
async function read(name) {
  const answer = await fetch(new URL(name, base));
  if (!answer.ok) throw new Error(`${name} answered ${answer.status}`);
  return answer.json();
}

async function start() {
  const [http, socket] = await Promise.all([read("openapi.json"), read("asyncapi.json")]);
  about.replaceChildren(
    h("p", {}, `${http.info.summary} Version ${http.info.version}.`),
    ...markdown(http.info.description),
  );
  controls.append(
    h("label", {}, "Filter", filter),
    h("label", {}, "Token for the calls that you try; it stays in this tab", tokenInput),
  );
  controls.addEventListener("submit", (event) => event.preventDefault());
  main.append(...calls(http), frames(socket), schemas(http), schemas(socket));
  window.addEventListener("hashchange", openTarget);
  openTarget();
  document.body.dataset["ready"] = "yes";
}

start().catch((error) => about.replaceChildren(h("p", {}, "The documents could not be read."), failure(error)));
