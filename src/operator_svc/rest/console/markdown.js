import { copy, h } from "./dom.js";

/**
 * Renders the Markdown that models write: headings, lists, quotes, tables, code, emphasis, links.
 * Everything becomes text nodes and elements made here; HTML in the text stays text.
 * @param {string} text
 * @returns {Node[]}
 */
export function markdown(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  /** @type {Node[]} */
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const fence = /^ {0,3}(```+|~~~+)\s*(\S*)/.exec(line);
    if (fence !== null) {
      const end = findEnd(lines, at + 1, fence[1] ?? "```");
      blocks.push(codeBlock(lines.slice(at + 1, end).join("\n"), fence[2] ?? ""));
      at = end + 1;
    } else if (line.trim() === "") {
      at += 1;
    } else if (/^#{1,6}\s/.test(line)) {
      const depth = Math.min(line.indexOf(" ") + 2, 6);
      blocks.push(h(`h${depth}`, {}, ...inline(line.replace(/^#+\s+/, ""))));
      at += 1;
    } else if (/^ {0,3}(\*\s*\*\s*\*|-\s*-\s*-|_\s*_\s*_)[\s*_-]*$/.test(line)) {
      blocks.push(h("hr"));
      at += 1;
    } else if (/^\s*>/.test(line)) {
      const end = runEnd(lines, at, (l) => /^\s*>/.test(l));
      const inner = lines.slice(at, end).map((l) => l.replace(/^\s*> ?/, ""));
      blocks.push(h("blockquote", {}, ...markdown(inner.join("\n"))));
      at = end;
    } else if (isTable(lines, at)) {
      const end = runEnd(lines, at, (l) => l.includes("|"));
      blocks.push(table(lines.slice(at, end)));
      at = end;
    } else if (ITEM.test(line)) {
      const end = runEnd(lines, at, (l) => ITEM.test(l) || /^\s{2,}\S/.test(l));
      blocks.push(list(lines.slice(at, end)));
      at = end;
    } else {
      const end = runEnd(lines, at, (l) => l.trim() !== "" && !/^(\s*>|#{1,6}\s| {0,3}(```|~~~))/.test(l) && !ITEM.test(l));
      blocks.push(h("p", {}, ...inline(lines.slice(at, end).join("\n"))));
      at = end;
    }
  }
  return blocks;
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+/;

/**
 * @param {string[]} lines
 * @param {number} from
 * @param {string} fence
 */
function findEnd(lines, from, fence) {
  const end = lines.findIndex((line, at) => at >= from && line.trim().startsWith(fence));
  return end < 0 ? lines.length : end;
}

/**
 * @param {string[]} lines
 * @param {number} from Belongs to the run in any case.
 * @param {(line: string) => boolean} belongs
 */
function runEnd(lines, from, belongs) {
  let end = from + 1;
  while (end < lines.length && belongs(lines[end] ?? "")) end += 1;
  return end;
}

/**
 * @param {string} code
 * @param {string} language
 */
function codeBlock(code, language) {
  const button = h("button.small", { type: "button", onclick: () => copy(code, button) }, "Copy");
  return h("pre", { tabindex: "0", "aria-label": `Code ${language}`.trim() }, button, h("code", {}, code));
}

/** @param {string[]} lines */
function list(lines) {
  const first = ITEM.exec(lines[0] ?? "");
  const indent = first?.[1]?.length ?? 0;
  /** @type {string[][]} */
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item !== null && (item[1]?.length ?? 0) <= indent) items.push([line.slice(item[0].length)]);
    else items.at(-1)?.push(line.slice(Math.min(indent + 2, line.search(/\S|$/))));
  }
  const ordered = /\d/.test(first?.[2] ?? "");
  const start = ordered ? Number.parseInt(first?.[2] ?? "1", 10) : undefined;
  return h(
    ordered ? "ol" : "ul",
    { start: start === 1 ? undefined : start },
    ...items.map((item) => {
      const [text = "", ...rest] = item;
      return h("li", {}, ...inline(text), ...(rest.length > 0 ? markdown(rest.join("\n")) : []));
    }),
  );
}

/**
 * @param {string[]} lines
 * @param {number} at
 */
function isTable(lines, at) {
  return (lines[at] ?? "").includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[at + 1] ?? "");
}

/** @param {string[]} lines */
function table(lines) {
  const [head = [], , ...rows] = lines.map((line) =>
    line
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|")
      .map((cell) => cell.trim()),
  );
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...head.map((cell) => h("th", { scope: "col" }, ...inline(cell))))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, ...inline(cell)))))),
  );
}

const INLINE =
  /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*([^\s*](?:[\s\S]*?[^\s*])?)\*\*|\*([^\s*](?:[^*]*?[^\s*])?)\*|\[([^\]]+)\]\(([^\s()]+)\)|(https?:\/\/[^\s<>"')\]]+)/;

/**
 * @param {string} text
 * @returns {(Node | string)[]}
 */
function inline(text) {
  /** @type {(Node | string)[]} */
  const parts = [];
  let rest = text;
  for (let found = INLINE.exec(rest); found !== null; found = INLINE.exec(rest)) {
    parts.push(rest.slice(0, found.index));
    const [whole, , code, strong, emphasis, label, target, address] = found;
    if (code !== undefined) parts.push(h("code", {}, code));
    else if (strong !== undefined) parts.push(h("strong", {}, ...inline(strong)));
    else if (emphasis !== undefined) parts.push(h("em", {}, ...inline(emphasis)));
    else parts.push(link(target ?? address ?? "", label ?? address ?? "", whole));
    rest = rest.slice(found.index + whole.length);
  }
  parts.push(rest);
  return parts.filter((part) => part !== "");
}

/**
 * @param {string} target
 * @param {string} label
 * @param {string} whole Shown as it is where the target is no web address.
 */
function link(target, label, whole) {
  if (!/^https?:\/\//i.test(target)) return whole;
  return h("a", { href: target, rel: "noopener noreferrer nofollow", target: "_blank" }, label);
}
