"""Chromium's command line, beside the switches that Playwright adds."""

from __future__ import annotations

PAGE_HEAP_MIB = 512
"""V8's old generation in each isolate; past it the renderer ends."""

DISABLED_FEATURES = (
    # Chromium 156 draws parts of its own window as web pages: for each page it would start a
    # renderer for the address bar's suggestions, and a spare one. Without them a page costs half
    # the processor time. Site isolation is not affected.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "SpareRendererForSitePerProcess",
    # Playwright 1.65 disables these; Chromium obeys only the last such switch, which is this one.
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "TcpPortRandomizationWin",
    "ThirdPartyStoragePartitioning",
    "msEdgeUpdateLaunchServicesPreferredVersion",
    "msForceBrowserSignIn",
)
"""Features for ``--disable-features``."""

FLAGS = (
    # Traffic outside of a page's context goes to a proxy that does not exist. `<-loopback>`
    # removes Chromium's exception for loopback and link-local addresses.
    "--proxy-server=http://127.0.0.1:1",
    "--proxy-bypass-list=<-loopback>",
    # Chromium resolves no names itself: a lookup would bypass the proxies.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--dns-prefetch-disable",
    "--no-pings",
    "--disable-background-networking",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    f"--disable-features={','.join(DISABLED_FEATURES)}",
    f"--js-flags=--max-old-space-size={PAGE_HEAP_MIB}",
)
