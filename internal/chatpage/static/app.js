// The demo chat: one Phoenix socket, one channel per joined room. Text from
// others reaches the page as text nodes only.
//
// Sections: the parts of the page; the socket; rooms; messages; typing; who is
// there; composer and name; fleet.

const { Presence, Socket } = window.Phoenix;

const USUAL_ROOMS = ["lobby", "random", "dev"];
const PUSH_TIMEOUT = 5000; // ms that a push, once it is out, may go without a reply
const TYPING_EXPIRES = 3000; // ms without a further `typing` until a name goes away
const TYPING_EVERY = 1500; // ms between two of our own `typing`
const FLEET_EVERY = 2000; // ms between two looks at /dev/fleet
const GROUP_WITHIN = 120000; // ms within which one author's messages share a heading
const KEPT_MESSAGES = 500; // per room
const SHOWN_PEOPLE = 50; // of those in a room

// --- The parts of the page

const $ = (id) => document.getElementById(id);
const stamp = (templateId) => $(templateId).content.firstElementChild.cloneNode(true);
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });

// paintAvatar gives a name its initial and a colour that is the same in every tab.
function paintAvatar(element, name) {
  let hash = 0;
  for (const c of name) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  // By the golden angle, since names that differ little hash to neighbours.
  element.style.setProperty("--hue", Math.round((hash * 137.508) % 360));
  element.textContent = [...name][0]?.toUpperCase() ?? "?";
}

function pick(words) {
  return words[Math.floor(Math.random() * words.length)];
}

function friendlyName() {
  const first = ["Brave", "Calm", "Curious", "Gentle", "Jolly", "Lucky", "Merry", "Quick", "Sunny", "Witty"];
  const second = ["Badger", "Falcon", "Finch", "Heron", "Lynx", "Marten", "Otter", "Robin", "Tapir", "Wren"];
  return `${pick(first)} ${pick(second)}`;
}

// --- The socket

let myName = sessionStorage.getItem("name") || friendlyName();
sessionStorage.setItem("name", myName);
let gateway = null; // id of the gateway that answered the latest join
let everConnected = false;
let retryAt = 0; // when the client will try again, ms since the epoch

const socket = new Socket("/socket", {
  params: () => ({ name: myName }),
  reconnectAfterMs: (tries) => {
    const wait = [50, 250, 1000, 2000][tries - 1] ?? 5000;
    retryAt = Date.now() + wait;
    return wait;
  },
});
socket.onOpen(() => { everConnected = true; showState(); });
socket.onClose(showState);
socket.onError(showState);

function showState() {
  let state = "connecting";
  let text = "connecting";
  if (socket.isConnected()) {
    state = text = "connected";
  } else if (everConnected || retryAt > 0) {
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    state = "reconnecting";
    text = seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting";
  }
  $("state").textContent = text;
  if (document.body.dataset.state === state) return;
  document.body.dataset.state = $("state").dataset.state = state;
  $("state-said").textContent = state; // for screen readers: the change, not the countdown
  lookAgain();
}

function showGateway(id) {
  if (!id || id === gateway) return;
  const moved = gateway !== null;
  gateway = id;
  $("gateway").textContent = id;
  lookAgain();
  if (!moved) return;
  for (const room of rooms.values()) room.notice(`now served by ${id}`);
  const pill = $("gateway").parentElement;
  pill.classList.remove("moved");
  void pill.offsetWidth; // restarts the animation
  pill.classList.add("moved");
}

// --- Rooms

const rooms = new Map(); // name → Room, those joined
let current = null;

class Room {
  constructor(name) {
    this.name = name;
    this.unread = 0;
    this.myNameHere = myName; // as the gateway knows it, from the join's reply
    this.waiting = []; // own messages to push once joined, oldest first
    this.unechoed = []; // own messages pushed whose broadcast has not come yet, oldest first
    this.closed = false; // by the gateway, after which the client does not join again
    this.typers = new Map(); // name → timer that removes it
    this.last = null; // author and time of the last message, for grouping
    this.trouble = null; // the notice that says why the room cannot be joined
    this.log = document.createElement("ol");
    this.log.className = "log";
    this.log.setAttribute("role", "log");
    this.log.setAttribute("aria-live", "polite");
    this.log.setAttribute("aria-label", `Messages in ${name}`);
    this.log.tabIndex = 0;
    this.log.hidden = true;
    this.following = true; // the reader is at the end and wants to stay there
    this.log.addEventListener("scroll", () => {
      this.following = this.atEnd();
      if (this.following) $("to-end").hidden = true;
    });
    $("logs").append(this.log);

    this.channel = socket.channel(`room:${name}`);
    this.channel.on("new_msg", (payload) => this.received(payload));
    this.channel.on("typing", (payload) => this.typed(payload));
    this.presence = new Presence(this.channel);
    this.presence.onSync(() => { if (this === current) showPeople(); });
    this.channel.onClose(() => this.closedByGateway());
    this.channel.join()
      .receive("ok", (response) => this.joined(response))
      .receive("error", (response) => this.refused(reasonOf(response)))
      .receive("timeout", () => this.refused("no answer"));
  }

