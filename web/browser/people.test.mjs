// How people come and go, in a real browser against the real programs: a name and a password after a link, an
// invitation, signing in by password without scripts, sessions ended.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { browser, frame, out, send, start, watched } from "./berth.mjs";

let berth, chromium;
const password = "vier Boote am Kai";

before(async () => {
  [berth, chromium] = await Promise.all([start(), browser()]);
});
after(async () => {
  await chromium?.close();
  if (berth) assert.equal(await berth.stop(), 0, berth.log());
});

const shot = (page, name) => page.screenshot({ path: join(out, `people-${name}.png`), fullPage: true });

async function fresh(options = {}) {
  const context = await chromium.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB", colorScheme: "light", ...options });
  return { context, page: await watched(context, berth.origin) };
}

async function fits(page, name) {
  await shot(page, name);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow} px too wide`);
  const missing = await page.evaluate(() => document.body.innerText.match(/\[[a-z_]+\.[a-z_.]+\]/)?.[0]);
  assert.equal(missing, undefined, `${name} lacks a text`);
}

test("people come by a link, and sign in by name and password from then on", async () => {
  const { admin_url: link, enrolment_key: key, port } = await berth.run("add", "provider1", "-o", "json");
  const admin = await fresh();
  await admin.page.goto(link);
  await admin.page.getByRole("button", { name: "Sign in as admin" }).click();
  await admin.page.getByRole("link", { name: "Account" }).click();
  await admin.page.getByLabel("Name").fill("Anna");
  await admin.page.getByLabel("New password").fill(password);
  await admin.page.getByRole("button", { name: "Choose" }).click();
  await admin.page.getByText("From now on you sign in").waitFor();
  await fits(admin.page, "account");

  await admin.page.goto(`${berth.origin}/providers/provider1/people`);
  await admin.page.getByRole("button", { name: "Invite a viewer" }).click();
  const invitation = await admin.page.locator("#link").textContent();
  await fits(admin.page, "invited");

  // On a phone, in Chinese and in the dark, without scripts.
  const viewer = await fresh({ locale: "zh-CN", colorScheme: "dark", viewport: { width: 360, height: 740 }, javaScriptEnabled: false });
  await viewer.page.goto(invitation);
  await shot(viewer.page, "invitation-zh-360");
  await viewer.page.getByLabel("名称").fill("李娜");
  await viewer.page.getByLabel("新密码").fill(password);
  await viewer.page.getByRole("button", { name: "确定并登录" }).click();
  await viewer.page.waitForURL(`${berth.origin}/providers/provider1`);
  assert.equal(await viewer.page.getByText("连接网关").count(), 0, "a viewer is shown the key");
  assert.match(await send(port, frame("gw1", key, "boiler load=1234567i")), /ACK 1/);
  await viewer.page.goto(`${berth.origin}/providers/provider1/gateways/gw1`);
  await viewer.page.getByRole("cell", { name: "1,234,567" }).first().waitFor();
  await shot(viewer.page, "gateway-zh-360");
  for (const promised of ["#live", ".plot"]) {
    assert.equal(await viewer.page.locator(promised).first().isVisible(), false, `without script ${promised} promises more`);
  }
  assert.equal(await viewer.page.locator(".chart table").isVisible(), true, "the chart is no table");
  await viewer.page.goto(`${berth.origin}/providers/provider1`);
  await viewer.page.getByRole("link", { name: "李娜" }).click();
  await shot(viewer.page, "account-zh-360");
  await viewer.page.getByRole("button", { name: "退出" }).click();
  await viewer.page.getByLabel("名称").fill("李娜");
  await viewer.page.getByLabel("密码").fill("wrong");
  await viewer.page.getByRole("button", { name: "登录", exact: true }).click();
  await viewer.page.getByRole("alert").waitFor();
  await viewer.page.getByLabel("密码").fill(password);
  await viewer.page.getByRole("button", { name: "登录", exact: true }).click();
  await viewer.page.waitForURL(`${berth.origin}/providers/provider1`);

  await admin.page.reload();
  await admin.page.goto(`${berth.origin}/providers/provider1/people`);
  await admin.page.getByRole("button", { name: "End sessions: 李娜" }).click();
  await admin.page.getByText("All their sessions are ended.").waitFor();
  await viewer.page.reload();
  await viewer.page.waitForURL(/\/sign-in\?next=/);
  const narrow = await fresh({ colorScheme: "dark", viewport: { width: 360, height: 740 } });
  await narrow.page.goto(`${berth.origin}/sign-in?next=/providers/provider1/people`);
  await fits(narrow.page, "sign-in-360");
  await narrow.page.getByLabel("Name").fill("anna");
  await narrow.page.getByLabel("Password").fill(password);
  await narrow.page.getByRole("button", { name: "Sign in", exact: true }).click();
  await narrow.page.getByRole("rowheader", { name: "Anna" }).waitFor();
  await fits(narrow.page, "people-360");
  assert.deepEqual([...admin.page.wrong, ...narrow.page.wrong], []);
});
