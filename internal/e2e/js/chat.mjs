// The scenarios of the chat examples, which are to do the same. Target: url (of a gateway whose backend is an example), moderator (the token that makes one), restarted (the scenarios ran before, and everything was started anew),
// patience (ms).
//
// Messages that must not come are never waited for: something that would come later is, and then they must not be among what came.

import assert from "node:assert/strict";

import { Presence, Socket } from "phoenix18";

import { Inbox } from "./peer.mjs";
import { exit, run, target, World } from "./report.mjs";

const quick = { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 };
const enter = (world, name, more = {}) => world.peer(name, target.url, { ...quick, params: { name, ...more } });

// room joins and listens to all that a page would.
async function room(peer, topic) {
  const channel = peer.channel(topic);
  for (const event of ["history", "new_msg", "typing", "msg_deleted", "kicked", "muted"]) channel.on(event);
  channel.syncs = new Inbox(`${peer.name} sees a change of presence`, target.patience); // names
  const presence = new Presence(channel.channel);
  presence.onSync(() => channel.syncs.put(presence.list((name) => name).sort()));
  channel.response = await channel.joins.next();
  channel.history = (await channel.on("history").next()).messages;
  return channel;
}

// wantPresent waits until these are here, and nobody else.
async function wantPresent(channel, ...names) {
  while (JSON.stringify(await channel.syncs.next(`${names} are present`)) !== JSON.stringify(names));
}

const ok = (response) => ({ status: "ok", response });
const error = (reason) => ({ status: "error", response: { reason } });

if (target.restarted) {
  await run("after the restart", new World(Socket), async (world) => {
    const a = await room(await enter(world, "Ann"), "room:messages ü");
    assert.deepEqual(a.history.map(({ name, body }) => [name, body]), [["Ann", "hi"], ["Ann", "żółw 🎈"]]);
    assert.ok((await a.push("new_msg", { body: "again" })).response.id > a.history[1].id);
    assert.deepEqual(await (await enter(world, "Bob")).channel("room:moderation").refusals.next(), { reason: "banned" });
    const v = await room(await enter(world, "Vera"), "room:mute");
    assert.deepEqual(await v.push("new_msg", { body: "still?" }), error("muted"));
  });
  exit();
}

await run("messages", new World(Socket), async (world) => {
  const a = await room(await enter(world, "Ann"), "room:messages ü");
  assert.equal(a.response.name, "Ann");
  assert.equal(a.response.role, "member");
  assert.deepEqual(a.history, []);
  const b = await room(await enter(world, "Bob"), "room:messages ü");
  const ids = [];
  for (const body of ["hi", "żółw 🎈"]) {
    const { status, response } = await a.push("new_msg", { body });
    assert.equal(status, "ok");
    ids.push(response.id);
    for (const channel of [a, b]) {
      const message = await channel.on("new_msg").next();
      assert.deepEqual([message.id, message.user, message.body], [response.id, "Ann", body]);
    }
  }
  const e = await room(await enter(world, "Eve"), "room:messages ü");
  assert.deepEqual(e.history.map(({ id, name, body }) => [id, name, body]), [[ids[0], "Ann", "hi"], [ids[1], "Ann", "żółw 🎈"]]);
  assert.deepEqual((await room(await enter(world, "Eve"), "room:other")).history, []);
});

await run("typing", new World(Socket), async (world) => {
  const ann = await enter(world, "Ann");
  const [a, b] = [await room(ann, "room:typing"), await room(await enter(world, "Bob"), "room:typing")];
  a.channel.push("typing", {});
  assert.deepEqual(await b.on("typing").next(), { name: "Ann" });
  await a.push("new_msg", { body: "behind it" });
  await a.on("new_msg").next();
  assert.deepEqual(ann.seen("room:typing", "typing"), []);
});

