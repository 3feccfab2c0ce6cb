// A client in the hand of a test, which says one thing after the other: lines of JSON on standard input, {connect: params}, {join: topic}, {leave: topic},
// {push: event, topic}. Target: url. Findings: what the client sees.

import readline from "node:readline";

import { Socket } from "phoenix18";
import WebSocket from "ws";

import { exit, finding, target } from "./report.mjs";

const channels = new Map(); // topic → Channel
let socket;

const commands = {
  connect(params) {
    socket = new Socket(target.url, { transport: WebSocket, params, reconnectAfterMs: () => 50, rejoinAfterMs: () => 60_000 });
    socket.onOpen(() => finding("open"));
    socket.onClose(({ code }) => finding("closed", { code }));
    socket.connect();
  },
  join(topic) {
    const channel = socket.channel(topic, {});
    channels.set(topic, channel);
    channel.onMessage = (event, payload) => {
      if (event !== "phx_reply" && !event.startsWith("chan_reply_")) finding("event", { topic, event, payload });
      return payload;
    };
    answered(channel.join(), "join", topic);
  },
  leave(topic) { answered(channels.get(topic).leave(), "leave", topic); },
  push(event, { topic }) { answered(channels.get(topic).push(event, {}), event, topic); },
};

function answered(push, event, topic) {
  for (const status of ["ok", "error"]) push.receive(status, (response) => finding("reply", { topic, event, status, response }));
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const said = JSON.parse(line);
  const [word] = Object.keys(said);
  commands[word](said[word], said);
}
exit();
