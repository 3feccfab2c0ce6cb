// The names of docs/contract.md, "Topics and subjects" and "Headers": each has exactly one form, and every other is refused. Run by `node --test`.

import assert from "node:assert/strict";
import test from "node:test";

import { headerValue, parseHeaderValue, parseToken, parseTokens, token, tokens } from "./backend.js";

test("names", () => {
  for (const [topic, text] of Object.entries({
    "room:lobby": "room.lobby", "user:42:inbox": "user.42.inbox", "doc:a.b/c d*": "doc.a=2Eb=2Fc=20d=2A", "room:": "room.=", lobby: "lobby", ":": "=.=", "é🎈": "=C3=A9=F0=9F=8E=88",
  })) {
    assert.equal(tokens(topic), text);
    assert.equal(parseTokens(text), topic);
  }
  assert.equal(token("user_socket:42"), "user_socket=3A42");
  assert.equal(parseToken("user_socket=3A42"), "user_socket:42");
  for (const [name, value] of Object.entries({
    new_msg: "new_msg", "room:a.b/c d*": "room:a.b/c d*", "a=b": "a=3Db", " a": "=20a", "a ": "a=20", "room:é.x": "room:=C3=A9=2Ex", "a\nb": "a=0Ab",
  })) {
    assert.equal(headerValue(name), value);
    assert.equal(parseHeaderValue(value), name);
  }
});

test("reading is strict", () => {
  for (const text of ["a.", "a..b", "=2e", "=41", "=3A", "=2", "a=", "a b", "=FF"]) assert.throws(() => parseTokens(text), undefined, text);
  for (const text of ["", "=2e", "=41", "a.b", "a:b"]) assert.throws(() => parseToken(text), undefined, text);
  for (const text of ["=", "a=", "=2e", "=41", "=3A", "a b=3D"]) assert.throws(() => parseHeaderValue(text), undefined, text);
});
