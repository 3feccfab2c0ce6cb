// A chat backend: it lets users in, keeps their messages in a JetStream stream, and lets moderators delete messages and kick people out. See README.md.
//
//   MODERATOR_TOKEN=secret node chat.js

import { DiscardPolicy, JetStreamApiError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

import { Backend, NO_REPLY, Refuse, token, tokens } from "./backend.js";

const { NATS_URL = "nats://127.0.0.1:4222", SUBJECT_PREFIX = "phx", MODERATOR_TOKEN = "" } = process.env;
const HISTORY = 50; // messages kept of each room, and pushed to whoever joins
const STREAM = "chat"; // chat.msg.<room> and chat.ban.<room>; a message's id is its sequence

const nc = await connect({ servers: NATS_URL.split(","), name: "chat-node", waitOnFirstConnect: true, maxReconnectAttempts: -1 });
const js = jetstream(nc);
const jsm = await jetstreamManager(nc);
const settings = { subjects: ["chat.msg.>", "chat.ban.>"], max_msgs_per_subject: HISTORY, discard: DiscardPolicy.Old, allow_direct: true };
await jsm.streams.add({ name: STREAM, ...settings });

const missing = (error) => {
  if (error instanceof JetStreamApiError && error.code === 10037) return null; // no message found
  throw error;
};
const stored = (query) => jsm.streams.getMessage(STREAM, query).catch(missing);
const messageOf = (m) => ({ id: m.seq, ...m.json() });

async function history(room) {
  const messages = [];
  const batch = await jsm.direct.getBatch(STREAM, { seq: 1, next_by_subj: `chat.msg.${tokens(room)}`, batch: HISTORY });
  try {
    for await (const m of batch) messages.push(messageOf(m));
  } catch (error) {
    if (messages.length > 0 || error.code !== 404) throw error; // 404: an empty room
  }
  return messages;
}

const chat = new Backend(nc, { prefix: SUBJECT_PREFIX, queue: "chat" });

// Everybody may enter under the name they give themselves. A service with accounts would look at auth_token or claims instead.
chat.connect(({ params }) => {
  const name = typeof params.name === "string" ? params.name.trim() : "";
  if (name === "" || [...name].length > 40) throw new Refuse("a name of 1 to 40 characters is needed");
  const role = MODERATOR_TOKEN !== "" && params.moderator === MODERATOR_TOKEN ? "moderator" : "member";
  return { id: `user_socket:${name}`, assigns: { name, role } };
});

const onlyModerators = ({ assigns }) => {
  if (assigns.role !== "moderator") throw new Refuse("unauthorized");
};
const banSubject = (room, name) => `chat.ban.${tokens(room)}.${token(name)}`;

chat.topic("room:*", {
  async join({ topic, channel, socket: { assigns: { name, role } } }) {
    if (await stored({ last_by_subj: banSubject(topic, name) })) throw new Refuse("banned");
    return { response: { name, role, gateway: channel.split(".")[0] }, presence: { key: name, meta: { role } } };
  },

  // The history may hold a message that is broadcast as well: clients know messages by their ids.
  async joined({ topic, channel }) {
    chat.push(channel, "history", { messages: await history(topic) });
  },

  events: {
    typing({ topic, channel, assigns: { name } }) {
      chat.broadcast(topic, "typing", { name }, { from: channel });
      return NO_REPLY;
    },

    // Kept, then told to everybody, then answered with the id.
    async new_msg({ topic, payload: { body }, assigns: { name } }) {
      if (typeof body !== "string" || body === "" || [...body].length > 2000) throw new Refuse("invalid body");
      const message = { user: name, name, body, at: Date.now() };
      const { seq: id } = await js.publish(`chat.msg.${tokens(topic)}`, JSON.stringify(message));
      chat.broadcast(topic, "new_msg", { id, ...message });
      return { id };
    },

    // For authors and moderators.
    async delete_msg({ topic, payload: { id }, assigns }) {
      const message = Number.isSafeInteger(id) && id > 0 ? await stored({ seq: id }) : null;
      if (message?.subject !== `chat.msg.${tokens(topic)}`) throw new Refuse("not found");
      if (message.json().user !== assigns.name) onlyModerators({ assigns });
      await jsm.streams.deleteMessage(STREAM, id);
      chat.broadcast(topic, "msg_deleted", { id });
    },

    // A ban, told to the others, and the end of the channels that they have there.
    async kick({ topic, payload: { name }, assigns }) {
      onlyModerators({ assigns });
      if (typeof name !== "string" || name === "" || [...name].length > 40) throw new Refuse("invalid name");
      await js.publish(banSubject(topic, name), "{}");
      chat.broadcast(topic, "kicked", { name });
      chat.leave(`user_socket:${name}`, topic);
    },

    async who({ topic }) {
      return { present: await chat.presences(topic).catch(() => { throw new Refuse("no presence service"); }) };
    },
  },
});

await chat.serve();
console.error("chat-node serves");
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => chat.stop().then(() => nc.drain()));
