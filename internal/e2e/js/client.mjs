// The scenarios of one phoenix version against a fleet. Target: client (a name of package.json), a, b (socket URLs of two gateways whose application is
// that of the transcripts), door (one whose authz shows what it was asked), patience (ms).
//
// Messages that must not come are never waited for: something that would come later is, and then they must not be among what came.

import assert from "node:assert/strict";

import { Inbox } from "./peer.mjs";
import { exit, finding, run, target, World } from "./report.mjs";

const { Presence, Socket } = await import(target.client);

const bytes = (...values) => new Uint8Array(values).buffer;
const listed = (buffer) => {
  assert.ok(buffer instanceof ArrayBuffer, `want an ArrayBuffer, got ${JSON.stringify(buffer)}`);
  return [...new Uint8Array(buffer)];
};
const topic = (name) => `room:${target.client}:${name}`;

// Quick is how a page would shorten the client's waits; the rest is as the client has it.
const quick = { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 };

// pair is two users of one topic, on two gateways.
async function pair(world, name, params = {}) {
  const [ann, bob] = await Promise.all([world.peer("ann", target.a, quick), world.peer("bob", target.b, quick)]);
  const [a, b] = await Promise.all([ann.join(topic(name), params), bob.join(topic(name), params)]);
  a.on("shout");
  b.on("shout");
  return { ann, bob, a, b };
}

// Who keeps the list of a channel as the client's own Presence does, and waits until it says what is wanted: {ann: 2} for two metas of ann.
class Who {
  constructor(joined) {
    this.joined = joined;
    this.moves = []; // "+ann", "-ann", as onJoin and onLeave tell, those of the first state too
    this.syncs = new Inbox(`${joined.peer.name} ${joined.channel.topic}: a sync`, joined.peer.patience);
    this.presence = new Presence(joined.channel);
    this.presence.onJoin((key) => this.moves.push(`+${key}`));
    this.presence.onLeave((key) => this.moves.push(`-${key}`));
    this.presence.onSync(() => this.syncs.put(true));
  }

  list() {
    return Object.fromEntries(this.presence.list((key, { metas }) => [key, metas.length]));
  }

  async wants(list) {
    for (;;) {
      try {
        return assert.deepEqual(this.list(), list);
      } catch {
        await this.syncs.next(`${this.joined.peer.name} sees ${JSON.stringify(list)}, saw ${JSON.stringify(this.list())}`);
      }
    }
  }

  metas(key) {
    return this.presence.list((k, { metas }) => (k === key ? metas : [])).flat();
  }
}

const as = (key, meta = {}) => ({ presence: { key, meta } });

// present joins and keeps the list from the first message on.
async function present(peer, name, params) {
  const joined = peer.channel(topic(name), params);
  const who = new Who(joined);
  joined.response = await joined.joins.next();
  return { joined, who };
}

