// A peer: one Socket of an npm `phoenix`, as a user's page would hold it, and a record of every frame that it sent and received.

import WebSocket from "ws";

// within rejects if promise takes more than ms milliseconds; what names that which was awaited.
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Inbox keeps what came, in order; each thing is taken once.
export class Inbox {
  constructor(what, patience) {
    this.what = what;
    this.patience = patience;
    this.waiting = []; // what came and was not taken
    this.takers = []; // resolve functions of those who wait
  }

  put(item) {
    const taker = this.takers.shift();
    if (taker) taker(item);
    else this.waiting.push(item);
  }

  // next is the oldest item not taken yet, awaited.
  next(what = this.what) {
    if (this.waiting.length > 0) return Promise.resolve(this.waiting.shift());
    return within(this.patience, what, new Promise((resolve) => this.takers.push(resolve)));
  }
}

// Transcript holds the lines of all peers of one scenario in the order they happened.
export class Transcript {
  constructor() {
    this.lines = [];
  }

  add(name, arrow, data) {
    const text = typeof data === "string" ? data : `hex:${Buffer.from(data).toString("hex")}`;
    this.lines.push(`${name} ${arrow} ${text.length > 400 ? `${text.slice(0, 400)}… (${text.length})` : text}`);
  }

  toString() {
    return this.lines.slice(-200).join("\n");
  }
}

// recording is the transport for a peer: ws, which writes what passes into the transcript.
function recording(name, transcript) {
  return class RecordedWebSocket extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      transcript.add(name, "·", `connects to ${url}`);
      this.addEventListener("open", () => transcript.add(name, "·", "open"));
      this.addEventListener("message", ({ data }) => transcript.add(name, "←", data));
      this.addEventListener("close", ({ code }) => transcript.add(name, "·", `closed ${code}`));
      this.addEventListener("error", ({ message }) => transcript.add(name, "·", `error ${message}`));
    }

    send(data) {
      transcript.add(name, "→", data);
      super.send(data);
    }
  };
}

export class Peer {
  // Socket is the class of the version under test; options are its own, beside the transport.
  constructor(Socket, { name, url, transcript, patience, options = {} }) {
    this.name = name;
    this.patience = patience;
    this.socket = new Socket(url, { transport: recording(name, transcript), ...options });
    this.opens = new Inbox(`${name} connects`, patience);
    this.closes = new Inbox(`${name} is disconnected`, patience); // the close events' codes
    this.received = []; // every message, decoded, whether or not a channel takes it
    this.messages = new Inbox(`${name} receives a message`, patience); // the same
    this.socket.onOpen(() => this.opens.put(true));
    this.socket.onClose(({ code }) => this.closes.put(code));
    this.socket.onMessage((message) => {
      this.received.push(message);
      this.messages.put(message);
    });
  }

  // open connects and waits until the socket is open.
  async open() {
    this.socket.connect();
    await this.opens.next();
    return this;
  }

  // close disconnects; it does not wait for the client, which looks for the end every 150 ms.
  close() {
    this.socket.disconnect();
  }

  // channel starts a join and waits for nothing.
  channel(topic, params = {}) {
    return new Joined(this, this.socket.channel(topic, params));
  }

  // join joins a topic and wants an ok.
  async join(topic, params = {}) {
    const channel = this.channel(topic, params);
    channel.response = await channel.joins.next();
    return channel;
  }

  // seen lists the payloads of an event on a topic, among all that the socket received.
  seen(topic, event) {
    return this.received.filter((m) => m.topic === topic && m.event === event).map((m) => m.payload);
  }
}

// Joined is a Channel of the client and the record of what happened to it.
export class Joined {
  constructor(peer, channel) {
    const { name, patience } = peer;
    const inbox = (what) => new Inbox(`${name} ${channel.topic}: ${what}`, patience);
    this.peer = peer;
    this.channel = channel;
    this.inboxes = new Map(); // event → Inbox
    this.joins = inbox("join ok"); // responses, that of each rejoin too
    this.refusals = inbox("join error"); // responses
    this.errors = inbox("phx_error or loss of the connection");
    this.ends = inbox("close");
    channel.onError((reason) => this.errors.put(reason));
    channel.onClose((payload) => this.ends.put(payload));
    channel.join()
      .receive("ok", (response) => this.joins.put(response))
      .receive("error", (response) => this.refusals.put(response));
  }

  // on is the inbox of the payloads of an event, from the first call on.
  on(event) {
    if (!this.inboxes.has(event)) {
      const inbox = new Inbox(`${this.peer.name} ${this.channel.topic}: ${event}`, this.peer.patience);
      this.inboxes.set(event, inbox);
      this.channel.on(event, (payload) => inbox.put(payload));
    }
    return this.inboxes.get(event);
  }

  // push resolves to the reply, {status, response}; a push that timed out has the status "timeout".
  push(event, payload = {}, timeout = this.peer.patience) {
    const reply = new Promise((resolve) => {
      const push = this.channel.push(event, payload, timeout);
      for (const status of ["ok", "error", "timeout"]) {
        push.receive(status, (response) => resolve({ status, response }));
      }
    });
    return within(2 * this.peer.patience, `${this.peer.name}: reply to ${event}`, reply);
  }

  // leave leaves and wants the ok.
  leave() {
    return within(this.peer.patience, `${this.peer.name}: reply to leave`,
      new Promise((resolve) => this.channel.leave().receive("ok", resolve)));
  }
}
