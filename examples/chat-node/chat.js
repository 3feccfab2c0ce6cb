// A chat backend: it lets users in, keeps their messages in an SQLite file, and lets moderators delete messages, kick people out and mute them. It also serves a page to chat on. See README.md.

import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import { connect } from "@nats-io/transport-node";
import Database from "libsql";

import { Backend, NO_REPLY, Refuse } from "./backend.js";

const { NATS_URL = "nats://127.0.0.1:4222", SUBJECT_PREFIX = "phx", MODERATOR_TOKEN = "", DB_FILE = "chat.db", PAGE_LISTEN = "localhost:4040" } = process.env;
const HISTORY = 50; // messages pushed to whoever joins
const MAX_MUTE = 7 * 24 * 3600; // seconds

const db = new Database(DB_FILE);
db.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room, id);
  CREATE TABLE IF NOT EXISTS bans (room TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (room, user)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS mutes (room TEXT NOT NULL, user TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (room, user)) WITHOUT ROWID;
`);
const addMessage = db.prepare("INSERT INTO messages (room, user, body, at) VALUES (?, ?, ?, ?)");
const lastMessages = db.prepare("SELECT * FROM (SELECT id, user, user AS name, body, at FROM messages WHERE room = ? ORDER BY id DESC LIMIT ?) ORDER BY id");
const authorOf = db.prepare("SELECT user FROM messages WHERE room = ? AND id = ?");
const deleteMessage = db.prepare("DELETE FROM messages WHERE room = ? AND id = ?");
const ban = db.prepare("INSERT OR IGNORE INTO bans (room, user) VALUES (?, ?)");
const banned = db.prepare("SELECT 1 FROM bans WHERE room = ? AND user = ?");
const mute = db.prepare("INSERT OR REPLACE INTO mutes (room, user, until) VALUES (?, ?, ?)");
const muted = db.prepare("SELECT 1 FROM mutes WHERE room = ? AND user = ? AND until > ?");

const nc = await connect({ servers: NATS_URL.split(","), name: "chat-node", waitOnFirstConnect: true, maxReconnectAttempts: -1 });
const chat = new Backend(nc, { prefix: SUBJECT_PREFIX, queue: "chat" });

const isText = (value, max) => typeof value === "string" && value !== "" && [...value].length <= max;
const digest = (text) => createHash("sha256").update(text).digest();
const isModeratorToken = (value) => MODERATOR_TOKEN !== "" && typeof value === "string" && timingSafeEqual(digest(value), digest(MODERATOR_TOKEN));
const onlyModerators = ({ role }) => {
  if (role !== "moderator") throw new Refuse("unauthorized");
};
const nameOf = (payload) => {
  if (!isText(payload?.name, 40)) throw new Refuse("invalid name");
  return payload.name;
};

// Everybody may enter under the name they give themselves. A service with accounts would look at auth_token or claims instead.
chat.connect(({ params }) => {
  const name = typeof params.name === "string" ? params.name.trim() : "";
  if (!isText(name, 40)) throw new Refuse("a name of 1 to 40 characters is needed");
  return { id: `user_socket:${name}`, assigns: { name, role: isModeratorToken(params.moderator) ? "moderator" : "member" } };
});

chat.topic("room:*", {
  join({ topic, channel, socket: { assigns: { name, role } } }) {
    if (banned.get(topic, name)) throw new Refuse("banned");
    return { response: { name, role, gateway: channel.split(".")[0] }, presence: { key: name, meta: { role } } };
  },

  // The history may hold a message that is broadcast as well: clients know messages by their ids.
  joined({ topic, channel }) {
    chat.push(channel, "history", { messages: lastMessages.all(topic, HISTORY) });
  },

  events: {
    typing({ topic, channel, assigns: { name } }) {
      chat.broadcast(topic, "typing", { name }, { from: channel });
      return NO_REPLY;
    },

    // Kept, then told to everybody, then answered with the id.
    new_msg({ topic, payload: { body }, assigns: { name } }) {
      if (!isText(body, 2000)) throw new Refuse("invalid body");
      if (muted.get(topic, name, Date.now())) throw new Refuse("muted");
      const at = Date.now();
      const id = Number(addMessage.run(topic, name, body, at).lastInsertRowid);
      chat.broadcast(topic, "new_msg", { id, user: name, name, body, at });
      return { id };
    },

    // For authors and moderators.
    delete_msg({ topic, payload: { id }, assigns }) {
      const message = Number.isSafeInteger(id) ? authorOf.get(topic, id) : undefined;
      if (!message) throw new Refuse("not found");
      if (message.user !== assigns.name) onlyModerators(assigns);
      deleteMessage.run(topic, id);
      chat.broadcast(topic, "msg_deleted", { id });
    },

    // A ban, told to the others, and the end of the channels that they have there.
    kick({ topic, payload, assigns }) {
      onlyModerators(assigns);
      const name = nameOf(payload);
      ban.run(topic, name);
      chat.broadcast(topic, "kicked", { name });
      chat.leave(`user_socket:${name}`, topic);
    },

    // No messages for some seconds; 0 ends that.
    mute({ topic, payload, assigns }) {
      onlyModerators(assigns);
      const name = nameOf(payload);
      const { seconds } = payload;
      if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds > MAX_MUTE) throw new Refuse("invalid seconds");
      mute.run(topic, name, Date.now() + seconds * 1000);
      chat.broadcast(topic, "muted", { name, seconds });
    },

    async who({ topic }) {
      return { present: await chat.presences(topic).catch(() => { throw new Refuse("no presence service"); }) };
    },
  },
});

const page = await readFile(new URL("../chat-go/index.html", import.meta.url));
const pages = createServer((_, res) => res.setHeader("Content-Type", "text/html; charset=utf-8").end(page));
const { hostname, port } = new URL(`http://${PAGE_LISTEN}`);
pages.listen(Number(port), hostname);

await chat.serve();
console.error(`chat-node serves; page http://${PAGE_LISTEN}`);
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    pages.close().closeAllConnections();
    await chat.stop();
    await nc.drain();
    db.close();
  });
}
