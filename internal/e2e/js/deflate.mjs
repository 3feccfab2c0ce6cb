// Clients that compress and one that does not, on a gateway that may. Target: url (a socket URL).

import assert from "node:assert/strict";

import { Socket } from "phoenix18";
import { WebSocket } from "ws";

import { exit, finding, target } from "./report.mjs";

class Plain extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { perMessageDeflate: false });
  }
}

class Fragmenting extends WebSocket {
  // send sends a message in pieces, all of them compressed as one.
  send(data) {
    const third = Math.ceil(data.length / 3);
    for (const at of [0, 1, 2]) super.send(data.slice(at * third, (at + 1) * third), { fin: at === 2, compress: true });
  }
}

const opened = (socket) => new Promise((resolve, reject) => {
  socket.onOpen(() => resolve(socket.conn));
  socket.onError(reject);
  socket.connect();
});

const answered = (push) => new Promise((resolve, reject) => {
  push.receive("ok", resolve).receive("error", reject).receive("timeout", () => reject(new Error("timeout")));
});

const clients = [];
for (const transport of [WebSocket, Fragmenting, Plain]) {
  const socket = new Socket(target.url, { transport });
  const connection = await opened(socket);
  assert.equal(connection.extensions.includes("permessage-deflate"), transport !== Plain, connection.extensions);
  const channel = socket.channel("room:deflate");
  const heard = [];
  let wake = () => {};
  channel.on("new_msg", (message) => { heard.push(message); wake(); });
  await answered(channel.join());
  clients.push({ socket, channel, heard, async next() {
    while (heard.length === 0) await new Promise((resolve) => { wake = resolve; });
    return heard.shift();
  } });
}

let n = 0;
for (const size of [10, 300, 20_000, 45_000]) {
  for (const sender of clients) {
    const body = `${n++} ` + "spam and eggs é😀 ".repeat(size / 16);
    sender.channel.push("new_msg", { body });
    for (const client of clients) assert.equal((await client.next()).body, body);
  }
}
finding("heard", { messages: n });
for (const { socket } of clients) socket.disconnect();
exit();
