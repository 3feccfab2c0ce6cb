// The chat page in Chromium. Target: scenario ("fleet" or "single"), chromium (the program), base (URL of the fleet's balancer, or of the single gateway),
// gateways (URLs of two gateways of the fleet), shots (a directory for screenshots), patience (ms).

import assert from "node:assert/strict";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";

import { chromium } from "playwright-core";

import { Tab } from "./page.mjs";
import { finding, target } from "./report.mjs";

const html = '<img src=x onerror="window.harmed = true"><b>bold</b> & <script>window.harmed = true</script>';

const browser = await chromium.launch({
  executablePath: target.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const tabs = [];

async function open(name, url, more = {}) {
  const tab = await Tab.open(browser, { name, url, patience: target.patience, ...more });
  tabs.push(tab);
  return tab;
}

const shot = (tab, name) => tab.screenshot(path.join(target.shots, `${name}.png`));

// talk has two tabs exchange messages, and see each other type.
async function talk(ann, bob) {
  await ann.send("Hello from Ann");
  await bob.waitForMessage("Ann", "Hello from Ann");
  await bob.send("Hello from Bob");
  await ann.waitForMessage("Bob", "Hello from Bob");

  await ann.waitForPeople(["Ann (you)", "Bob"]);
  await bob.waitForPeople(["Bob (you)", "Ann"]);
  await bob.type("I am");
  await ann.waitForTyping("Bob is typing");
  await ann.waitForPeople(["Ann (you)", "Bob, typing…"]);
  await shot(ann, `${target.scenario}-typing`);
  await bob.send("I am here");
  await ann.waitForMessage("Bob", "I am here");
  await ann.waitForTyping(""); // the message ends it

  await ann.send(html);
  const bubble = await bob.waitForMessage("Ann", html);
  assert.equal(await bubble.locator("*").count(), 0, "HTML is shown as text");
  for (const tab of [ann, bob]) assert.equal(await tab.page.evaluate(() => window.harmed), undefined);
}

// wantNoErrors wants that no script threw, and that the browser reported no error but those that match.
function wantNoErrors(except = /^$/) {
  assert.deepEqual(tabs.flatMap(({ thrown }) => thrown), []);
  assert.deepEqual(tabs.flatMap(({ reported }) => reported).filter((text) => !except.test(text)), []);
}

const scenarios = {
  async single() {
    const ann = await open("Ann", target.base);
    const bob = await open("Bob", target.base, { colorScheme: "dark" });
    await talk(ann, bob);
    assert.equal(await ann.page.locator("#fleet").isVisible(), false, "there is no fleet to show");
    const again = await open("Bob", target.base);
    await ann.waitForPeople(["Ann (you)", "Bob, 2 tabs"]);
    await again.hide(true);
    await bob.hide(true);
    await ann.waitForPeople(["Ann (you)", "Bob, 2 tabs, away"]);
    await shot(ann, "single-people");
    await bob.hide(false);
    await again.page.close();
    await ann.waitForPeople(["Ann (you)", "Bob"]);
    await bob.rename("Robert");
    await bob.send("I have another name");
    await ann.waitForMessage("Robert", "I have another name");
    await ann.waitForPeople(["Ann (you)", "Robert"]);
    await shot(bob, "single-dark");
    wantNoErrors(/ 404 /); // from which the page learns that there is no fleet
  },

  async fleet() {
    const ann = await open("Ann", target.gateways[0]);
    const bob = await open("Bob", target.gateways[1]);
    assert.notEqual(await ann.gateway(), await bob.gateway());
    await talk(ann, bob);
    wantNoErrors();
    await shot(bob, "fleet-two-gateways");
    finding("talked");

    const cat = await open("Cat", target.base);
    const dan = await open("Dan", target.base);
    await cat.send("Hello from Cat");
    for (const tab of [ann, bob, dan]) await tab.waitForMessage("Cat", "Hello from Cat");
    const killed = await cat.gateway();
    const danOn = await dan.gateway();
    await cat.watchStates();
    await cat.page.locator("#kill:enabled").click();
    const moved = await cat.waitForMove();
    assert.notEqual(moved, killed);
    assert.deepEqual(await cat.states(), ["connected", "reconnecting", "connected"]);
    finding("moved", { from: killed, to: moved });
    await cat.page.locator(".gw:not(.up)", { hasText: killed }).waitFor();
    await cat.page.locator(".gw.serves", { hasText: moved }).waitFor();
    await shot(cat, "fleet-moved");

    if (danOn === killed) await dan.waitForMove();
    for (const tab of [cat, dan]) await tab.waitForPeople([`${tab.name} (you)`, ...["Ann", "Bob", "Cat", "Dan"].filter((name) => name !== tab.name)]);
    await cat.send("I am back");
    await dan.waitForMessage("Cat", "I am back");
    await dan.send("So you are");
    await cat.waitForMessage("Dan", "So you are");
    await shot(cat, "fleet-after-kill");
    wantNoErrors(/WebSocket|Failed to load resource/); // what was under way at the gateway when it was killed
  },
};

try {
  await scenarios[target.scenario]();
  finding(target.scenario, { ok: true });
} catch (error) {
  finding(target.scenario, { ok: false, error: stripVTControlCharacters(String(error?.message ?? error)) });
  process.stderr.write(`${stripVTControlCharacters(String(error?.stack ?? error))}\n`);
  for (const tab of tabs) {
    process.stderr.write(`--- ${tab.name}: ${await tab.page.locator("body").innerText().catch(String)}\n${[...tab.thrown, ...tab.reported].join("\n")}\n`);
    await shot(tab, `failed-${tab.name}`).catch(() => {});
  }
  process.exitCode = 1;
} finally {
  await browser.close();
}
