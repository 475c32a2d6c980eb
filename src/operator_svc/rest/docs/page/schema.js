import { h } from "./dom.js";
import { markdown } from "./markdown.js";

/**
 * The object that a `$ref` names, or `value` itself.
 * @param {any} document_
 * @param {any} value
 */
export function follow(document_, value) {
  while (value?.$ref) {
    value = value.$ref
      .slice(2)
      .split("/")
      .reduce((/** @type {any} */ at, /** @type {string} */ key) => at[key.replaceAll("~1", "/")], document_);
  }
  return value;
}

/**
 * A schema in a few words; one with fields of its own is a link to them.
 * @param {any} document_
 * @param {any} schema
 * @returns {(Node | string)[]}
 */
export function typeOf(document_, schema) {
  if (!schema) return [];
  if (schema.$ref) {
    const named = follow(document_, schema);
    if (!isObject(named)) return typeOf(document_, named);
    const name = schema.$ref.split("/").pop();
    return [h("a", { href: `#${anchorOf(document_, name)}` }, name)];
  }
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((/** @type {any} */ value) => JSON.stringify(value)).join(" | ")];
  for (const [key, sign] of Object.entries({ anyOf: " | ", oneOf: " | ", allOf: " & " })) {
    if (schema[key]) return joined(schema[key].map((/** @type {any} */ part) => typeOf(document_, part)), sign);
  }
  if (schema.type === "array") return [...typeOf(document_, schema.items), "[]"];
  return [[schema.type ?? "any"].flat().join(" | ") + limits(schema)];
}

/**
 * The id of a schema's place in the page; both documents may use the same name.
 * @param {any} document_
 * @param {string} name
 */
export function anchorOf(document_, name) {
  return `${document_.openapi ? "http" : "websocket"}.${name}`;
}

/** @param {any} schema */
export function isObject(schema) {
  return Boolean(schema.properties ?? schema.allOf);
}

/**
 * @param {(Node | string)[][]} parts
 * @param {string} sign
 */
function joined(parts, sign) {
  return parts.filter((part) => part.length > 0).flatMap((part, place) => (place === 0 ? part : [sign, ...part]));
}

/** @param {any} schema */
function limits(schema) {
  const low = schema.minimum ?? schema.minLength ?? schema.minItems;
  const high = schema.maximum ?? schema.maxLength ?? schema.maxItems;
  if (low !== undefined && high !== undefined) return ` ${low} to ${high}`;
  if (high !== undefined) return ` to ${high}`;
  return low === undefined ? "" : ` from ${low}`;
}

/**
 * The fields of a schema with their texts, or null where it has none.
 * @param {any} document_
 * @param {any} schema
 */
export function fields(document_, schema) {
  const shown = follow(document_, schema);
  const parts = (shown.allOf ?? [shown]).map((/** @type {any} */ part) => follow(document_, part));
  const all = Object.assign({}, ...parts.map((/** @type {any} */ part) => part.properties ?? {}));
  const required = new Set(parts.flatMap((/** @type {any} */ part) => part.required ?? []));
  if (Object.keys(all).length === 0) return null;
  return table(
    ["Field", "Type", "Meaning"],
    Object.entries(all).map(([name, part]) => [
      [h("code", {}, name), required.has(name) ? "" : h("span.muted", {}, " optional")],
      [...typeOf(document_, part), part.default === undefined || part.default === null ? "" : ` = ${JSON.stringify(part.default)}`],
      markdown(part.description ?? follow(document_, part).description ?? ""),
    ]),
  );
}

/**
 * @param {string[]} names
 * @param {(Node | string)[][][]} rows
 */
export function table(names, rows) {
  return h(
    "div.table",
    { tabindex: "0", role: "group", "aria-label": names.join(", ") },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, ...cell))))),
    ),
  );
}

/** @param {unknown} value */
export function json(value) {
  return h("pre", { tabindex: "0" }, h("code", {}, JSON.stringify(value, null, 2)));
}
