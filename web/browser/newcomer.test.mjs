// The newcomer's path in a real browser, against the real programs: sign in, connect, see the first reading on a chart,
// and the second one live. Screenshots are kept in out/.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { barriers, browser, frame, out, patience, printed, send, start, watched } from "./berth.mjs";

let berth, chromium, provider;

before(async () => {
  [berth, chromium] = await Promise.all([start(), browser()]);
});
after(async () => {
  await chromium?.close();
  if (berth) assert.equal(await berth.stop(), 0, berth.log());
});

const desktop = { viewport: { width: 1440, height: 900 }, locale: "en-GB", colorScheme: "light" };
const shot = (page, name) => page.screenshot({ path: join(out, `${name}.png`), fullPage: true });

async function fresh(options = {}) {
  const context = await chromium.newContext({ ...desktop, ...options });
  return { context, page: await watched(context, berth.origin) };
}

async function signIn(page, link) {
  await page.goto(link);
  await page.getByRole("button", { name: /Sign in|登录/ }).click();
}

test("the operator signs in once, and sees a provider appear", async () => {
  const { context, page } = await fresh();
  await page.goto(berth.link);
  await shot(page, "1-sign-in");
  await page.getByRole("button", { name: "Sign in as operator" }).click();
  await page.getByText("There is no provider yet").waitFor();
  provider = await berth.run("add", "provider1", "-o", "json");
  await berth.run("set", "provider1", "--attribute-tags", "site", "--timezone", "Europe/Berlin"); // live within a second, long before they are needed
  await page.getByRole("rowheader", { name: "provider1" }).waitFor();
  await page.getByText("reports: ready").waitFor();
  await shot(page, "2-providers");
  assert.deepEqual(page.wrong, []);

  const again = await fresh();
  assert.equal((await again.page.goto(berth.link)).status(), 401, "a link that was used opens nothing");
  await again.page.getByText("was used already").waitFor();
  await context.close();
  await again.context.close();
});

test("the admin sends the printed first reading and sees it on a live chart", async (t) => {
  const { context, page } = await fresh();
  await signIn(page, provider.admin_url);
  await page.waitForURL(`${berth.origin}/providers/provider1`);
  const snippet = await page.locator("#snippet-nc").textContent();
  assert.match(snippet, new RegExp(provider.enrolment_key));
  assert.match(snippet, new RegExp(` ${provider.port}$`));
  const panel = page.locator("#first");
  await page.getByText("Waiting for the first frame").waitFor();
  await shot(page, "3-first-reading");

  // What is refused is shown with its reason.
  const refused = await send(provider.port, frame("first-gateway", provider.enrolment_key, "boiler temperature=warm"));
  assert.match(refused, /NAK 1 /);
  await page.locator("#first.bad .reason").first().waitFor();
  await shot(page, "4-refused");

  // It is kept, to be downloaded, and fed again: what is not mended is refused still.
  await page.goto(`${berth.origin}/providers/provider1/rejects`);
  const bytes = await page.request.get(berth.origin + await page.getByRole("link", { name: "Download" }).first().getAttribute("href"));
  assert.equal(await bytes.text(), "boiler temperature=warm");
  await page.getByRole("button", { name: "Feed again" }).first().click();
  await page.locator("#fed.bad").waitFor();
  assert.match(await page.locator("#fed").textContent(), /0 readings were stored, 1 are refused still/);
  await shot(page, "4-fed-again");
  await page.getByRole("button", { name: "Remove" }).first().click();
  await page.getByText("Nothing was refused.").waitFor();
  await page.goto(`${berth.origin}/providers/provider1/connect`);
  await page.getByText("Waiting for the first frame").waitFor();

  // What is printed works as it stands.
  const paste = printed(snippet);
  assert.match(await send(paste.port, paste.bytes), /^OK\r?\nACK 1\r?\n$/);
  await page.locator("#first.good").waitFor();
  await shot(page, "5-arrived");
  assert.equal(await panel.getAttribute("hx-get"), null, "a panel that has seen a frame asks no more");

  await panel.getByRole("link").click();
  const chart = page.locator('.chart[data-sensor="boiler.temperature"]');
  await page.locator('.chart[data-sensor="boiler.temperature"][data-points="1"] canvas').waitFor();
  await page.locator("#live.on").waitFor();
  await page.waitForFunction(() => document.querySelector(".u-legend")?.textContent.includes("21.5"));

  // The second reading comes by itself.
  assert.match(await send(paste.port, frame("first-gateway", provider.enrolment_key, "boiler temperature=23.25")), /ACK 1/);
  const acknowledged = Date.now();
  await page.locator('.chart[data-points="2"]').waitFor();
  const took = Date.now() - acknowledged;
  t.diagnostic(`${took} ms from the acknowledgement to the chart`);
  assert.ok(took < 15_000, `a reading took ${took} ms from its acknowledgement to the chart`); // about a second, where nothing else runs
  assert.match(await page.locator('tr[data-sensor="boiler.temperature"] .value').textContent(), /^23\.25$/);
  assert.match(await chart.locator(".u-legend").textContent(), /23\.25/);
  await shot(page, "6-chart");

  // The keyboard goes from reading to reading, and each is spoken; the same is there as a table.
  const plot = chart.locator(".plot");
  await plot.focus();
  assert.match(await plot.getAttribute("aria-valuetext"), /^\d+ [A-Z][a-z]+ \d{4}, \d\d:\d\d:\d\d, 23\.25$/);
  await page.keyboard.press("ArrowLeft");
  assert.match(await plot.getAttribute("aria-valuetext"), /, 21\.5$/);
  assert.match(await chart.locator(".u-legend").textContent(), /21\.5/);
  await page.keyboard.press("End");
  assert.match(await plot.getAttribute("aria-valuetext"), /, 23\.25$/);
  await chart.locator("summary").click();
  await chart.locator("details tbody tr").nth(1).waitFor();
  assert.deepEqual(await chart.locator("details tbody td").allTextContents(), ["23.25", "21.5"]);
  await shot(page, "6-table");
  assert.deepEqual(await barriers(page), []);
  assert.deepEqual(page.wrong, []);

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto(`${berth.origin}/providers/provider1`);
  await page.waitForURL(/\/sign-in\?next=/);
  await context.close();
});

