// What the browser tests share: an installation of their own from bin/, a browser, and a gateway that speaks Berth frames.
import { spawn, execFile } from "node:child_process";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import axe from "axe-core";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const program = join(process.env.BERTH_BIN ?? join(here, "..", "..", "bin"), "provisioner");
export const out = join(here, "out");

// patience bounds every wait, on a machine that does much else; tests go on as soon as they can.
export const patience = 120_000;

// freeBase finds a port base above which the first ports are free, where neither the kernel nor Go's tests take any.
async function freeBase() {
  const free = (port) => new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
  for (;;) {
    const base = 28000 + Math.floor(Math.random() * 4000);
    if ((await Promise.all([1, 2, 3].map((n) => free(base + n)))).every(Boolean)) return base;
  }
}

// start runs `provisioner serve` in a directory of its own and returns when it has printed its sign-in link.
export async function start() {
  await mkdir(out, { recursive: true });
  const data = await mkdtemp(join(tmpdir(), "berth-browser-"));
  const base = await freeBase();
  const daemon = spawn(program, ["serve", "--data", data, "--web", "127.0.0.1:0", "--host", "127.0.0.1", "--port-base", String(base)]);
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  let log = "";
  daemon.stderr.on("data", (chunk) => { log += chunk; });
  const link = await new Promise((resolve, reject) => {
    createInterface(daemon.stdout).on("line", (line) => {
      log += `${line}\n`;
      const found = line.match(/http:\S+\/sign-in\?link=\S+/);
      if (found) resolve(found[0]);
    });
    daemon.once("error", reject);
    daemon.once("exit", (code) => reject(new Error(`provisioner serve ended with ${code}:\n${log}`)));
  });
  const run = async (...args) => {
    const { stdout } = await promisify(execFile)(program, [...args, "--data", data]);
    return args.includes("json") ? JSON.parse(stdout) : stdout;
  };
  const stop = async () => {
    daemon.kill("SIGINT");
    const code = await ended;
    await rm(data, { recursive: true, force: true });
    return code;
  };
  return { link, origin: new URL(link).origin, run, stop, log: () => log };
}

// browser starts Chromium.
export function browser() {
  return chromium.launch({
    executablePath: process.env.BERTH_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run",
      "--disable-component-update", "--disable-sync"],
  });
}

// watched opens a page that notes what must not happen: errors of scripts, breaches of the content security policy, and
// requests to other hosts.
export async function watched(context, origin) {
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.wrong = [];
  page.on("pageerror", (error) => page.wrong.push(`script: ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error") page.wrong.push(`console: ${message.text()}`); });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "data:") page.wrong.push(`request: ${request.url()}`);
  });
  return page;
}

// send writes bytes to a port, closes its side, and returns the answer.
export function send(port, bytes) {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.end(bytes));
    socket.setTimeout(patience, () => socket.destroy(new Error("no answer")));
    socket.on("data", (chunk) => { answer += chunk; }).once("error", reject).once("close", () => resolve(answer));
  });
}

// frame returns a conversation in Berth frames with one payload of line protocol.
export function frame(gateway, key, payload) {
  return `HELLO ${gateway} ${key}\nPUT 1 line ${Buffer.byteLength(payload)}\n${payload}`;
}

// printed returns what a printed `printf '…' | nc …` sends.
export function printed(command) {
  const found = command.match(/^printf '([^']*)' \| nc .* (\S+) (\d+)$/);
  if (!found) throw new Error(`not a line to paste: ${command}`);
  return { bytes: found[1].replaceAll("\\n", "\n"), host: found[2], port: Number(found[3]) };
}

// barriers returns what axe finds of WCAG 2.2 AA: its rule, and where.
export async function barriers(page) {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const found = await window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`);
  });
}
