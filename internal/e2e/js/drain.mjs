// Users whose gateways are drained, one after the other, and one who watches from elsewhere. Target: client (a name of package.json), url (of the fleet), watch (of the gateway that
// stays), topic, users, drains, patience (ms). Findings: "joined" with the gateways that serve the users, upon which the
// test drains one and writes its id, a line; "back" with those that serve them then. A last line says that it is over.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";

import { exit, finding, run, target, World } from "./report.mjs";

const { Presence, Socket } = await import(target.client);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator](); // what the test says in the middle

await run("unnoticed", new World(Socket), async (world) => {
  const watcher = await world.peer("watcher", target.watch, { params: { user: "watcher" } });
  const watched = watcher.channel(target.topic);
  const presence = new Presence(watched.channel); // before the join's reply: presence_state may come right behind it
  await watched.joins.next();
  const moves = [];
  const refs = () => Object.fromEntries(presence.list((key, { metas }) => [key, metas.map((meta) => meta.phx_ref)]));
  presence.onJoin((key) => moves.push(`+${key}`));
  presence.onLeave((key) => moves.push(`-${key}`));

  const users = [];
  for (let n = 0; n < target.users; n++) { // as a page has it: nothing but the endpoint, the topic and who it is
    const user = await world.peer(`user${n}`, target.url, { params: { user: `user${n}` } });
    users.push({ user, channel: await user.join(target.topic) });
  }
  const all = target.users + 1;
  for (let n = 0; Object.keys(refs()).length < all; n++) {
    assert.ok(n < 100, `the watcher sees ${JSON.stringify(refs())}`);
    await new Promise((resolve) => setTimeout(resolve, target.patience / 100));
  }
  const before = refs();
  moves.length = 0;
  let serving = users.map(({ channel }) => channel.response.gateway);
  finding("joined", { gateways: serving });

  for (let drain = 0; drain < target.drains; drain++) {
    const { value: drained } = await lines.next(); // the gateway that the test is draining
    serving = await Promise.all(users.map(async ({ user, channel }, n) => {
      if (serving[n] !== drained) return serving[n];
      assert.equal(await user.closes.next(), 1012);
      return (await channel.joins.next()).gateway;
    }));
    finding("back", { gateways: serving });
  }
  await lines.next(); // what the gateways left has had its time
  for (const { channel } of users) channel.on("new_msg");
  watched.channel.push("new_msg", { n: 1 });
  for (const { channel } of users) assert.deepEqual(await channel.on("new_msg").next(), { n: 1 });
  assert.deepEqual(moves, [], "nobody was seen to come or go");
  assert.deepEqual(refs(), before, "everybody is who they were");
});
exit();