test("the admin gives a gateway a key, and approves a new one", async () => {
  const { context, page } = await fresh();
  await signIn(page, (await berth.run("link", "provider1")).match(/http:\S+/)[0]);
  const keys = `${berth.origin}/providers/provider1/keys`;
  await page.goto(keys);
  await page.getByLabel("Name of the gateway").fill("crane 9");
  await page.getByRole("button", { name: "Add a gateway" }).click();
  const key = await page.locator("#secret").textContent();
  assert.match(await send(provider.port, frame("crane 9", key, "load weight=4")), /^OK\r?\nACK 1\r?\n$/);
  await page.getByRole("button", { name: "Ask for approval" }).click();
  await page.getByText("waits for approval.").waitFor();
  assert.match(await send(provider.port, frame("newcomer", provider.enrolment_key, "load weight=4")), /^ERR pending /);
  await until(async () => {
    await page.goto(keys);
    return await page.getByRole("button", { name: "Approve: newcomer" }).count() > 0 && await page.locator("#keys .badge.late").count() > 0;
  });
  await shot(page, "7-keys");
  await page.getByRole("button", { name: "Approve: newcomer" }).click();
  await page.getByText("Approved: it is let in").waitFor();
  assert.match(await send(provider.port, frame("newcomer", provider.enrolment_key, "load weight=4")), /ACK 1/);
  await page.getByRole("button", { name: "Revoke: crane 9" }).click();
  await page.getByText("Shut out, and its connections").waitFor();
  assert.match(await send(provider.port, frame("crane 9", key, "load weight=4")), /^ERR unauthorized/);
  await page.getByRole("button", { name: "Let new gateways in" }).click();
  await page.getByText("is let in.").waitFor();
  assert.deepEqual(page.wrong, []);
  await context.close();
});

// until waits until it is so.
async function until(so) {
  for (const end = Date.now() + patience; !(await so());) {
    assert.ok(Date.now() < end, "it did not come to pass");
    await new Promise((next) => setTimeout(next, 200));
  }
}

