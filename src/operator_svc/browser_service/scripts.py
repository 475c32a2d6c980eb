"""The JavaScript that is run in pages, and the reading of what it brings back.

Our own looking at the page runs in an isolated world: the page shares its document with it,
but none of its objects, so it can not change what we find. The caller's script runs in the
page's own world; its result is made JSON and measured there, before it leaves the renderer.
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
_LOOK = """
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

# Nothing of the page's own objects is trusted with the size: the length of a primitive string
# and `typeof` can not be redefined.
_RUN = """
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

_CHECK = "(async () => (\n%s\n))"


# Chromium hands on what a page logs whole, however large; here it is cut while it is still in
# the renderer. A page that means harm gets around this, and then only costs the time to read.
_QUIET_CONSOLE = """
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


class Look(msgspec.Struct, frozen=True):
    """What the page shows: ``links`` are pairs of address and text."""

    url: str
    status: int
    title: str
    text: str
    links: list[tuple[str, str]]


class ScriptError(Exception):
    """The caller's script gave no result; the message says why."""


def quiet_console(lines: int, length: int) -> str:
    """The script that bounds what a frame may log; to be run before the page's own."""
    return _QUIET_CONSOLE % (length, lines)


def look(text_limit: int) -> str:
    """The script that looks at a page; its result goes to `read_look`."""
    # Twice: a code point may be two of JavaScript's units.
    limits = (2 * text_limit, MAX_TITLE, MAX_LINKS, MAX_LINK_URL, MAX_LINK_TEXT, MAX_FINAL_URL)
    return _LOOK % ", ".join(map(str, limits))


def read_look(value: Any, text_limit: int) -> Look:
    """Read what `look` gave; raises ValueError where that is nonsense."""
    found = msgspec.convert(
        storable_json(json.loads(value if isinstance(value, str) else "")), Look
    )
    return msgspec.structs.replace(found, text=found.text[:text_limit])


def check(script: str) -> str:
    """The source whose compilation tells whether ``script`` is an expression."""
    return _CHECK % script


def fault(details: Any) -> str:
    """What Chromium says of an exception (``exceptionDetails`` of its protocol)."""
    exception = details.get("exception", {})
    text = exception.get("description") or details.get("text") or "the script failed"
    return storable(str(text).splitlines()[0][:MAX_SCRIPT_ERROR])


def run(script: str) -> str:
    """The source that runs ``script``; its result goes to `read_result`."""
    return _RUN % (script, MAX_SCRIPT_RESULT)


def read_result(value: Any) -> Any:
    """The result of the caller's script as JSON; raises ScriptError."""
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
