"""Pages that try to reach inside, each by another of a browser's ways."""

from __future__ import annotations

INSIDE = {
    "fetch": "fetch('{url}', {{mode: 'no-cors'}}).then(() => 'reached', () => 'failed')",
    "fetch with cors": "fetch('{url}').then(r => r.text(), () => 'failed')",
    "https": "fetch('{url}'.replace('http:', 'https:')).then(r => 'reached', () => 'failed')",
    "redirect": "fetch('{redirect}').then(r => r.text(), () => 'failed')",
    "xhr": "new Promise(done => {{ const x = new XMLHttpRequest(); x.open('GET', '{url}');"
    " x.onload = () => done('reached'); x.onerror = () => done('failed'); x.send(); }})",
    "websocket": "new Promise(done => {{ const s = new WebSocket('{url}'.replace('http', 'ws'));"
    " s.onopen = () => done('reached'); s.onerror = () => done('failed'); }})",
    "secure websocket": "new Promise(done => {{"
    " const s = new WebSocket('{url}'.replace('http', 'wss'));"
    " s.onopen = () => done('reached'); s.onerror = () => done('failed'); }})",
    "events": "new Promise(done => {{ const s = new EventSource('{url}');"
    " s.onopen = () => done('reached'); s.onerror = () => done('failed'); }})",
    "image": "new Promise(done => {{ const i = new Image(); i.onload = () => done('reached');"
    " i.onerror = () => done('failed'); i.src = '{url}'; }})",
    "script": "new Promise(done => {{ const s = document.createElement('script');"
    " s.onload = () => done('reached'); s.onerror = () => done('failed'); s.src = '{url}';"
    " document.body.append(s); }})",
    "style": "new Promise(done => {{ const s = document.createElement('link');"
    " s.rel = 'stylesheet'; s.onload = () => done('reached'); s.onerror = () => done('failed');"
    " s.href = '{url}'; document.head.append(s); }})",
    "module": "import('{url}').then(() => 'reached', () => 'failed')",
    "video": "new Promise(done => {{ const v = document.createElement('video');"
    " v.onloadeddata = () => done('reached'); v.onerror = () => done('failed');"
    " v.src = '{url}'; }})",
    "beacon": "(navigator.sendBeacon('{url}', 'x'),"
    " new Promise(d => setTimeout(d, 400, 'failed')))",
    "preconnect": "(() => {{ for (const rel of ['preconnect', 'dns-prefetch', 'prefetch',"
    " 'preload', 'prerender', 'manifest', 'icon']) {{ const l = document.createElement('link');"
    " l.rel = rel; l.as = 'fetch'; l.href = '{url}'; document.head.append(l); }}"
    " return new Promise(d => setTimeout(d, 500, 'failed')); }})()",
    "speculation": "(() => {{ const s = document.createElement('script');"
    " s.type = 'speculationrules'; s.textContent = JSON.stringify({{prerender: [{{source: 'list',"
    " urls: ['{url}'], eagerness: 'immediate'}}], prefetch: [{{source: 'list', urls: ['{url}'],"
    " eagerness: 'immediate'}}]}}); document.head.append(s);"
    " return new Promise(d => setTimeout(d, 500, 'failed')); }})()",
    "object": "new Promise(done => {{ const o = document.createElement('object');"
    " o.data = '{url}'; o.onload = () => done('reached'); o.onerror = () => done('failed');"
    " document.body.append(o); }})",
    "worker": "new Promise(done => {{ const code = `fetch('{url}').then(() =>"
    " postMessage('reached'), () => postMessage('failed'))`;"
    " const w = new Worker(URL.createObjectURL(new Blob([code])));"
    " w.onmessage = e => done(e.data); w.onerror = () => done('failed'); }})",
    "keepalive": "fetch('{url}', {{method: 'POST', body: 'x', keepalive: true}})"
    ".then(() => 'reached', () => 'failed')",
    "frame": "new Promise(done => {{ const f = document.createElement('iframe');"
    " f.onload = () => setTimeout(done, 100, 'failed'); f.src = '{url}';"
    " document.body.append(f); }})",
    "frame that moves": "new Promise(done => {{ const f = document.createElement('iframe');"
    " f.onload = () => setTimeout(done, 200, 'failed'); f.src = '{redirect}';"
    " document.body.append(f); }})",
    "data frame": "new Promise(done => {{ const f = document.createElement('iframe');"
    " f.onload = () => setTimeout(done, 300, 'failed');"
    " f.src = 'data:text/html,<img src={url}>'; document.body.append(f); }})",
    "form": "new Promise(done => {{ const f = document.createElement('iframe'); f.name = 'f';"
    " document.body.append(f); const o = document.createElement('form'); o.method = 'POST';"
    " o.action = '{url}'; o.target = 'f'; document.body.append(o); o.submit();"
    " setTimeout(done, 400, 'failed'); }})",
    "webtransport": "(async () => {{ try {{ const t = new WebTransport("
    "'{url}'.replace('http:', 'https:')); await t.ready; return 'reached'; }}"
    " catch (e) {{ return e.name === 'WebTransportError' ? 'failed' : String(e); }} }})()",
}


WEBRTC = """
(async () => {{
  const found = [];
  const peer = new RTCPeerConnection({{iceServers: [
    {{urls: 'stun:127.0.0.1:{port}'}},
    {{urls: 'turn:127.0.0.1:{port}?transport=udp', username: 'u', credential: 'c'}},
    {{urls: 'turn:127.0.0.1:{port}?transport=tcp', username: 'u', credential: 'c'}},
    {{urls: 'turns:127.0.0.1:{port}?transport=tcp', username: 'u', credential: 'c'}},
    {{urls: 'stun:localhost:{port}'}},
  ]}});
  peer.onicecandidate = e => e.candidate && found.push(e.candidate.candidate);
  peer.createDataChannel('x');
  await peer.setLocalDescription(await peer.createOffer());
  const other = new RTCPeerConnection();
  await other.setRemoteDescription(peer.localDescription);
  await other.setLocalDescription(await other.createAnswer());
  await peer.setRemoteDescription(other.localDescription);
  for (const kind of ['udp', 'tcp']) {{
    const line = `candidate:1 1 ${{kind}} 2122260223 127.0.0.1 {port} typ host`
      + (kind === 'tcp' ? ' tcptype passive' : '') + ' generation 0';
    await peer.addIceCandidate({{candidate: line, sdpMid: '0', sdpMLineIndex: 0}}).catch(() => 0);
  }}
  await new Promise(done => setTimeout(done, {wait}));
  return found;
}})()
"""


FRAMES = """
Promise.all(%s.map(url => new Promise(done => {
  const frame = document.createElement('iframe');
  frame.onload = () => done(new URL(url).hostname);
  frame.src = url;
  document.body.append(frame);
})))
"""
"""The hosts of these addresses, as Chromium spells them, when a frame of each has ended."""
