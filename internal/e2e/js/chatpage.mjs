// The page of the chat examples in Chromium. Target: chromium (the program), member and moderator (URLs of the page), patience (ms).

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

import { finding, target } from "./report.mjs";

const browser = await chromium.launch({ executablePath: target.chromium, args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
const wrong = [];

async function open(url) {
  const context = await browser.newContext();
  context.setDefaultTimeout(target.patience);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrong.push(String(error)));
  await page.goto(url);
  await page.locator("#notice", { hasText: "You are" }).waitFor();
  return page;
}

async function say(page, text) {
  await page.locator("input").fill(text);
  await page.locator("input").press("Enter");
}

const message = (page, text) => page.locator("#messages li", { has: page.getByText(text, { exact: true }) });
const person = (page, text) => page.locator("#people li", { hasText: text });

try {
  const ann = await open(target.member);
  const markup = "<b>hello</b>";
  await say(ann, markup);
  await message(ann, markup).waitFor();
  const mo = await open(target.moderator);
  await message(mo, markup).waitFor(); // the history
  await person(ann, "Mo ★").waitFor();
  assert.equal(await person(ann, "Mo").getByRole("button").count(), 0, "a member moderates nobody");

  await Promise.all([ // it is shown for some seconds only
    mo.locator("#typing", { hasText: "Ann is typing" }).waitFor(),
    ann.locator("input").pressSequentially("sp"),
  ]);
  await say(ann, "spam");
  await message(mo, "spam").getByRole("button", { name: "delete" }).click();
  await message(ann, "spam").waitFor({ state: "detached" });

  await person(mo, "Ann").getByRole("button", { name: "mute" }).click();
  await ann.locator("#notice", { hasText: "Ann is muted" }).waitFor();
  await say(ann, "more spam");
  await ann.locator("#notice", { hasText: "new_msg: muted" }).waitFor();
  await person(mo, "Ann").getByRole("button", { name: "kick" }).click();
  await ann.locator("#notice", { hasText: "You were kicked out." }).waitFor();
  await ann.locator("form").waitFor({ state: "hidden" });
  await person(mo, "Ann").waitFor({ state: "detached" });
  assert.deepEqual(wrong, []);
  finding("page", { ok: true });
} catch (error) {
  finding("page", { ok: false, error: String(error?.stack ?? error) });
  process.exitCode = 1;
} finally {
  await browser.close();
}
