// What a script says to the test that runs it: one JSON line per finding on standard output, a transcript on standard error, status 1 on failure.

import { Peer, Transcript, within } from "./peer.mjs";

// target is what the test passes: one JSON object as the only argument.
export const target = JSON.parse(process.argv[2] ?? "{}");

export function finding(name, fields = {}) {
  process.stdout.write(`${JSON.stringify({ finding: name, ...fields })}\n`);
}

// World makes the peers of one scenario and ends them.
export class World {
  constructor(Socket) {
    this.Socket = Socket;
    this.transcript = new Transcript();
    this.peers = [];
  }

  // peer connects a new peer; options are those of Socket.
  peer(name, url, options = {}, Socket = this.Socket) {
    const peer = new Peer(Socket, { name, url, options, transcript: this.transcript, patience: target.patience });
    this.peers.push(peer);
    return peer.open();
  }

  end() {
    for (const peer of this.peers) peer.close();
  }
}

// run runs one scenario. It reports {finding: name, ok, error}, and the transcript where it failed, and returns ok.
export async function run(name, world, scenario) {
  try {
    await within(5 * target.patience, "the end of the scenario", scenario(world));
    finding(name, { ok: true });
    return true;
  } catch (error) {
    finding(name, { ok: false, error: String(error?.message ?? error) });
    process.stderr.write(`--- ${name}: ${error?.stack ?? error}\n${world.transcript}\n`);
    process.exitCode = 1;
    return false;
  } finally {
    world.end();
  }
}

// exit ends the script: clients of before 1.7 keep the timer of their next heartbeat after a disconnect.
export function exit() {
  process.exit();
}
