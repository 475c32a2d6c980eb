"""``operator-browser``: a process that opens untrusted pages in an isolated Chromium.

It shares only ``protocol`` and the lowest layer with Operator, which calls it over HTTP
(``operator_svc.peers.browser``).
"""