test("the admin allows a network without a key, and an authority of the provider's own", async () => {
  const { context, page } = await fresh();
  await signIn(page, (await berth.run("link", "provider1")).match(/http:\S+/)[0]);
  await page.goto(`${berth.origin}/providers/provider1/keys`);
  const press = async (name, then) => {
    await page.getByRole("button", { name }).click();
    await page.getByText(then).waitFor();
  };
  const networks = page.getByLabel("Networks, one a line");
  await networks.fill("10.0.0.0/8\n127.0.0.1/8");
  await press("Allow these networks", "is an address within a network");
  assert.match(await send(provider.port, "load,gateway=bare weight=4\n"), /^ERR invalid /);
  await networks.fill("10.0.0.0/8\n127.0.0.0/8");
  await press("Allow these networks", "is as said from now on");
  assert.equal(await send(provider.port, "load,gateway=bare weight=4\n"), "");
  await page.getByLabel("Certificates of authorities").fill("no PEM");
  await press("Trust these", "there is no certificate in it");
  await page.getByLabel("Certificates of authorities").fill(await berth.run("ca")); // any authority will do
  await press("Trust these", "open the port from now on");
  assert.equal(await page.locator("#authorities li").count(), 1);
  assert.equal(await networks.inputValue(), "10.0.0.0/8\n127.0.0.0/8");
  assert.deepEqual(await barriers(page), []);
  await shot(page, "8-authorities");
  await press("Trust none", "is trusted any more");
  assert.equal(await page.locator("#authorities").count(), 0);
  await networks.fill("");
  await press("Allow these networks", "is as said from now on");
  assert.match(await send(provider.port, "load,gateway=bare weight=4\n"), /^ERR invalid /);
  assert.deepEqual(page.wrong.filter((w) => !/400/.test(w)), []); // two refusals
  await context.close();
});

test("the operator adds a provider by page, restarts it, follows its log, and removes it", async () => {
  const { context, page } = await fresh();
  await signIn(page, (await berth.run("link")).match(/http:\S+/)[0]);
  await page.getByRole("link", { name: "Add a provider" }).click();
  await page.getByLabel("Name", { exact: true }).fill("quay");
  await page.getByRole("button", { name: "Show the plan" }).click();
  await page.locator("#plan li", { hasText: "Start ingest" }).waitFor();
  await page.getByRole("button", { name: "Add it" }).click();
  const link = await page.locator("#link").textContent();
  await shot(page, "9-added");
  await page.getByRole("link", { name: "Watch it start" }).click();
  await page.locator(".badge.online", { hasText: /^ready$/ }).nth(2).waitFor(); // it, ingest and reports
  const admin = await fresh();
  await signIn(admin.page, link);
  await admin.page.waitForURL(`${berth.origin}/providers/quay`);
  await admin.context.close();

  // Its log goes on by itself, through a pause and while nobody looks, and no line comes twice.
  await page.getByRole("link", { name: "Log", exact: true }).click();
  await page.locator("#live.on").waitFor();
  const started = page.locator("#log span", { hasText: "the provisioner started the instance" });
  assert.equal(await started.count(), 1);
  await page.getByRole("button", { name: "Pause" }).click();
  const second = await context.newPage();
  await second.goto(`${berth.origin}/providers/quay/operate/restart`);
  await second.locator("#plan li", { hasText: "Stop ingest" }).waitFor();
  await berth.run("restart", "quay"); // meanwhile: it is another plan now
  await second.getByRole("button", { name: "Restart it" }).click();
  await second.getByText("no longer what would be done").waitFor();
  await second.getByRole("button", { name: "Restart it" }).click();
  await second.getByText("It is being restarted").waitFor();
  await second.locator(".badge.online", { hasText: /^ready$/ }).nth(2).waitFor();
  assert.equal(await started.count(), 1, "a log that is paused goes on");
  await page.getByRole("button", { name: "Go on" }).click();
  await started.nth(2).waitFor();
  await shot(page, "9-log");
  await second.close();

  await page.goto(`${berth.origin}/providers/quay/operate/remove`);
  await page.getByLabel("Type quay to go on").fill("provider1");
  await page.getByRole("button", { name: "Remove it" }).click();
  await page.getByText("what was typed is not its name").waitFor();
  await page.getByLabel("Type quay to go on").fill("quay");
  await page.getByRole("button", { name: "Remove it" }).click();
  await page.getByText("quay is being removed").waitFor();
  await until(async () => (await berth.run("ls", "-o", "json")).every((p) => p.name !== "quay"));
  assert.deepEqual(page.wrong.filter((w) => !/400/.test(w)), []); // a refusal
  await context.close();
});

