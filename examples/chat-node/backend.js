// What the Go module backend/ is, in JavaScript: services behind phxgate gateways as handlers by topic and event. It hides no subject: all it does is in
// docs/contract.md. It needs a NatsConnection of @nats-io/transport-node, and that package's headers().

import { headers } from "@nats-io/transport-node";

// Refuse, thrown by a handler, is told to the client; any other error crashes the channel, as in Phoenix.
export class Refuse extends Error {
  constructor(reason, { status = "error", response = { reason } } = {}) {
    super(reason);
    Object.assign(this, { reason, status, response });
  }
}

// Reply says more than a handler's plain return value, which is the response with status ok.
export class Reply {
  constructor({ status, response, assigns, close = false }) {
    Object.assign(this, { status, response, assigns, close });
  }
}
export const NO_REPLY = new Reply({ status: "none" });

// Names as docs/contract.md writes them: T(topic), E(event) and I(id), header values; read strictly.
const utf8 = new TextEncoder();
const escape = (s, raw) => Array.from(utf8.encode(s), (byte) => {
  const c = String.fromCharCode(byte);
  return /[A-Za-z0-9_-]/.test(c) || raw.includes(c) ? c : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}).join("");
const unescape = (text) => {
  const bytes = text.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
};
const strictly = (text, read, write) => {
  const name = read(text);
  if (write(name) !== text) throw new Error(`not an encoded name: ${text}`);
  return name;
};
export const token = (s) => (s === "" ? "=" : escape(s, ""));
export const tokens = (topic) => topic.split(":").map(token).join(".");
export const parseToken = (text) => strictly(text, (t) => (t === "=" ? "" : unescape(t)), token);
export const parseTokens = (text) => strictly(text, (t) => t.split(".").map((part) => (part === "=" ? "" : unescape(part))).join(":"), tokens);
export const headerValue = (s) => (/^(?! )[ -<>-~]*(?<! )$/.test(s) ? s : escape(s, ":"));
export const parseHeaderValue = (v) => (v.includes("=") ? strictly(v, unescape, (s) => escape(s, ":")) : v);

// A pattern is Phoenix's: exact, or a prefix that ends in "*". Its subject is the narrowest that takes it.
const matches = (pattern, s) => (pattern.endsWith("*") ? s.startsWith(pattern.slice(0, -1)) : s === pattern);
const topicSubject = (pattern) => {
  if (!pattern.endsWith("*")) return tokens(pattern);
  const whole = pattern.lastIndexOf(":"); // what is before it are whole parts
  return whole < 0 ? ">" : `${tokens(pattern.slice(0, whole))}.>`;
};

const isBinary = (v) => v instanceof Uint8Array;
const encode = (v) => (isBinary(v) ? v : JSON.stringify(v ?? {}));
const toASCII = (text) => text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

export class Backend {
  #turns = new Map(); // channel → promise of its last event
  #topics = [];
  #connect = null;
  #subscriptions = [];

  constructor(nc, { prefix = "phx", queue = "backend", log = console } = {}) {
    Object.assign(this, { nc, prefix, queue, log });
  }

  // topic begins what is served on a pattern's topics: {events: {name: (event) => response}, join, joined, left}. The first match holds.
  topic(pattern, { events = {}, join, joined, left }) {
    this.#topics.push({ pattern, events, join, joined, left });
  }

