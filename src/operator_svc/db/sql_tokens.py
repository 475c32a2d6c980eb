"""Tokens of SQL for the query loader: parameters, fragments, hints, ``now()``, the ends of
statements, and the texts and comments in which nothing of the kind counts."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"""
    (?=['"$/:;{nN-])  # what one begins with: most characters need no further look
    (?:
      (?P<string>'(?:''|[^'])*')
    | (?P<quoted>"(?:""|[^"])*")
    | (?P<dollar>\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$)
    | (?P<comment>--[^\n]*)
    | /\*\+(?P<hint>.*?)\*/
    | (?P<block>/\*.*?\*/)
    | (?P<now>(?<![\w.$@:])(?i:now)\s*\(\s*\))
    | \{\{(?P<fragment>[A-Za-z_]\w*)\}\}
    | (?P<cast>::)
    | :(?P<param>[A-Za-z_]\w*)
    | (?P<end>;)
    )
    """,
    re.VERBOSE | re.DOTALL,
)


class QueryError(Exception):
    """A query file that cannot be used; the message names the file and the query."""