await run("presence", new World(Socket), async (world) => {
  const a = await room(await enter(world, "Ann"), "room:presence");
  const bob = await enter(world, "Bob");
  const b = await room(bob, "room:presence");
  await wantPresent(a, "Ann", "Bob");
  await wantPresent(b, "Ann", "Bob");
  assert.deepEqual(Object.keys((await a.push("who")).response.present).sort(), ["Ann", "Bob"]);
  bob.close();
  await wantPresent(a, "Ann");
});

await run("moderation", new World(Socket), async (world) => {
  const topic = "room:moderation";
  const bob = await enter(world, "Bob");
  const [a, b, mo] = [await room(await enter(world, "Ann"), topic), await room(bob, topic), await room(await enter(world, "Mo", { moderator: target.moderator }), topic)];
  assert.equal(mo.response.role, "moderator");
  const id = (await a.push("new_msg", { body: "mine" })).response.id;
  assert.deepEqual(await b.push("delete_msg", { id }), error("unauthorized"));
  assert.deepEqual(await a.push("delete_msg", { id }), ok({}));
  assert.deepEqual(await a.push("delete_msg", { id }), error("not found"));
  assert.deepEqual(await b.on("msg_deleted").next(), { id });
  const spam = (await b.push("new_msg", { body: "spam" })).response.id;
  assert.deepEqual(await mo.push("delete_msg", { id: spam }), ok({}));
  assert.deepEqual(await a.push("kick", { name: "Bob" }), error("unauthorized"));
  assert.deepEqual(await mo.push("kick", { name: "Bob" }), ok({}));
  assert.deepEqual(await b.on("kicked").next(), { name: "Bob" });
  await b.ends.next();
  await wantPresent(a, "Ann", "Mo");
  assert.deepEqual(await a.on("kicked").next(), { name: "Bob" });
  assert.deepEqual(await bob.channel(topic).refusals.next(), { reason: "banned" });
  assert.deepEqual((await room(bob, "room:elsewhere")).history, []);
  assert.deepEqual((await room(await enter(world, "Eve"), topic)).history, []);
});

await run("mute", new World(Socket), async (world) => {
  const topic = "room:mute";
  const [v, mo] = [await room(await enter(world, "Vera"), topic), await room(await enter(world, "Mo", { moderator: target.moderator }), topic)];
  assert.deepEqual(await v.push("mute", { name: "Mo", seconds: 60 }), error("unauthorized"));
  assert.deepEqual(await mo.push("mute", { name: "Vera", seconds: 3600 }), ok({}));
  assert.deepEqual(await v.on("muted").next(), { name: "Vera", seconds: 3600 });
  assert.deepEqual(await v.push("new_msg", { body: "hi" }), error("muted"));
  assert.deepEqual(await mo.push("mute", { name: "Vera", seconds: 0 }), ok({}));
  assert.equal((await v.push("new_msg", { body: "hi" })).status, "ok");
  assert.equal((await mo.on("new_msg").next()).body, "hi");
  for (const seconds of [-1, 1e6, "1", 0.5]) assert.equal((await mo.push("mute", { name: "Vera", seconds })).status, "error");
  assert.deepEqual(await mo.push("mute", { name: "", seconds: 1 }), error("invalid name"));
  await mo.push("mute", { name: "Vera", seconds: 3600 });
});

await run("mistakes", new World(Socket), async (world) => {
  const a = await room(await enter(world, "Ann"), "room:mistakes");
  for (const payload of [{}, { body: "" }, { body: "x".repeat(2001) }]) {
    assert.deepEqual(await a.push("new_msg", payload), error("invalid body"));
  }
  assert.deepEqual(await a.push("delete_msg", { id: 123456789 }), error("not found"));
  assert.deepEqual(await a.push("unheard_of"), error("no backend"));
  a.channel.push("new_msg", null); // a bug, or malice: whatever it does, the channel is there again
  assert.equal((await a.push("new_msg", { body: "still here" })).status, "ok");
});

exit();