test("pages hold in both languages, light and dark, wide and narrow", async () => {
  const now = Date.now();
  const lines = [];
  for (let s = 3600; s > 0; s -= 2) { // more than a chart has points: it shows a band
    if (s > 1500 && s < 2100) continue; // a gap
    const t = `${now - s * 1000}000000`;
    lines.push(`boiler,site=Hamburg temperature=${(62 + 6 * Math.sin(s / 260) + Math.random() + (s % 360 === 0 ? 7 : 0)).toFixed(2)},pressure=${(1.8 + 0.2 * Math.cos(s / 400)).toFixed(3)} ${t}`);
    lines.push(`pump running=${s % 900 > 300},starts=${Math.floor((3600 - s) / 900)}i ${t}`);
  }
  await send(provider.port, frame("boiler-room-7", provider.enrolment_key, lines.join("\n")));
  for (const name of ["quay-crane-2", "reefer-0113", "reefer-0114"]) await send(provider.port, frame(name, provider.enrolment_key, "unit temperature=-18.4"));
  await send(provider.port, frame("quay-crane-2", provider.enrolment_key, "load weight=1.2.3,height=4\nload weight=12"));

  // Each two of language, theme and width meet; LOOKS=all has every one of the eight.
  const looks = ["en-GB", "zh-CN"].flatMap((locale, l) => ["light", "dark"].flatMap((colorScheme, c) => [[1440, 900], [360, 740]].flatMap(([width, height], w) => (
    process.env.LOOKS === "all" || (l + c + w) % 2 === 0 ? [{ name: `${locale.slice(0, 2)}-${colorScheme}-${width}`, locale, colorScheme, viewport: { width, height } }] : []
  ))));
  const links = await Promise.all(looks.map(() => berth.run("link", "provider1")));
  const operators = await Promise.all(looks.map(() => berth.run("link")));
  const found = [];
  let shared;
  for (const [i, look] of looks.entries()) {
    const { context, page } = await fresh(look);
    await signIn(page, links[i].match(/http:\S+/)[0]);
    const home = `${berth.origin}/providers/provider1`;
    if (i === 0) shared = await scheduleAndShare(page, home);
    for (const [name, path] of Object.entries({
      gateways: "", connect: "/connect", rejects: "/rejects", books: "/books", keys: "/keys", settings: "/settings", gateway: "/gateways/boiler-room-7",
      day: "/gateways/boiler-room-7?from=now-24h&to=now&sensor=boiler.temperature", missing: "/gateways/nowhere",
      report: "/reports?period=range&from=now-2h&to=now", "report-how": "/reports/how", sensors: "/sensors",
      schedules: "/schedules", shares: "/shares", shared, groups: "/groups", exports: "/exports", people: "/people", tokens: "/tokens", audit: "/audit", account: "/account", reference: "/reference",
    })) {
      if (name === "shared") await page.goto(shared);
      else await page.goto((name === "account" || name === "reference" ? berth.origin : home) + path);
      if (name === "schedules") await page.locator("main details summary").first().click();
      if (name === "gateway" || name === "day") await page.locator(".chart canvas").first().waitFor();
      if (name === "gateway") await page.locator(".chart:not(.raw) canvas").first().waitFor();
      found.push(...await wrongWith(page, `${name}-${look.name}`));
    }
    await page.context().clearCookies(); // and what the operator sees
    await signIn(page, operators[i].match(/http:\S+/)[0]);
    for (const [name, path] of Object.entries({
      providers: "/", usage: "/usage", add: "/add", "add-plan": "/add?name=quay", operate: "/providers/provider1/operate",
      restart: "/providers/provider1/operate/restart", remove: "/providers/provider1/operate/remove", log: "/providers/provider1/operate/logs", "log-web": "/logs", "operators-tokens": "/tokens",
    })) {
      await page.goto(berth.origin + path);
      if (name === "providers") await page.locator("#well").waitFor();
      found.push(...await wrongWith(page, `${name}-${look.name}`));
    }
    assert.deepEqual(page.wrong.filter((w) => !w.includes("404")), []);
    await context.close();
  }
  assert.deepEqual(found, []);
});