  joined(response) {
    this.trouble?.remove();
    this.trouble = null;
    this.myNameHere = response?.name ?? myName;
    showGateway(response?.gateway);
    // One that timed out before and was then put here may have arrived after all.
    const waiting = this.waiting.filter(({ state }) => state === "waiting");
    this.waiting = [];
    for (const message of waiting) this.push(message);
    this.away = false; // as the gateway has it after a join
    this.tellAway();
  }

  // tellAway makes the others see whether this tab is being looked at.
  tellAway() {
    if (this.away === document.hidden || !this.channel.canPush()) return;
    this.away = document.hidden;
    this.channel.push("status", { away: this.away });
  }

  // The client keeps trying to join, so there is one notice and not one per try.
  refused(reason) {
    const text = `cannot join: ${reason} (trying again)`;
    if (this.trouble) this.trouble.firstChild.textContent = text;
    else this.trouble = this.notice(text);
  }

  closedByGateway() {
    if (rooms.get(this.name) !== this) return; // we left it
    this.closed = true;
    this.notice("the gateway closed this room");
    for (const message of this.waiting) if (message.state === "waiting") this.push(message);
    this.waiting = [];
  }

  leave() {
    rooms.delete(this.name);
    for (const timer of this.typers.values()) clearTimeout(timer);
    this.channel.leave();
    this.log.remove();
  }

  atEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
  }

  toEnd() {
    this.following = true;
    this.log.scrollTop = this.log.scrollHeight;
  }

  append(item, always = false) {
    const follow = always || this.following;
    this.log.append(item);
    while (this.log.childElementCount > KEPT_MESSAGES) this.log.firstElementChild.remove();
    if (follow) this.toEnd();
    else if (this === current) $("to-end").hidden = false;
  }

  notice(text) {
    const item = document.createElement("li");
    item.className = "notice";
    const label = document.createElement("span");
    label.textContent = text;
    item.append(label);
    this.append(item);
    this.last = null;
    return item;
  }

  // --- Messages

  received(payload) {
    const body = String(payload?.body ?? "");
    const name = String(payload?.name ?? "someone");
    this.stoppedTyping(name);
    // Without a name, which rules that set none leave out, the body must do.
    if (name === this.myNameHere || payload?.name == null) {
      const own = this.unechoed.findIndex((message) => message.body === body);
      if (own >= 0) return this.unechoed.splice(own, 1)[0].settle("sent");
    }
    this.add(name, body, false);
    if (this !== current || document.hidden) {
      this.unread++;
      showRooms();
    }
  }

  add(name, body, own) {
    const now = new Date();
    const item = stamp("message-item");
    const [author, time] = [item.querySelector(".author"), item.querySelector("time")];
    author.textContent = name;
    time.textContent = clock.format(now);
    time.dateTime = now.toISOString();
    item.querySelector(".bubble").textContent = body;
    paintAvatar(item.querySelector(".avatar"), name);
    item.classList.toggle("own", own);
    const grouped = this.last?.name === name && this.last.own === own && now - this.last.at < GROUP_WITHIN;
    item.classList.toggle("grouped", grouped);
    this.last = { name, own, at: now };
    this.append(item, own);
    return item;
  }

  send(body) {
    const item = this.add(this.myNameHere, body, true);
    const problem = item.querySelector(".problem");
    const message = {
      body,
      state: "", // waiting → sending → sent or failed; failed → waiting or sending by "Retry"
      settle: (state, reason = "") => {
        message.state = item.dataset.state = state;
        item.querySelector(".pending").hidden = state !== "waiting";
        problem.hidden = state !== "failed";
        item.querySelector(".reason").textContent = reason;
        if (this.following) this.toEnd(); // the line below the bubble came or went
      },
    };
    item.querySelector(".retry").addEventListener("click", () => {
      this.push(message);
      $("body").focus();
    });
    this.push(message);
  }

  // The client buffers a push made while not joined, but starts its timeout at
  // once. Here a message waits instead, so that only the gateway's time counts.
  //
  // The reply and the broadcast come in either order, and after a timeout the
  // broadcast may still come: it is the proof that the message got through.
  push(message) {
    if (this.closed) return message.settle("failed", "Not sent: this room is closed.");
    if (!this.channel.canPush()) {
      this.waiting.push(message);
      return message.settle("waiting");
    }
    message.settle("sending");
    if (!this.unechoed.includes(message)) this.unechoed.push(message);
    this.channel.push("new_msg", { body: message.body }, PUSH_TIMEOUT)
      .receive("ok", () => message.settle("sent"))
      .receive("error", (response) => {
        this.unechoed = this.unechoed.filter((other) => other !== message);
        message.settle("failed", `Not sent: ${reasonOf(response)}.`);
      })
      .receive("timeout", () => {
        if (this.unechoed.includes(message)) message.settle("failed", "No answer: perhaps not sent.");
      });
  }

  // --- Typing

  typed(payload) {
    const name = String(payload?.name ?? "someone");
    clearTimeout(this.typers.get(name));
    this.typers.set(name, setTimeout(() => this.stoppedTyping(name), TYPING_EXPIRES));
    showTyping();
    showPeople();
  }

  stoppedTyping(name) {
    clearTimeout(this.typers.get(name));
    if (!this.typers.delete(name)) return;
    showTyping();
    showPeople();
  }

  // --- Who is there

  // people is everyone in the room: a presence key is a person, a meta one of the tabs.
  people() {
    return this.presence.list((key, { metas }) => {
      const name = String(metas[0]?.name ?? key);
      return { name, tabs: metas.length, away: metas.every(({ away }) => away === true), typing: this.typers.has(name), me: name === this.myNameHere };
    }).sort((a, b) => b.me - a.me || a.away - b.away || a.name.localeCompare(b.name));
  }
}

