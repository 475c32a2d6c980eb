"""Pages with React components, bundled as a user's would be, on an origin of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.project.process import python_path

MODULES = Path(__file__).parent / "sdks" / "node_modules"
HTML = "<!doctype html><meta charset=utf-8><main></main><script type=module src=page.js></script>"


@contextmanager
def serve_bundle(
    entry: Path, served: Path, names: Mapping[str, str], *options: str
) -> Iterator[str]:
    """The address of a page that runs ``entry``, bundled into the folder ``served``; ``names`` are
    texts that its code finds by these names."""
    (served / "index.html").write_text(HTML)
    defined = [f"--define:{name}={json.dumps(text)}" for name, text in names.items()]
    bundled = subprocess.run(
        [MODULES / ".bin" / "esbuild", entry.name, "--bundle", "--format=esm", "--jsx=automatic",
         "--log-level=warning", *defined, *options, f"--outfile={served / 'page.js'}"],
        cwd=entry.parent, env={"PATH": python_path()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (bundled.returncode, bundled.stderr) == (0, "")
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