// What a tab holds after so many live readings is collected twice, and compared: numbers that were replaced take no room.
test("a live tab's heap does not grow, and it says when its stream is silent", async (t) => {
  const { context, page } = await fresh();
  await page.addInitScript(() => { // the stream is the real one; the test says more through it
    window.EventSource = class extends EventSource {
      constructor(...all) { super(...all); window.stream = this; }
    };
  });
  await signIn(page, (await berth.run("link", "provider1")).match(/http:\S+/)[0]);
  await page.goto(`${berth.origin}/providers/provider1/gateways/boiler-room-7`);
  await page.locator(".chart canvas").first().waitFor();
  await page.locator("#live.on").waitFor();
  await page.locator(".chart summary").first().click(); // its table is drawn anew too
  const updates = (count) => page.evaluate(async (count) => {
    const begin = Date.now() - 600_000;
    for (let i = 0; i < count; i++) {
      const at = begin + (i % 100) * 1000, time = new Date(at).toISOString();
      const readings = ["boiler.temperature", "boiler.pressure"].map((sensor) => ({ sensor, time, time_ms: at, time_ns: `${at}000000`, kind: "float", value: i % 97 }));
      window.stream.dispatchEvent(new MessageEvent("readings", { data: JSON.stringify({ readings, at: time, complete: true }) }));
      if (i % 10 === 9) await new Promise((drawn) => requestAnimationFrame(drawn));
    }
  }, count);
  const session = await context.newCDPSession(page);
  const held = async () => {
    for (let i = 0; i < 3; i++) await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    return { usedSize, nodes, jsEventListeners };
  };
  const n = 300;
  await updates(n); // until code is compiled and all is as long as it gets
  await updates(n);
  const before = await held();
  await updates(2 * n);
  const after = await held();
  const grown = after.usedSize - before.usedSize;
  t.diagnostic(`${2 * n} live events more: ${grown} bytes of ${before.usedSize}, ${after.nodes - before.nodes} nodes, ${after.jsEventListeners - before.jsEventListeners} listeners`);
  assert.ok(grown < 2 * n * 1000, `the heap grew by ${grown} bytes with ${2 * n} live events`); // a chart that is kept takes tens of thousands
  assert.ok(after.nodes - before.nodes < 2 * n * 100, `${after.nodes - before.nodes} nodes more`); // those of a table or two may wait to be collected
  assert.ok(after.jsEventListeners - before.jsEventListeners < n, `${after.jsEventListeners - before.jsEventListeners} listeners more`);

  // A stream that is silent is amber, until it says something.
  await page.evaluate(() => { const real = Date.now.bind(Date); Date.now = () => real() + 25_000; });
  await page.locator("#live.silent").waitFor();
  await updates(1);
  await page.locator("#live.on").waitFor();

  // Shift and drag moves along: the range is as long, and earlier.
  const over = page.locator(".chart .u-over").first();
  const box = await over.boundingBox();
  await page.keyboard.down("Shift");
  await page.mouse.move(box.x + box.width * 0.3, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.keyboard.up("Shift");
  await page.waitForURL(/from=\d+/);
  const range = new URL(page.url()).searchParams;
  assert.ok(Math.abs(range.get("to") - range.get("from") - 3636_000) < 5_000, page.url());
  assert.ok(Math.abs(range.get("to") - Date.now() + 1757_000) < 200_000, page.url()); // half of its width
  await page.getByRole("link", { name: "Later" }).click();
  await page.locator(".chart canvas").first().waitFor();
  assert.deepEqual(page.wrong, []);
  await context.close();
});

test("a chart of 20,000 readings is drawn from at most two points a pixel", async (t) => {
  const begin = Date.now() - 3_500_000;
  for (let part = 0; part < 4; part++) {
    const lines = Array.from({ length: 5000 }, (_, i) => `dense value=${i % 97} ${begin + (part * 5000 + i) * 170}000000`);
    assert.match(await send(provider.port, frame("dense", provider.enrolment_key, lines.join("\n"))), /ACK 1/);
  }
  const { context, page } = await fresh();
  await signIn(page, (await berth.run("link", "provider1")).match(/http:\S+/)[0]);
  await page.goto(`${berth.origin}/providers/provider1/gateways/dense`);
  await page.locator(".chart canvas").first().waitFor();
  const { points, width } = await page.locator(".chart").first().evaluate((f) => ({ points: Number(f.dataset.points), width: f.querySelector(".u-over").clientWidth }));
  t.diagnostic(`${points} points on ${width} pixels`);
  assert.ok(points > width / 4 && points <= 2 * width, `${points} points on ${width} pixels`);
  assert.deepEqual(page.wrong, []);
  await context.close();
});

test("the language is switched in place, and the range of a chart stays in the address", async () => {
  const { context, page } = await fresh();
  await signIn(page, (await berth.run("link", "provider1")).match(/http:\S+/)[0]);
  await page.goto(`${berth.origin}/providers/provider1/gateways/boiler-room-7`);
  await page.locator(".chart:not(.raw) canvas").first().waitFor();
  walked(await page.locator(".chart:not(.raw) .plot").first().evaluate(walk));
  await page.getByRole("link", { name: "6 h" }).click();
  await page.waitForURL(/from=now-6h/);
  await page.getByRole("link", { name: "简体中文" }).click();
  await page.getByText("最新值").waitFor();
  assert.match(page.url(), /boiler-room-7\?.*from=now-6h/);

  // Dragging over a chart looks closer.
  const over = page.locator(".chart .u-over").first();
  await over.waitFor();
  const box = await over.boundingBox();
  await page.mouse.move(box.x + box.width * 0.85, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.97, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/from=\d+/);
  await page.locator(".chart canvas").first().waitFor();
  await page.getByText("固定范围").waitFor();
  await page.locator(".chart .u-over").first().dblclick(); // and a double click goes back
  await page.waitForURL(/from=now-6h/);

  // What a script has asked for since is kept too; and so is the range, in a zone of one's own.
  await page.goto(`${berth.origin}/providers/provider1`);
  await page.locator("#q").fill("boiler-room");
  await page.waitForURL(/q=boiler-room/);
  await page.getByRole("link", { name: "English" }).click();
  await page.waitForURL((url) => url.searchParams.get("q") === "boiler-room" && !url.searchParams.has("lang"));
  await page.goto(`${berth.origin}/providers/provider1/gateways/boiler-room-7?from=now-6h`);
  await page.getByText("Show times in another zone").click();
  await page.locator("#zones option").first().waitFor({ state: "attached" });
  await page.locator("#zone").fill("Asia/Shanghai");
  await page.locator("details.zone button").click();
  await page.getByText("All times are in Asia/Shanghai, now CST (UTC+08:00).").waitFor();
  assert.match(page.url(), /from=now-6h$/);
  await page.getByRole("link", { name: "Show times in it" }).click();
  await page.getByText("All times are in Europe/Berlin").waitFor();
  assert.deepEqual(page.wrong, []);
  await context.close();
});

// walk goes over a chart by keyboard, and returns what is spoken and where it stands.
function walk(plot) {
  const at = () => Number(plot.getAttribute("aria-valuemax")) - Number(plot.getAttribute("aria-valuenow")); // from the end
  const press = (key) => {
    plot.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    return plot.getAttribute("aria-valuetext");
  };
  plot.focus();
  const spoken = [press("Home")];
  while (at() > 0) {
    const left = at();
    spoken.push(press("ArrowRight"));
    if (at() >= left) break;
  }
  const newest = press("End");
  press("PageDown");
  const paged = at();
  plot.blur();
  return { spoken, newest, paged, left: at() };
}

// walked: of each point its time, mean and band are spoken, in order; the gap is one step.
function walked({ spoken, newest, paged, left }) {
  const times = spoken.map((words) => {
    assert.match(words, /^\d+ \w+ \d{4}, \d\d:\d\d:\d\d, [\d.]+, \D+ [\d.]+ – [\d.]+$/);
    return Date.parse(words.slice(0, words.indexOf(":") + 6));
  });
  const steps = times.slice(1).map((time, i) => time - times[i]);
  assert.ok(steps.length > 100 && steps.every((step) => step > 0), spoken.join("\n"));
  assert.ok(Math.max(...steps) > 500_000, `the longest step is ${Math.max(...steps)} ms`);
  assert.deepEqual({ newest, paged, left }, { newest: spoken.at(-1), paged: 20, left: 0 });
}

// wrongWith takes a screenshot and returns what is wrong with a page: it is too wide, lacks a text, or has barriers.
async function wrongWith(page, name) {
  await shot(page, name);
  const found = await barriers(page);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (overflow > 0) found.push(`${overflow} px too wide`);
  // A text that no catalogue has stands in single brackets; a configuration's section in two.
  const missing = await page.evaluate(() => document.body.innerText.match(/(?<!\[)\[[a-z_]+\.[a-z_.]+\]/)?.[0]);
  if (missing) found.push(`lacks the text ${missing}`);
  return found.map((what) => `${name}: ${what}`);
}

// scheduleAndShare schedules a report, shares one, and returns the link.
async function scheduleAndShare(page, home) {
  await page.goto(`${home}/schedules`);
  const form = page.locator("#new-schedule");
  await form.locator("[name=name]").fill("Every day");
  await form.locator("[name=recipients]").fill("somebody@example.com zh");
  await form.getByRole("button").click();
  const edit = page.locator("main details");
  await edit.locator("summary").click();
  await edit.locator("[name=name]").fill("Every morning");
  await edit.getByRole("button").click();
  await page.getByRole("heading", { name: "Every morning" }).waitFor();
  await page.goto(`${home}/reports?period=today`);
  await page.locator("#share-name").fill("For a customer");
  await page.getByRole("button", { name: "Make a link" }).click();
  return page.locator("#share").innerText();
}
