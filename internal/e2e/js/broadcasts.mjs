// Clients of several versions on several gateways, all in one topic, that check what backends and one of them publish there.
// Target: clients (names of package.json), urls (of the gateways), topic, count (of each numbered series), patience (ms).
// Findings: "joined"; "received" with the payloads of the first two broadcasts; "ordered" for each client.

import assert from "node:assert/strict";

import { within } from "./peer.mjs";
import { exit, finding, run, target, World } from "./report.mjs";

const { clients, urls, topic, count, patience } = target;

// watchSeries resolves when every series ("backend", "client") has had its last number. It rejects at the first number out of its order.
function watchSeries(channel, name) {
  const next = { backend: 0, client: 0 };
  const other = { count: 0 }; // what others published meanwhile
  const ended = new Promise((resolve, reject) => {
    channel.channel.on("numbered", ({ series, n }) => {
      if (!(series in next)) return other.count++;
      if (n !== next[series]) reject(new Error(`${name}: ${series} ${n} came where ${next[series]} was due`));
      next[series] = n + 1;
      if (Object.values(next).every((due) => due === count)) resolve({ other: other.count });
    });
  });
  ended.catch(() => {}); // it is awaited later
  return ended;
}

await run("broadcasts", new World(), async (world) => {
  const members = [];
  for (const client of clients) {
    const { Socket } = await import(client);
    for (const [i, url] of urls.entries()) {
      const name = `${client}@${i}`;
      const channel = await (await world.peer(name, url, {}, Socket)).join(topic);
      channel.on("new_msg");
      members.push({ name, channel, ended: watchSeries(channel, name) });
    }
  }
  finding("joined", { clients: members.length });

  for (const { name, channel } of members) {
    const first = await channel.on("new_msg").next();
    const second = await channel.on("new_msg").next();
    finding("received", { client: name, payloads: [first, second] });
  }
  finding("ready");
  const speaker = members[0].channel;
  const pushes = Array.from({ length: count }, (_, n) => speaker.push("numbered", { series: "client", n }));
  for (const { name, ended } of members) {
    const { other } = await within(4 * patience, `the last number at ${name}`, ended);
    finding("ordered", { client: name, other });
  }
  for (const reply of await Promise.all(pushes)) assert.equal(reply.status, "ok");
});
exit();
