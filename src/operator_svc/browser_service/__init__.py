"""``operator-browser``: opens strangers' pages in a Chromium that has no way into our networks.

A process of its own. It shares only the protocol and the lowest layer with Operator, which
speaks to it over HTTP (``operator_svc.peers.browser``).
"""