function reasonOf(response) {
  const reason = response?.reason ?? response?.error ?? response;
  return typeof reason === "string" ? reason : JSON.stringify(reason ?? "error");
}

function enter(name) {
  const left = current;
  if (!rooms.has(name)) rooms.set(name, new Room(name));
  current = rooms.get(name);
  if ($("one-room").checked && left && left !== current) left.leave();
  current.unread = 0;
  for (const room of rooms.values()) room.log.hidden = room !== current;
  current.toEnd();
  $("to-end").hidden = true;
  $("room-title").textContent = `#${name}`;
  $("room-topic").textContent = `room:${name}`;
  $("body").placeholder = `Message #${name}`;
  showRooms();
  $("rooms").querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  showTyping();
  showPeople();
}

function showRooms() {
  const names = [...new Set([...USUAL_ROOMS, ...rooms.keys()])];
  const focused = document.activeElement?.dataset?.room;
  $("rooms").replaceChildren(...names.map((name) => {
    const item = stamp("room-item");
    const button = item.querySelector("button");
    const room = rooms.get(name);
    button.dataset.room = name;
    button.querySelector(".label").textContent = name;
    button.classList.toggle("joined", room !== undefined);
    button.title = room ? `room:${name}` : `Join room:${name}`;
    if (room && room === current) button.setAttribute("aria-current", "true");
    if (room?.unread) {
      const badge = button.querySelector(".badge");
      badge.hidden = false;
      badge.textContent = room.unread > 99 ? "99+" : room.unread;
      badge.setAttribute("aria-label", `${room.unread} unread`);
    }
    button.addEventListener("click", () => { enter(name); $("body").focus(); });
    return item;
  }));
  if (focused) $("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}#${current.name} · phxgate chat`;
  $("leave").disabled = rooms.size < 2;
}

function showTyping() {
  const names = current ? [...current.typers.keys()] : [];
  let text = "";
  if (names.length === 1) text = `${names[0]} is typing`;
  if (names.length === 2) text = `${names[0]} and ${names[1]} are typing`;
  if (names.length > 2) text = "several people are typing";
  $("typing").textContent = text;
}

// showPeople lists who is in the current room.
function showPeople() {
  const people = current?.people() ?? [];
  $("here-count").textContent = people.length ? `${people.length} here` : "";
  $("people-more").hidden = people.length <= SHOWN_PEOPLE;
  $("people-more").textContent = `and ${people.length - SHOWN_PEOPLE} more`;
  $("people").replaceChildren(...people.slice(0, SHOWN_PEOPLE).map(({ name, tabs, away, typing, me }) => {
    const item = stamp("person-item");
    paintAvatar(item.querySelector(".avatar"), name);
    item.classList.toggle("away", away);
    item.dataset.name = name;
    item.querySelector(".label").textContent = me ? `${name} (you)` : name;
    item.querySelector(".tabs").hidden = tabs < 2;
    item.querySelector(".tabs").textContent = `${tabs} tabs`;
    item.querySelector(".doing").textContent = typing ? "typing…" : away ? "away" : "";
    return item;
  }));
}

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-input").value.trim().replace(/^(#|room:)/, "");
  if (!name) return;
  $("room-input").value = "";
  enter(name);
  $("body").focus();
});

$("leave").addEventListener("click", () => {
  const left = current;
  enter([...rooms.keys()].find((name) => name !== left.name));
  if (rooms.has(left.name)) left.leave();
  showRooms();
});

