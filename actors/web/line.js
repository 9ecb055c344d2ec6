/** A WebSocket that the page's user can cut, as a network would: its connections break, and no new one can be made. */
export class CuttableWebSocket extends WebSocket {
  static #cut = false;
  /** @type {Set<CuttableWebSocket>} */ static #sockets = new Set();

  constructor(url, protocols) {
    super(url, protocols);
    CuttableWebSocket.#sockets.add(this);
    this.addEventListener("close", () => CuttableWebSocket.#sockets.delete(this));
    if (CuttableWebSocket.#cut) this.close();
  }

  static get isCut() {
    return CuttableWebSocket.#cut;
  }

  static cut() {
    CuttableWebSocket.#cut = true;
    for (const socket of CuttableWebSocket.#sockets) socket.close();
  }

  static mend() {
    CuttableWebSocket.#cut = false;
  }
}
