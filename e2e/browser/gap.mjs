// Watches in headless Chromium how pairs get lost: the forwarder goes away
// while the proxy has little memory. browser_test.go runs it, does what it
// asks for, and compares what it read with the ledger of the command line.
import http from 'node:http';
import { accessible, ask, begin, cfg, end, open, send, shot, step } from './kit.mjs';

await begin();
const page = await open({ colorScheme: 'light' });
const mark = page.getByRole('button', { name: /pairs? lost/ });
const number = (text) => Number(text.replace(/\D/g, ''));
/** What was sent in all: the proxy has to have seen all of it. */
let sent = 0;
let lost = 0;

/** Sends requests on few connections, so that many are soon done. */
async function burst(count, target) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  await Promise.all(Array.from({ length: count }, (_, n) => send('GET', target(n), '', {}, agent)));
  agent.destroy();
  sent += count;
}

/** Reads the sum as the ledger shows it, once it says that all is accounted for and on its place. */
async function sums(p) {
  await p.waitForFunction(() => {
    const at = (place) => Number(document.querySelector(`[data-testid=equation] [data-place=${place}] span`)?.textContent.replace(/\D/g, ''));
    return at('seen') > 0 && at('in_flight') === 0 && at('dropped') > 0;
  }, undefined, { timeout: 30_000 });
  return Object.fromEntries(
    await p.locator('[data-testid=equation] [data-place]').evaluateAll((terms) => terms.map((t) => [t.dataset.place, Number(t.firstElementChild.textContent.replace(/\D/g, ''))])),
  );
}

await step('no gap before', async () => {
  await page.goto(cfg.viewer + '/');
  await page.getByText('curl', { exact: false }).filter({ visible: true }).first().waitFor();
  await burst(5, (n) => `/echo?before=${n}`);
  await page.getByRole('row').filter({ hasText: 'before=4' }).first().waitFor();
  if ((await mark.count()) > 0) throw new Error('a gap is shown before anything was lost');
});

await step('what was sampled is an estimate, and says so', async () => {
  const { front } = await ask('sampling proxy');
  // Which connections are kept is a matter of chance: enough of them for some of each.
  const count = 120;
  for (let i = 0; i < count; i += 8) {
    await Promise.all(Array.from({ length: 8 }, (_, k) => send('GET', `/echo?sampled=${i + k}`, '', {}, false, front)));
  }
  sent += count;
  const note = page.getByRole('button', { name: /sampled: estimated from/ });
  await note.waitFor({ timeout: 30_000 });
  const chip = page.getByRole('row').filter({ hasText: 'sampled=' }).filter({ hasText: 'stands for 4' }).first();
  await chip.waitFor();
  // ~ stands before every count that is an estimate: the sum of what the pairs stand for.
  await page.waitForFunction(async () => {
    const { pairs } = await (await fetch('api/v1/pairs?limit=1000')).json();
    const stand = pairs.reduce((n, p) => n + p.sample_weight, 0);
    return stand > pairs.length && [...document.querySelectorAll('button')].some((b) => b.textContent.trim() === `~${stand} sampled`);
  }, undefined, { timeout: 30_000, polling: 500 });
  await note.click();
  await page.getByRole('dialog', { name: /estimates/ }).waitFor();
  await shot(page, 'gap-0-sampled-light');
  await page.keyboard.press('Escape');
  return { note: await note.innerText() };
});

await step('the gap shows by itself, with its reason', async () => {
  await ask('forwarder away');
  const filler = 'x'.repeat(3000);
  await burst(1000, (n) => `/echo?during=${n}&filler=${filler}`);
  await ask('forwarder back');
  // No reload: the timeline is live.
  await mark.first().waitFor({ timeout: 30_000 });
  const name = await mark.first().getAttribute('aria-label');
  if (!/proxy · memory/.test(name)) throw new Error(`the mark does not say why: ${name}`);
  return { mark: name };
});

await step('the sum on the ledger page', async () => {
  await page.getByRole('navigation').getByRole('link', { name: 'Ledger' }).click();
  const sum = await sums(page);
  lost = sum.dropped;
  if (sum.seen !== sent) throw new Error(`${sum.seen} seen of ${sent} that were sent`);
  if (sum.sampled === 0) throw new Error(`nothing was sampled: ${JSON.stringify(sum)}`);
  if (sum.unaccounted !== 0 || sum.unknown !== 0) throw new Error(`not accounted for: ${JSON.stringify(sum)}`);
  if (sum.seen !== sum.stored + sum.filtered + sum.sampled + sum.dropped) throw new Error(`the sum does not add up: ${JSON.stringify(sum)}`);
  const verdict = await page.getByTestId('verdict').innerText();
  if (!/every pair is accounted for/i.test(verdict)) throw new Error(verdict);
  const why = await page.getByRole('list', { name: 'Why pairs were dropped' }).innerText();
  if (!/proxy · memory/.test(why) || !/CAPTURE_MEMORY_LIMIT/.test(why)) throw new Error(`no reason or no fix in: ${why}`);
  const gaps = page.getByRole('table', { name: 'Gaps' }).getByRole('row').filter({ hasText: 'memory' });
  await gaps.first().waitFor();
  const counts = await gaps.evaluateAll((rows) => rows.map((r) => Number(r.cells[1].textContent.replace(/\D/g, ''))));
  const inGaps = counts.reduce((a, b) => a + b, 0);
  if (inGaps !== lost) throw new Error(`the gaps have ${inGaps} pairs, the sum ${lost}`);
  await shot(page, 'gap-2-ledger-light');
  await accessible(page, 'ledger, light');
  return { seen: sum.seen, stored: sum.stored, dropped: lost };
});