$("to-end").addEventListener("click", () => {
  current.toEnd();
  $("to-end").hidden = true;
});

// A keyboard that slides in, or a longer draft, must not hide the latest message.
new ResizeObserver(() => { if (current?.following) current.toEnd(); }).observe($("logs"));

document.addEventListener("visibilitychange", () => {
  for (const room of rooms.values()) room.tellAway();
  if (document.hidden || !current) return;
  current.unread = 0;
  showRooms();
});

// --- Composer and name

let typingSaidAt = 0;

function fitComposer() {
  $("body").style.height = "auto";
  $("body").style.height = `${$("body").scrollHeight}px`;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = $("body").value.trim();
  if (!body) return;
  $("body").value = "";
  fitComposer();
  typingSaidAt = 0;
  current.send(body);
});

$("body").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("body").addEventListener("input", () => {
  fitComposer();
  if (!$("body").value || Date.now() - typingSaidAt < TYPING_EVERY || !current.channel.canPush()) return;
  typingSaidAt = Date.now();
  current.channel.push("typing", {});
});

function showName() {
  paintAvatar($("name-avatar"), myName);
  $("name-input").value = myName;
  $("name-save").hidden = true;
}

$("name-input").addEventListener("input", () => {
  $("name-save").hidden = $("name-input").value.trim() === myName;
});

// The name is part of the socket's identity, so a new one takes a new connection.
$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name-input").value.trim();
  if (name && name !== myName) {
    myName = name;
    sessionStorage.setItem("name", name);
    socket.disconnect(() => socket.connect());
  }
  showName();
  $("body").focus();
});

// --- Fleet

let fleet = null; // the gateways of the latest /dev/fleet; null where there is none
let fleetKnown = false; // no look has failed, and the socket not changed, since that answer
let looks = 0; // begun so far, since only the latest one's answer counts
let nextLook = 0; // the timer

// watchFleet looks now and every FLEET_EVERY. It ends at a 404: then this is no
// fleet that can be watched.
async function watchFleet() {
  const look = ++looks;
  clearTimeout(nextLook);
  let answer = null;
  try {
    const response = await fetch("/dev/fleet", { cache: "no-store", signal: AbortSignal.timeout(FLEET_EVERY) });
    if (response.status === 404) return;
    if (response.ok) answer = (await response.json()).gateways;
  } catch {
    // The host is away for the moment.
  }
  if (look !== looks) return;
  fleetKnown = Array.isArray(answer);
  if (fleetKnown) fleet = answer;
  showFleet();
  nextLook = setTimeout(watchFleet, FLEET_EVERY);
}

// lookAgain is for when the socket opened, closed or moved: what the panel shows
// may no longer be so.
function lookAgain() {
  if (!fleet) return; // none, or the first look is still under way
  fleetKnown = false;
  showFleet();
  watchFleet();
}

// showFleet keeps what was last known in its place, marked as unknown, while the
// fleet cannot be asked or this tab is without a gateway.
function showFleet() {
  if (!fleet) return;
  const known = fleetKnown && socket.isConnected();
  $("fleet").hidden = false;
  $("fleet").classList.toggle("stale", !known);
  $("gateways").replaceChildren(...fleet.map(({ id, url, up }) => {
    const item = stamp("gateway-item");
    const serves = known && up && id === gateway;
    const address = String(url ?? "").replace(/^\w+:\/\//, "");
    item.classList.toggle("up", up);
    item.classList.toggle("serves", serves);
    item.querySelector(".gw-id").textContent = id;
    item.querySelector(".gw-url").textContent = item.querySelector(".gw-url").title = address;
    item.querySelector(".gw-note").textContent = !known ? "unknown" : serves ? "this tab" : up ? "up" : "down";
    return item;
  }));
  $("kill").disabled = !known || !fleet.some(({ id, up }) => up && id === gateway);
}

$("kill").addEventListener("click", async () => {
  const id = gateway;
  $("kill").disabled = true;
  let note = `killed ${id}`;
  try {
    const response = await fetch(`/dev/kill?id=${encodeURIComponent(id)}`, { method: "POST" });
    if (!response.ok) note = `cannot kill ${id}: ${response.status}`;
  } catch {
    // The answer may have died with the gateway; the panel shows what is so.
  }
  $("kill-note").textContent = note;
  setTimeout(() => { if ($("kill-note").textContent === note) $("kill-note").textContent = ""; }, 5000);
});

$("more").addEventListener("click", () => {
  const open = document.body.classList.toggle("more");
  $("more").setAttribute("aria-expanded", String(open));
});

// --- Start

showName();
socket.connect();
enter(USUAL_ROOMS[0]);
showState();
setInterval(showState, 250); // for the countdown, and because a new try has no event
watchFleet();