const scenarios = {
  async "presence: who comes, changes and goes, on both gateways"(world) {
    const [ann, bob] = await Promise.all([world.peer("ann", target.a, quick), world.peer("bob", target.b, quick)]);
    const a = await present(ann, "who", as("ann", { st: "on" }));
    await a.who.wants({ ann: 1 });
    const b = await present(bob, "who", as("bob"));
    for (const { who } of [a, b]) await who.wants({ ann: 1, bob: 1 });
    const second = await present(await world.peer("ann's phone", target.b, quick), "who", as("ann", { st: "phone" }));
    for (const { who } of [a, b, second]) await who.wants({ ann: 2, bob: 1 });

    const before = b.who.moves.length;
    await a.joined.push("update", { key: "ann", meta: { st: "away" } });
    while (!b.who.metas("ann").some(({ st }) => st === "away")) await b.who.syncs.next("the update");
    const [updated] = b.who.metas("ann").filter(({ st }) => st === "away");
    assert.equal(typeof updated.phx_ref_prev, "string");
    assert.deepEqual(b.who.list(), { ann: 2, bob: 1 });
    assert.ok(!b.who.moves.slice(before).includes("-bob"));

    await second.joined.leave();
    for (const { who } of [a, b]) await who.wants({ ann: 1, bob: 1 });
    ann.close();
    await b.who.wants({ bob: 1 });
    assert.equal(b.who.moves.at(-1), "-ann");
  },

  async "presence: a rejoin starts from a new state"(world) {
    const [ann, bob] = await Promise.all([world.peer("ann", target.a, quick), world.peer("bob", target.b, quick)]);
    const a = await present(ann, "rejoin", as("ann"));
    const b = await present(bob, "rejoin", as("bob"));
    for (const { who } of [a, b]) await who.wants({ ann: 1, bob: 1 });
    for (let round = 0; round < 3; round++) {
      a.joined.channel.push("crash", {});
      await a.joined.errors.next();
      await a.joined.joins.next();
      for (const { who } of [a, b]) await who.wants({ ann: 1, bob: 1 });
    }
    await b.joined.push("track", { key: "desk", meta: {} });
    for (const { who } of [a, b]) await who.wants({ ann: 1, bob: 1, desk: 1 });
    await b.joined.push("untrack", { key: "desk" });
    for (const { who } of [a, b]) await who.wants({ ann: 1, bob: 1 });
  },

  async "presence: many come at once and go at once"(world) {
    const watcher = await present(await world.peer("watcher", target.a, quick), "many", as("watcher"));
    const crowd = await Promise.all([...Array(30).keys()].map((i) => world.peer(`p${i}`, i % 2 ? target.a : target.b, quick)));
    const all = await Promise.all(crowd.map((peer, i) => present(peer, "many", as(`p${i % 20}`, { i }))));
    const everybody = { watcher: 1, ...Object.fromEntries([...Array(20).keys()].map((i) => [`p${i}`, i < 10 ? 2 : 1])) };
    for (const { who } of [watcher, ...all]) await who.wants(everybody);
    for (const peer of crowd) peer.close();
    await watcher.who.wants({ watcher: 1 });
  },

  async "join with params and a response"(world) {
    const ann = await world.peer("ann", target.a);
    const channel = await ann.join(topic("join"), { reply: { role: "admin", list: [1, null, "ü"] } });
    assert.deepEqual(channel.response, { role: "admin", list: [1, null, "ü"] });
    const plain = await ann.join(topic("join-plain"));
    assert.deepEqual(plain.response, {});
  },

  async "push: ok, error, no reply in time, a late reply"(world) {
    const ann = await world.peer("ann", target.a);
    const channel = await ann.join(topic("push"));
    assert.deepEqual(await channel.push("ok"), { status: "ok", response: {} });
    assert.deepEqual(await channel.push("echo", { n: 1, s: "x" }), { status: "ok", response: { n: 1, s: "x" } });
    assert.deepEqual(await channel.push("fail", { why: "no" }), { status: "error", response: { why: "no" } });
    assert.equal((await channel.push("silent", {}, 50)).status, "timeout");
    assert.deepEqual(await channel.push("later", { ms: 20 }), { status: "ok", response: {} });
  },

  async "pushes before the join are sent after it"(world) {
    const ann = await world.peer("ann", target.a);
    const channel = ann.channel(topic("buffer"), { sleep_ms: 30 });
    const replies = [1, 2, 3].map((n) => channel.push("echo", { n }));
    await channel.joins.next();
    assert.deepEqual((await Promise.all(replies)).map(({ response }) => response.n), [1, 2, 3]);
  },

  async "a push from the server"(world) {
    const ann = await world.peer("ann", target.a);
    const channel = ann.channel(topic("greet"), { greet: true });
    const greeting = channel.on("greeting");
    await channel.joins.next();
    assert.deepEqual(await greeting.next(), { hello: true });
  },

  async "broadcasts to another gateway and back"(world) {
    const { a, b } = await pair(world, "broadcast");
    assert.equal((await a.push("shout", { from: "ann" })).status, "ok");
    assert.deepEqual(await b.on("shout").next(), { from: "ann" });
    assert.deepEqual(await a.on("shout").next(), { from: "ann" });
    await b.push("shout", { from: "bob" });
    assert.deepEqual(await a.on("shout").next(), { from: "bob" });
    assert.deepEqual(await b.on("shout").next(), { from: "bob" });
  },

  async "broadcast_from spares its sender"(world) {
    const { ann, a, b } = await pair(world, "broadcast_from");
    await a.push("shout_others", { n: 1 });
    await a.push("shout", { n: 2 }); // the same backend, so it comes behind
    assert.deepEqual(await a.on("shout").next(), { n: 2 });
    assert.deepEqual(ann.seen(topic("broadcast_from"), "shout"), [{ n: 2 }]);
    assert.deepEqual([await b.on("shout").next(), await b.on("shout").next()], [{ n: 1 }, { n: 2 }]);
  },

  async "binary: push, reply and broadcast"(world) {
    const { a, b } = await pair(world, "binary");
    const pushed = a.on("pushed");
    const reply = await a.push("echo", bytes(0, 255, 1, 128));
    assert.equal(reply.status, "ok");
    assert.deepEqual(listed(reply.response), [0, 255, 1, 128]);
    const refused = await a.push("fail", bytes(9));
    assert.equal(refused.status, "error");
    assert.deepEqual(listed(refused.response), [9]);
    await a.push("push", bytes(7, 0));
    assert.deepEqual(listed(await pushed.next()), [7, 0]);
    await a.push("shout", bytes(1, 2, 3));
    assert.deepEqual(listed(await b.on("shout").next()), [1, 2, 3]);
    assert.deepEqual(listed(await a.on("shout").next()), [1, 2, 3]);
    await b.push("shout", bytes()); // no byte at all
    assert.deepEqual(listed(await a.on("shout").next()), []);
  },

  async "after a leave nothing comes; then a join again"(world) {
    const { ann, a, b } = await pair(world, "leave");
    const witness = await (await world.peer("eve", target.a)).join(topic("leave"));
    const other = await ann.join(topic("leave-other"));
    witness.on("shout");
    await a.leave();
    await a.ends.next();
    await other.push("echo"); // the client says that it has left before the gateway does
    await b.push("shout", { n: 1 });
    await witness.on("shout").next(); // ann's gateway has handed it out
    await other.push("echo"); // and ann has what was sent to her before
    const again = await ann.join(topic("leave"));
    again.on("shout");
    await b.push("shout", { n: 2 });
    assert.deepEqual(await again.on("shout").next(), { n: 2 });
    assert.deepEqual(ann.seen(topic("leave"), "shout"), [{ n: 2 }]);
  },

  async "a second Channel object of the same topic replaces the first"(world) {
    const { ann, a, b } = await pair(world, "duplicate");
    const second = await ann.join(topic("duplicate"));
    second.on("shout");
    await a.ends.next();
    await b.push("shout", { n: 1 });
    assert.deepEqual(await second.on("shout").next(), { n: 1 });
    assert.deepEqual(await second.push("echo", { n: 2 }), { status: "ok", response: { n: 2 } });
    assert.deepEqual(ann.seen(topic("duplicate"), "shout"), [{ n: 1 }]);
    assert.deepEqual(a.on("shout").waiting, []);
    assert.equal(ann.socket.channels.length, 1);
  },

  async "a refused join is tried again until authz allows it"(world) {
    const ann = await world.peer("ann", target.door, quick);
    const channel = ann.channel(topic("third-time"));
    assert.deepEqual(await channel.refusals.next(), { reason: "not yet" });
    assert.deepEqual(await channel.refusals.next(), { reason: "not yet" });
    assert.equal((await channel.joins.next()).tries, 3);
    assert.equal(channel.channel.state, "joined");
  },

  async "a topic without a rule is refused"(world) {
    const ann = await world.peer("ann", target.a);
    assert.deepEqual(await ann.channel("nowhere:1").refusals.next(), { reason: "unmatched topic" });
  },

  async "a crashed channel joins again by itself"(world) {
    const { ann, a, b } = await pair(world, "crash");
    a.channel.push("crash"); // no reply comes
    await a.errors.next();
    await a.joins.next();
    await b.push("shout", { n: 1 });
    assert.deepEqual(await a.on("shout").next(), { n: 1 });
    assert.deepEqual(ann.closes.waiting, [], "the connection stays");
    assert.equal(ann.seen(topic("crash"), "phx_error").length, 1);
  },

  async "a channel that the backend closes does not join again"(world) {
    const { ann, a } = await pair(world, "close");
    const other = await ann.join(topic("close-other"));
    assert.deepEqual(await a.push("stop_reply", { bye: true }), { status: "ok", response: { bye: true } });
    await a.ends.next();
    // A crash that comes after it has the same wait before it joins again.
    other.channel.push("crash");
    await other.joins.next();
    assert.equal(a.channel.state, "closed");
    assert.deepEqual(a.joins.waiting, []);
    assert.equal(ann.seen(topic("close"), "phx_error").length, 0);
  },

  async "a disconnected socket id comes back with its channels"(world) {
    const [ann, bob] = await Promise.all([
      world.peer("ann", target.a, { ...quick, params: { uid: `${target.client}-ann` } }),
      world.peer("bob", target.b, quick),
    ]);
    const joined = await Promise.all([ann.join(topic("kick-1")), ann.join(topic("kick-2"))]);
    const b = await bob.join(topic("kick-1"));
    joined[0].on("shout");
    b.channel.push("kick", { id: `user_socket:${target.client}-ann` });
    assert.equal(await ann.closes.next(), 1001);
    await ann.opens.next();
    await Promise.all(joined.map(({ joins }) => joins.next()));
    await b.push("shout", { n: 1 });
    assert.deepEqual(await joined[0].on("shout").next(), { n: 1 });
    assert.deepEqual(await joined[1].push("echo", { n: 2 }), { status: "ok", response: { n: 2 } });
    assert.deepEqual(bob.closes.waiting, []);
  },

  async "heartbeats are answered"(world) {
    const ann = await world.peer("ann", target.a, { ...quick, heartbeatIntervalMs: 25 });
    const channel = await ann.join(topic("heartbeat"));
    for (let beats = 0; beats < 4;) {
      const { topic: on, event, payload } = await ann.messages.next("a heartbeat's reply");
      if (on !== "phoenix") continue;
      assert.equal(event, "phx_reply");
      assert.deepEqual(payload, { status: "ok", response: {} });
      beats++;
    }
    assert.deepEqual(ann.closes.waiting, []);
    assert.equal((await channel.push("ok")).status, "ok");
  },

  // The option is 1.8's; before, a page could only use the params.
  async "the token reaches authz"(world) {
    const token = `a+/=ü.${target.client}`;
    const latin = `a+/=.${target.client}`; // btoa, which the client uses, takes no more than Latin-1
    const isNew = target.client === "phoenix18";
    const options = isNew ? { authToken: latin } : { params: { token } };
    const channel = await (await world.peer("ann", target.door, options)).join(topic("token"), { a: 1 });
    assert.equal(channel.response.auth_token, isNew ? latin : token);
    assert.deepEqual(channel.response.params, { a: 1 });
    const none = await (await world.peer("bob", target.door)).join(topic("token"));
    assert.equal(none.response.auth_token, null);
  },

  async "a refused connect is tried again"(world) {
    const peer = world.peer("ann", target.door, { ...quick, params: { third_time: target.client } });
    const channel = await (await peer).join(topic("connect"));
    assert.deepEqual(channel.response.params, {});
  },

  async "a topic in any script"(world) {
    const { a, b } = await pair(world, "zażółć gęślą 🎈:日本語/a.b *>=");
    assert.deepEqual(await a.push("echo", { "ключ": "🎈\u2028" }), { status: "ok", response: { "ключ": "🎈\u2028" } });
    await a.push("shout", { text: "こんにちは" });
    assert.deepEqual(await b.on("shout").next(), { text: "こんにちは" });
  },
};

finding("plan", { scenarios: Object.keys(scenarios) });
for (const [name, scenario] of Object.entries(scenarios)) {
  await run(name, new World(Socket), scenario);
}
exit();
