"""What Chromium is told on its command line, beside what Playwright tells it."""

from __future__ import annotations

PAGE_HEAP_MIB = 512
"""What the scripts of one renderer may hold; past it the renderer ends, not the machine."""

SWITCHED_OFF = (
    # Chromium 156 draws parts of its own window, which nobody sees, as web pages: for each page
    # of ours it started a renderer that shows the address bar's suggestions, and another one in
    # reserve. Without them a page costs half of the processor time. The sites of a page stay in
    # processes of their own.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "SpareRendererForSitePerProcess",
    # What Playwright 1.65 switches off: Chromium heeds the last such flag only, which is ours.
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
"""Features of Chromium that are switched off."""

FLAGS = (
    # Whatever is not a page of ours goes to a proxy that isn't there. `<-loopback>` takes away
    # the exception that Chromium makes for loopback and link-local addresses.
    "--proxy-server=http://127.0.0.1:1",
    "--proxy-bypass-list=<-loopback>",
    # Chromium resolves nothing itself, so that nothing goes past the proxies unnoticed.
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
    f"--disable-features={','.join(SWITCHED_OFF)}",
    f"--js-flags=--max-old-space-size={PAGE_HEAP_MIB}",
)