  // connect is asked who may open a socket, join who may join: they return the reply of docs/contract.md, without allow and status, or throw Refuse.
  connect(ask) { this.#connect = ask; }

  // Of options, from is the channel that is spared.
  broadcast(topic, event, payload, { from } = {}) {
    this.#publish(`topic.${tokens(topic)}`, payload, { "Phx-Event": headerValue(event), "Phx-From": from });
  }
  push(channel, event, payload) { this.#publish(`channel.${channel}`, payload, { "Phx-Event": headerValue(event) }); }
  reply(channel, ref, status, response) { this.#publish(`channel.${channel}`, response, { "Phx-Ref": ref, "Phx-Status": status }); }
  closeChannel(channel) { this.#publish(`channel.${channel}`, "", { "Phx-Action": "close" }); }
  crashChannel(channel) { this.#publish(`channel.${channel}`, "", { "Phx-Action": "crash" }); }
  disconnect(socketID) { this.#publish(`socket.${token(socketID)}`, "", { "Phx-Action": "disconnect" }); }
  leave(socketID, topic) { this.#publish(`socket.${token(socketID)}`, "", { "Phx-Action": "leave", "Phx-Topic": headerValue(topic) }); }
  recheckTopic(topic) { this.#publish(`authz.recheck.topic.${tokens(topic)}`, ""); }
  recheckSocket(socketID) { this.#publish(`authz.recheck.socket.${token(socketID)}`, ""); }

  async presences(topic) {
    const all = {};
    for (let after; ;) {
      const { presences, next, error } = await this.#ask(`presence.list.${tokens(topic)}`, { after, limit: 200 });
      if (error) throw new Error(error);
      Object.assign(all, presences);
      if (!next) return all;
      after = next;
    }
  }
  // op is track, update or untrack.
  async presence(op, topic, channel, key, meta) {
    const { status, reason } = await this.#ask(`presence.update.${tokens(topic)}`, { op, channel, key, meta });
    if (status !== "ok") throw new Error(reason);
  }

  // serve subscribes to what was registered; stop takes no more and waits for what came.
  async serve() {
    const subjects = new Set(this.#connect ? ["authz.connect"] : []);
    for (const { pattern, events, join, joined, left } of this.#topics) {
      const subject = topicSubject(pattern);
      for (const name of Object.keys(events)) subjects.add(`event.${name.endsWith("*") ? "*" : token(name)}.${subject}`);
      if (join) subjects.add("authz.join");
      if (joined) subjects.add(`joined.${subject}`);
      if (left) subjects.add(`left.${subject}`);
    }
    for (const subject of subjects) {
      this.#subscriptions.push(this.nc.subscribe(`${this.prefix}.${subject}`, { queue: this.queue, callback: (err, msg) => { if (!err) this.#take(msg); } }));
    }
    await this.nc.flush();
  }
  async stop() {
    await Promise.all(this.#subscriptions.map((s) => s.drain()));
    await Promise.all(this.#turns.values());
    await this.nc.flush();
  }

  // take gives a message its turn: what came for one channel is handled in its order, other channels do not wait.
  #take(msg) {
    const turn = msg.headers?.get("Phx-Channel") || Symbol("nobody's");
    const last = (this.#turns.get(turn) ?? Promise.resolve()).then(() => this.#handle(msg))
      .catch((error) => this.log.error(msg.subject, error));
    this.#turns.set(turn, last);
    last.then(() => { if (this.#turns.get(turn) === last) this.#turns.delete(turn); });
  }

  async #handle(msg) {
    const [kind, ...rest] = msg.subject.slice(this.prefix.length + 1).split(".");
    if (kind === "authz") return this.#authorize(msg, rest[0]);
    const name = kind === "event" ? parseToken(rest.shift()) : "";
    const event = this.#event(msg, parseTokens(rest.join(".")), name);
    const topic = this.#topics.find((t) => matches(t.pattern, event.topic) && (kind === "event" ? Object.keys(t.events).length > 0 : t[kind]));
    const handler = kind === "event" ? Object.entries(topic?.events ?? {}).find(([pattern]) => matches(pattern, name))?.[1] : topic?.[kind];
    if (!handler) return; // a neighbour's
    try {
      if (kind === "left") return await handler(event, JSON.parse(msg.string()).reason);
      const response = await handler(event);
      if (msg.reply) this.#answer(msg, response instanceof Reply ? response : new Reply({ response }));
    } catch (error) {
      if (error instanceof Refuse && kind === "event") {
        if (msg.reply) this.#answer(msg, new Reply(error));
        return;
      }
      this.log.error(msg.subject, error);
      if (msg.reply) msg.respond("", { headers: this.#headers({ "Phx-Action": "crash" }) });
      else if (event.channel && kind !== "left") this.crashChannel(event.channel);
    }
  }

  #event(msg, topic, name) {
    const get = (header) => msg.headers?.get(header) ?? "";
    const binary = get("Phx-Encoding") === "binary";
    return {
      topic, name, channel: get("Phx-Channel"), socketID: parseHeaderValue(get("Phx-Socket-Id")), ref: get("Phx-Ref"),
      assigns: JSON.parse(get("Phx-Assigns") || "{}"), payload: binary ? msg.data : JSON.parse(msg.string() || "{}"),
    };
  }

  async #authorize(msg, what) {
    const request = JSON.parse(msg.string());
    const ask = what === "connect" ? this.#connect : this.#topics.find((t) => t.join && matches(t.pattern, request.topic))?.join;
    if (!ask) return; // another backend's
    let answer;
    try {
      answer = { allow: true, status: "ok", ...await ask(request) };
    } catch (error) {
      const refusal = error instanceof Refuse;
      if (!refusal) this.log.error(msg.subject, error);
      // An error of ours is no answer that a gateway takes for a decision: it fails closed, at once.
      answer = refusal ? { allow: false, reason: error.reason, status: "error", response: error.response } : { error: "internal" };
    }
    msg.respond(JSON.stringify(answer));
  }

  #answer(msg, { status, response, assigns, close }) {
    msg.respond(encode(response), { headers: this.#headers({
      "Phx-Status": status, "Phx-Assigns": assigns && toASCII(JSON.stringify(assigns)), "Phx-Action": close && "close", "Phx-Encoding": isBinary(response) && "binary",
    }) });
  }

  #publish(subject, payload, named) {
    const body = payload === "" ? "" : encode(payload);
    this.nc.publish(`${this.prefix}.${subject}`, body, { headers: this.#headers({ ...named, "Phx-Encoding": isBinary(payload) && "binary" }) });
  }

  async #ask(subject, request) {
    return (await this.nc.request(`${this.prefix}.${subject}`, JSON.stringify(request), { timeout: 5000 })).json();
  }

  #headers(named) {
    const h = headers();
    for (const [name, value] of Object.entries(named)) if (value) h.set(name, value);
    return h;
  }
}
