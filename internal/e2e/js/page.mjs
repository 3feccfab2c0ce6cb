// The chat page as somebody uses it: one tab, by what it shows.

import assert from "node:assert/strict";

export class Tab {
  // open opens the page at url in a browser context of its own, under a name. What its script throws is kept in
  // thrown, what else the browser reports as an error in reported.
  static async open(browser, { name, url, patience, colorScheme = "light" }) {
    const context = await browser.newContext({ colorScheme, viewport: { width: 1100, height: 720 } });
    context.setDefaultTimeout(patience);
    // Where the page keeps its name; only the first time, so that a new name holds after a reload.
    await context.addInitScript((own) => {
      if (!sessionStorage.getItem("name")) sessionStorage.setItem("name", own);
    }, name);
    const tab = new Tab(await context.newPage(), name);
    await tab.page.goto(url);
    await tab.waitForState("connected");
    return tab;
  }

  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.thrown = [];
    this.reported = [];
    page.on("pageerror", (error) => this.thrown.push(`${name}: ${error.stack ?? error}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.reported.push(`${name}: ${message.text()}`);
    });
  }

  // waitForState waits until the page says so and, where that is "connected", names its gateway.
  async waitForState(state) {
    await this.page.locator(`body[data-state="${state}"]`).waitFor();
    if (state === "connected") await this.page.locator("#gateway", { hasNotText: "–" }).waitFor();
  }

  // gateway is the id that the page shows.
  gateway() {
    return this.page.locator("#gateway").textContent();
  }

  // type types without sending.
  async type(text) {
    await this.page.locator("#body").pressSequentially(text);
  }

  // send sends a message and waits until it is shown as sent.
  async send(text) {
    await this.page.locator("#body").fill(text);
    await this.page.locator("#body").press("Enter");
    await this.page.locator('.message.own[data-state="sent"] .bubble').getByText(text, { exact: true }).waitFor();
  }

  // waitForMessage waits until a message of somebody else is shown and returns its bubble.
  async waitForMessage(author, text) {
    const message = this.page.locator(".message:not(.own)", { has: this.page.getByText(text, { exact: true }) });
    await message.waitFor();
    // A message of the same author as the one above shows no name.
    assert.equal(await message.locator(".author").textContent(), author);
    return message.locator(".bubble");
  }

  // waitForTyping waits until the line above the composer says text.
  async waitForTyping(text) {
    await this.page.waitForFunction((want) => document.getElementById("typing").textContent === want, text);
  }

  // waitForPeople waits until the page lists these people as here: "Bob, 2 tabs, away".
  async waitForPeople(want) {
    await this.page.waitForFunction((text) => [...document.querySelectorAll("#people .person")].map((item) => {
      const shown = [...item.querySelectorAll(".label, .tabs:not([hidden]), .doing:not(:empty)")];
      return shown.map((part) => part.textContent).join(", ");
    }).join("; ") === text, want.join("; "));
  }

  // hide makes the page think that it is not being looked at, or is again.
  async hide(hidden) {
    await this.page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  }

  // waitForMove waits until the page says that another gateway serves it, and returns that one's id.
  async waitForMove() {
    await this.page.locator(".notice", { hasText: "now served by" }).waitFor();
    await this.waitForState("connected");
    return this.gateway();
  }

  // watchStates keeps the states that the page goes through, however short; states reads them.
  async watchStates() {
    await this.page.evaluate(() => {
      window.states = [document.body.dataset.state];
      new MutationObserver(() => window.states.push(document.body.dataset.state))
        .observe(document.body, { attributeFilter: ["data-state"] });
    });
  }

  states() {
    return this.page.evaluate(() => window.states);
  }

  async rename(name) {
    await this.page.locator("#name-input").fill(name);
    await this.page.locator("#name-save").click();
    this.name = name;
  }

  screenshot(path) {
    return this.page.screenshot({ path, animations: "disabled" });
  }
}
