// Reports in a real browser, against the real programs, in both languages: gateways are grouped, a chart is annotated, a report
// is chosen, seen and had in every format, and axe finds nothing.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { barriers, browser, frame, out, send, start, watched } from "./berth.mjs";

let berth, chromium, provider;
const now = Date.now();

before(async () => {
  [berth, chromium] = await Promise.all([start(), browser()]);
  provider = await berth.run("add", "provider1", "-o", "json");
  await berth.run("set", "provider1", "--timezone", "Europe/Berlin"); // live within a second, long before it is needed
  for (const gateway of ["boiler 7", "=crane", "reefer-水"]) {
    const lines = [];
    for (let s = 7200; s > 0; s -= 60) {
      lines.push(`boiler temperature=${(20 + Math.sin(s / 900)).toFixed(2)},energy=${100000 - s}i ${now - s * 1000}000000`);
    }
    assert.match(await send(provider.port, frame(gateway, provider.enrolment_key, lines.join("\n"))), /ACK 1/);
  }
});
after(async () => {
  await chromium?.close();
  if (berth) assert.equal(await berth.stop(), 0, berth.log());
});

async function visit(locale, colorScheme) {
  const context = await chromium.newContext({ viewport: { width: 1280, height: 900 }, locale, colorScheme, acceptDownloads: true });
  const page = await watched(context, berth.origin);
  await page.goto((await berth.run("link", "provider1")).match(/http:\S+/)[0]);
  await page.getByRole("button", { name: /Sign in|登录/ }).click();
  await page.waitForURL(/providers\/provider1/);
  return { context, page, home: `${berth.origin}/providers/provider1` };
}

// holds takes a screenshot and has axe look at a page.
async function holds(page, name) {
  await page.screenshot({ path: join(out, `reports-${name}.png`), fullPage: true });
  assert.deepEqual(await barriers(page), [], name);
  assert.equal(await page.evaluate(() => document.body.innerText.match(/\[[a-z_]+\.[a-z_.]+\]/)?.[0]), undefined, `${name} lacks a text`);
  assert.deepEqual(page.wrong, [], name);
}

const words = {
  en: { locale: "en-GB", scheme: "light", add: "Add", saved: "It is saved.", annotate: "Add an annotation", save: "Save", show: "Make the report", exported: "2 of 2 gateways", complete: "Completeness", how: "How these numbers are computed", of: "Report of provider1" },
  zh: { locale: "zh-CN", scheme: "dark", add: "加入", saved: "已保存。", annotate: "添加标注", save: "保存", show: "生成报表", exported: "2 个网关中的 2 个", complete: "完整率", how: "这些数字如何计算", of: "provider1 的报表" },
};

for (const [code, w] of Object.entries(words)) {
  test(`a report is chosen, seen and had in every format (${code})`, async () => {
    const { context, page, home } = await visit(w.locale, w.scheme);

    // Gateways are put into a group, and the list is of it.
    const group = `north & 北 ${code}`;
    await page.goto(`${home}/groups`);
    await page.locator("#gateways").fill("boiler 7\nreefer-水");
    await page.locator("#group").fill(group);
    await page.locator("#tag").fill("site=Kai 3");
    await page.getByRole("button", { name: w.add, exact: true }).click();
    await page.locator("#saved").waitFor();
    await holds(page, `groups-${code}`);
    await page.getByRole("link", { name: group, exact: true }).click();
    await page.locator("#gateways tbody tr").nth(1).waitFor();
    assert.deepEqual(await page.locator("#gateways tbody th a").allTextContents(), ["boiler 7", "reefer-水"]);
    await holds(page, `list-${code}`);

    // A chart is annotated, and shows it.
    await page.goto(`${home}/gateways/boiler%207?from=now-6h&to=now`);
    await page.locator(".chart canvas").first().waitFor();
    await page.getByText(w.annotate).click();
    const berlin = (ms) => new Intl.DateTimeFormat("sv-SE", { timeZone: "Europe/Berlin", dateStyle: "short", timeStyle: "short" }).format(ms).replace(" ", "T");
    await page.locator("#begin").fill(berlin(now - 3600_000));
    await page.locator("#end").fill(berlin(now - 1800_000));
    await page.locator("#text").fill(`Pump <b>replaced</b> 换泵 ${code}`);
    await page.locator("[value=annotate]").click();
    await page.locator(".notes li", { hasText: code }).waitFor();
    await page.locator(".chart canvas").first().waitFor();
    await holds(page, `gateway-${code}`);

    // A report of the group over a range.
    await page.goto(`${home}/reports`);
    await page.locator("#group").selectOption(group);
    await page.locator("#period").selectOption("range");
    await page.locator("#from").fill(berlin(now - 3 * 3600_000));
    await page.locator("#to").fill(berlin(now + 60_000));
    await page.getByRole("button", { name: w.show }).click();
    const report = page.locator("#report");
    await report.getByText(w.complete).first().waitFor();
    const text = await report.innerText();
    for (const part of ["boiler 7", "reefer-水", `Pump <b>replaced</b> 换泵 ${code}`, w.how, group]) assert.ok(text.includes(part), `the report lacks ${part}`);
    assert.ok(!text.includes("=crane"), "the report has a gateway that is not in the group");
    await holds(page, `preview-${code}`);

    // Of one gateway, from the list.
    await page.locator("#group").selectOption([]);
    await page.locator("#gateway").selectOption(["=crane"]);
    await page.getByRole("button", { name: w.show }).click();
    await page.locator("#report").getByText("=crane").first().waitFor();

    // In every format.
    const links = await page.locator(".report-files a").evaluateAll((all) => all.map((a) => a.href));
    assert.equal(links.length, 5);
    for (const link of links) {
      const format = new URL(link).searchParams.get("format");
      assert.equal(new URL(link).searchParams.get("lang"), code);
      if (format === "xlsx" || format === "csv") { // browsers save these
        const [download] = await Promise.all([page.waitForEvent("download"), page.locator(`.report-files a[href*="format=${format}"]`).click()]);
        assert.match(download.suggestedFilename(), new RegExp(`^provider1_=crane_.*\\.${format}$`));
        const bytes = await readFile(await download.path());
        assert.ok(format === "xlsx" ? bytes.subarray(0, 2).toString() === "PK" : bytes.toString().includes("'=crane"), format);
        continue;
      }
      const answer = await page.request.get(link);
      assert.equal(answer.status(), 200, `${format}: ${await answer.text()}`);
      const body = await answer.body();
      if (format === "pdf") assert.equal(body.subarray(0, 5).toString(), "%PDF-");
      if (format === "json") assert.equal(JSON.parse(body).gateways[0].gateway, "=crane");
      if (format === "html") { // a page of its own
        const own = await watched(context, berth.origin);
        await own.goto(link);
        await own.getByRole("heading", { name: w.of }).waitFor();
        await holds(own, `html-${code}`);
        await own.close();
      }
    }

    // An export of the group, and how far it came.
    await page.goto(`${home}/exports`);
    await page.getByRole("combobox").nth(1).selectOption(group);
    const [exported] = await Promise.all([page.waitForEvent("download"), page.locator("form.acts button").click()]);
    const rows = (await readFile(await exported.path(), "utf8")).trim().split("\n");
    assert.equal(rows.length, 1 + 2 * 240);
    await page.getByText(w.exported).first().waitFor();
    await holds(page, `exports-${code}`);
    assert.deepEqual(page.wrong, []);
    await context.close();
  });
}
