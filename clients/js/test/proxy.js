import net from "node:net";

/** A TCP proxy whose connections can be cut, as a network does it. */
export class CuttingProxy {
  /** @param {string} target */
  static async open(target) {
    const proxy = new CuttingProxy(new URL(target));
    await new Promise((resolve) => proxy.server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return proxy;
  }

  /** @param {URL} target */
  constructor(target) {
    /** @type {Set<net.Socket>} */
    this.sockets = new Set();
    this.refusing = false;
    this.stalling = false;
    this.websockets = true;
    this.cuts = 0;
    this.server = net.createServer((client) => {
      if (this.stalling) {
        this.sockets.add(client);
        client.on("error", () => {});
        return;
      }
      if (this.refusing) {
        client.destroy();
        return;
      }
      const upstream = net.connect(Number(target.port), target.hostname);
      for (const socket of [client, upstream]) {
        this.sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
      }
      client.once("data", (head) => {
        if (this.websockets || !/^upgrade: *websocket/im.test(head.toString("latin1"))) {
          upstream.write(head);
          client.pipe(upstream).pipe(client);
        } else client.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
      });
    });
  }

  get url() {
    const address = /** @type {net.AddressInfo} */ (this.server.address());
    return `http://127.0.0.1:${address.port}`;
  }

  cut() {
    this.cuts += 1;
    for (const socket of this.sockets) socket.destroy();
  }

  close() {
    this.server.close();
    this.cut();
  }
}
