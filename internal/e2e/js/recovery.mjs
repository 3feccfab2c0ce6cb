// One client whose gateway ends, again and again. Target: client (a name of package.json), url (of the fleet), topics, rounds ([{code}], the close code
// that each end must show), patience (ms). Findings: "joined" and "rejoined" with the gateway's id, upon which the test ends the gateway or broadcasts.

import assert from "node:assert/strict";

import { exit, finding, run, target, World } from "./report.mjs";

const { Socket } = await import(target.client);

await run("recovered", new World(Socket), async (world) => {
  const ann = await world.peer("ann", target.url); // with the waits that the client has by itself
  const channels = await Promise.all(target.topics.map((topic) => ann.join(topic)));
  for (const channel of channels) channel.on("new_msg");
  finding("joined", { gateway: channels[0].response.gateway });

  for (const [round, { code }] of target.rounds.entries()) {
    assert.equal(await ann.closes.next(), code);
    finding("closed", { code });
    const responses = await Promise.all(channels.map(({ joins }) => joins.next()));
    finding("rejoined", { gateway: responses[0].gateway });
    const payloads = await Promise.all(channels.map((channel) => channel.on("new_msg").next()));
    for (const payload of payloads) assert.deepEqual(payload, { round });
    finding("received", { round });
  }
  for (const channel of channels) {
    assert.deepEqual(channel.on("new_msg").waiting, [], "every broadcast once");
    assert.deepEqual(channel.joins.waiting, [], "one join for every end");
  }
});
exit();
