"""JavaScript that runs in pages, and the parsing of its results.

The script that reads a page's content runs in an isolated world, which shares the document with
the page but none of its objects: the page cannot change what the script finds. The caller's
script runs in the page's own world; its result is serialized and measured there, before it
leaves the renderer.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from operator_svc.protocol.decoding import MAX_DEPTH, is_too_deep
from operator_svc.protocol.text import storable, storable_json

MAX_TITLE = 1000
MAX_LINKS = 200
MAX_LINK_URL = 2048
MAX_LINK_TEXT = 200
MAX_FINAL_URL = 8192
MAX_SCRIPT_RESULT = 256 * 1024
MAX_SCRIPT_ERROR = 1000

# Properties of `document` are read by the getters of its prototype: elements with a `name`
# hide the properties themselves (DOM clobbering).
_CONTENT = """
((maxText, maxTitle, maxLinks, maxLinkUrl, maxLinkText, maxUrl) => {
  const read = (doc, name) => {
    for (let proto = Object.getPrototypeOf(doc); proto; proto = Object.getPrototypeOf(proto)) {
      const found = Object.getOwnPropertyDescriptor(proto, name);
      if (found) return found.get.call(doc);
    }
    return null;
  };
  const cut = (value, size) => typeof value === "string" ? value.slice(0, size) : "";
  const all = (doc, what) => Document.prototype.querySelectorAll.call(doc, what);
  let left = maxText;
  const parts = [];
  const add = (doc, depth) => {
    const root = read(doc, "body") || read(doc, "documentElement");
    if (!root || left <= 0) return;
    const inner = root.innerText;
    const text = cut(typeof inner === "string" ? inner : root.textContent, left);
    if (text) { parts.push(text); left -= text.length + 1; }
    if (depth >= 3) return;
    for (const frame of Array.prototype.slice.call(all(doc, "iframe, frame"), 0, 50)) {
      if (frame.contentDocument) add(frame.contentDocument, depth + 1);
    }
  };
  add(document, 0);
  const links = [], seen = new Set();
  for (const link of Array.prototype.slice.call(read(document, "links") || [], 0, 5000)) {
    const url = link.href;
    if (typeof url !== "string" || url.length > maxLinkUrl || seen.has(url)) continue;
    if (!url.startsWith("http:") && !url.startsWith("https:")) continue;
    seen.add(url);
    links.push([url, cut((link.innerText || "").trim().replace(/\\s+/g, " "), maxLinkText)]);
    if (links.length >= maxLinks) break;
  }
  const entry = performance.getEntriesByType("navigation")[0];
  return JSON.stringify({
    url: cut(location.href, maxUrl),
    status: entry && entry.responseStatus || 0,
    title: cut(read(document, "title"), maxTitle),
    text: parts.join("\\n"),
    links,
  });
})(%s)
"""

# No object of the page is trusted with the size: the length of a primitive string and `typeof`
# cannot be redefined.
_WRAPPER = """
(async () => {
  try {
    const value = await (async () => (
%s
))();
    const json = JSON.stringify(value);
    if (typeof json !== "string") return "n";
    if (json.length > %d) return "l";
    return "v" + json;
  } catch (error) {
    let text = "";
    try { text = `${error}`; } catch (_) {}
    return text.length <= 100000 ? "e" + text : "e";
  }
})()
"""

_EXPRESSION = "(async () => (\n%s\n))"


# Chromium passes on whole console messages, however large; this cuts them within the renderer. A
# hostile page can get around it, and is then bounded by its memory.
_CONSOLE_LIMITER = """
(() => {
  const cut = value => typeof value === "string" ? slice(value, 0, %d) : value;
  const slice = Function.prototype.call.bind(String.prototype.slice);
  const map = Function.prototype.call.bind(Array.prototype.map);
  const apply = Reflect.apply;
  let left = %d;
  for (const name of ["debug", "error", "info", "log", "trace", "warn"]) {
    console[name] = new Proxy(console[name], {
      apply: (method, self, given) => {
        if (left-- > 0) return apply(method, self, map(given, cut));
      },
    });
  }
})()
"""


class PageContent(msgspec.Struct, frozen=True):
    """The visible content of a page; ``links`` are pairs of address and text."""

    url: str
    status: int
    title: str
    text: str
    links: list[tuple[str, str]]


class ScriptError(Exception):
    """Failure of the caller's script; the message is for the caller."""


def console_limiter(lines: int, length: int) -> str:
    """Return the script that bounds a frame's console; it must run before the page's own."""
    return _CONSOLE_LIMITER % (length, lines)


def content_script(text_limit: int) -> str:
    """Return the script that reads a page; `parse_content` parses its result."""
    # Twice: a code point may be two UTF-16 units.
    limits = (2 * text_limit, MAX_TITLE, MAX_LINKS, MAX_LINK_URL, MAX_LINK_TEXT, MAX_FINAL_URL)
    return _CONTENT % ", ".join(map(str, limits))


def parse_content(value: Any, text_limit: int) -> PageContent:
    """Parse the result of `content_script`; raises ValueError where it is invalid."""
    content = msgspec.convert(
        storable_json(json.loads(value if isinstance(value, str) else "")), PageContent
    )
    return msgspec.structs.replace(content, text=content.text[:text_limit])


def as_expression(script: str) -> str:
    """Return source that compiles only where ``script`` is an expression."""
    return _EXPRESSION % script


def exception_message(details: Any) -> str:
    """Return the message of an exception (``exceptionDetails`` of Chromium's protocol)."""
    exception = details.get("exception", {})
    text = exception.get("description") or details.get("text") or "the script failed"
    return storable(str(text).splitlines()[0][:MAX_SCRIPT_ERROR])


def wrap(script: str) -> str:
    """Return source that evaluates ``script``; `parse_result` parses its result."""
    return _WRAPPER % (script, MAX_SCRIPT_RESULT)


def parse_result(value: Any) -> Any:
    """Return the result of the caller's script as JSON; raises ScriptError."""
    if not isinstance(value, str) or not value:
        raise ScriptError("the script gave no result")
    kind, rest = value[0], value[1:]
    if kind == "e":
        raise ScriptError(storable(rest)[:MAX_SCRIPT_ERROR] or "the script failed")
    if kind == "l" or len(rest.encode("utf-8", "surrogatepass")) > MAX_SCRIPT_RESULT:
        raise ScriptError(f"the script's result is larger than {MAX_SCRIPT_RESULT // 1024} KiB")
    if kind != "v":
        return None
    try:
        result = json.loads(rest)
    except (ValueError, RecursionError):
        raise ScriptError("the script's result is no JSON that can be stored") from None
    if is_too_deep(result):
        raise ScriptError(f"the script's result is nested deeper than {MAX_DEPTH} levels")
    return storable_json(result)