await step('the hatched stretch, by keyboard', async () => {
  await page.getByRole('navigation').getByRole('link', { name: 'Traffic' }).click();
  await mark.first().waitFor();
  // All of it, now that everything has been counted.
  await page.waitForFunction(
    (want) => [...document.querySelectorAll('button[aria-label*="lost"]')].reduce((n, b) => n + Number(/^[\d,]+/.exec(b.ariaLabel)?.[0].replace(/,/g, '') ?? 0), 0) === want,
    lost,
    { timeout: 30_000 },
  );
  const hatch = await page.locator('figure [class*=hatch]').first().evaluate((e) => ({ width: e.getBoundingClientRect().width, image: getComputedStyle(e).backgroundImage }));
  if (hatch.width < 4 || !/repeating-linear-gradient/.test(hatch.image)) throw new Error(`not hatched: ${JSON.stringify(hatch)}`);
  // Tab gets there, Enter opens it, Escape closes it and gives the focus back.
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(() => /lost/.test(document.activeElement?.getAttribute('aria-label') ?? ''))) break;
  }
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: /pairs? lost/ });
  await dialog.waitFor();
  const text = await dialog.innerText();
  for (const want of [/proxy · memory/, /ip-192-168-3-149/, /CAPTURE_MEMORY_LIMIT/, /ledger/i]) if (!want.test(text)) throw new Error(`${want} is not in: ${text}`);
  await accessible(page, 'traffic with a gap, light');
  await shot(page, 'gap-1-traffic-light');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  if (!(await page.evaluate(() => /lost/.test(document.activeElement?.getAttribute('aria-label') ?? '')))) throw new Error('the focus is lost');
  await page.keyboard.press('Enter');
  await dialog.getByRole('link', { name: /ledger/ }).click();
  await page.waitForURL(/\/ledger\?from=/);
  await page.getByRole('table', { name: 'Gaps' }).waitFor();
});

await step('where did my request go', async () => {
  const section = page.getByRole('region', { name: 'Where did my request go?' });
  await section.getByLabel('Path').fill('/echo');
  await section.getByLabel('Method').fill('get');
  await section.getByLabel('Path').press('Enter');
  const answer = page.getByTestId('why');
  await answer.getByText('stored', { exact: false }).first().waitFor();
  const url = new URL(page.url());
  if (url.searchParams.get('path') !== '/echo' || url.searchParams.get('method') !== 'GET') throw new Error(`the address does not hold the question: ${url}`);
  const row = answer.getByRole('list', { name: 'Pairs that match' }).getByRole('link').first();
  await row.waitFor();
  await shot(page, 'gap-3-why-light');
  await row.click();
  await page.getByRole('complementary', { name: 'Detail of the pair' }).getByText('/echo').first().waitFor();
});

await step('the pipeline and the doctor say so, too', async () => {
  await page.getByRole('link', { name: /State of the pipeline/ }).getByText(/[1-9][\d,]* dropped/).waitFor();
  await page.getByRole('navigation').getByRole('link', { name: 'Proxies' }).click();
  const trouble = page.getByRole('list', { name: 'What needs attention' }).getByRole('listitem').filter({ hasText: 'proxy · memory' });
  await trouble.waitFor();
  if (number((await trouble.innerText()).split('proxy')[0]) !== lost) throw new Error(`another number than ${lost}: ${await trouble.innerText()}`);
  await accessible(page, 'proxies, light');
  await shot(page, 'gap-4-proxies-light');
  await page.getByRole('navigation').getByRole('link', { name: 'Doctor' }).click();
  await page.getByTestId('doctor').waitFor();
  const checks = await page.locator('[data-check]').count();
  if (checks === 0) throw new Error('no check is shown');
  await accessible(page, 'doctor, light');
  await shot(page, 'gap-5-doctor-light');
  return { checks };
});

await step('dark', async () => {
  const dark = await open({ colorScheme: 'dark', viewport: { width: 768, height: 1024 } });
  await dark.goto(cfg.viewer + '/');
  await dark.getByRole('button', { name: /pairs? lost/ }).first().waitFor();
  await accessible(dark, 'traffic with a gap, dark');
  await shot(dark, 'gap-6-traffic-dark');
  await dark.goto(cfg.viewer + '/ledger');
  const sum = await sums(dark);
  if (sum.dropped !== lost) throw new Error(`${sum.dropped} dropped, and ${lost} before`);
  await accessible(dark, 'ledger, dark');
  await shot(dark, 'gap-7-ledger-dark');
  await dark.goto(cfg.viewer + '/doctor');
  await dark.getByTestId('doctor').waitFor();
  await accessible(dark, 'doctor, dark');
  await dark.goto(cfg.viewer + '/proxies');
  await dark.getByRole('list', { name: 'The way of a pair' }).waitFor();
  await accessible(dark, 'proxies, dark');
  await dark.context().close();
});

await end();
