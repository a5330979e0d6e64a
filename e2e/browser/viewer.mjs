// Walks through the viewer in headless Chromium as a person would.
// browser_test.go runs it; what it prints, and what it is given, is in kit.mjs.
import { begin, cfg, limit, open, send, shot, step, end } from './kit.mjs';

await begin();
const page = await open({ colorScheme: 'light' });
const query = page.getByRole('combobox', { name: 'Query' });
const rows = () => page.getByRole('row');
const row = (text) => rows().filter({ hasText: text });

await step('empty state', async () => {
  await page.goto(cfg.viewer + '/');
  // It says where to send a request, as a command to try.
  await page.getByText(`curl`, { exact: false }).filter({ visible: true }).first().waitFor();
  const text = await page.locator('body').innerText();
  if (!text.includes(String(cfg.proxyPort))) throw new Error(`the empty page does not name port ${cfg.proxyPort}:\n${text}`);
  await shot(page, '1-empty-light');
});

await step('row within 2 s', async () => {
  const began = performance.now();
  const answer = await send('POST', '/echo?order=4711', '{"item":"a red teapot","amount":3}', {
    'Content-Type': 'application/json', 'X-Weir-Id': 'browser-0001',
  });
  const answered = performance.now();
  await row('/echo').first().waitFor();
  const ms = Math.round(performance.now() - answered);
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  if (ms > 2000) throw new Error(`the row took ${ms} ms`);
  return { ms, answer_ms: Math.round(answered - began) };
});

await step('open a row and read both bodies', async () => {
  await row('/echo').first().click();
  const detail = page.getByRole('complementary', { name: 'Detail of the pair' });
  await detail.waitFor();
  const missing = new Set(['a red teapot', 'this is the answer to browser-0001']);
  const look = async () => {
    const text = await detail.innerText();
    for (const m of missing) if (text.includes(m)) missing.delete(m);
  };
  const until = Date.now() + limit;
  while (missing.size > 0 && Date.now() < until) {
    await look();
    if (missing.size > 0) await page.waitForTimeout(50);
  }
  if (missing.size > 0) throw new Error(`not shown: ${[...missing].join(', ')} in:\n${await detail.innerText()}`);
  await shot(page, '2-detail-light');
  for (const tab of ['Headers', 'Body', 'Timing', 'Raw']) {
    await detail.getByRole('tab', { name: tab }).click();
    const shown = tab === 'Timing' ? /wait/i : tab === 'Headers' ? /x-weir-id/i : /a red teapot/;
    await detail.getByText(shown).first().waitFor();
    if (['Body', 'Raw'].includes(tab)) await detail.getByText(/this is the answer to/).first().waitFor();
    await shot(page, `2-detail-${tab.toLowerCase()}-light`);
  }
});

await step('the list holds still while a pair is open', async () => {
  for (let i = 0; i < 3; i++) await send('GET', `/fail?n=${i}`);
  for (let i = 0; i < 5; i++) await send('GET', `/files/text.txt?n=${i}`);
  await send('GET', '/not-there');
  const pill = page.getByRole('button', { name: /9 new/ });
  await pill.waitFor();
  if ((await row('/not-there').count()) > 0) throw new Error('a row came in under the reader');
  // The histogram counts the rows that wait, and so does the end of the list.
  await page.getByText(/^10 pairs since .*, 9 of them not in the list yet\.$/).waitFor();
  const box = await pill.boundingBox();
  const covered = await page.getByRole('columnheader').evaluateAll(
    (heads, b) =>
      heads
        .filter((head) => {
          const range = document.createRange();
          range.selectNodeContents(head);
          const r = range.getBoundingClientRect();
          return r.width > 0 && r.left < b.x + b.width && b.x < r.right && r.top < b.y + b.height && b.y < r.bottom;
        })
        .map((head) => head.textContent),
    box,
  );
  if (covered.length > 0) throw new Error(`the pill covers ${covered.join(', ')}`);
  await shot(page, '3-held-light');
  await pill.click();
  await row('/not-there').first().waitFor();
});

await step('filter by status:5xx', async () => {
  await page.keyboard.press('Escape');
  await page.getByRole('complementary', { name: 'Detail of the pair' }).waitFor({ state: 'detached' });
  await shot(page, '3-rows-light');
  await query.fill('status:5xx');
  await query.press('Enter');
  await row('/files/text.txt').first().waitFor({ state: 'detached' });
  await row('/fail').first().waitFor();
  const n = await row('/fail').count();
  if (n !== 3) throw new Error(`${n} rows of /fail, want 3`);
  if ((await row('/echo').count()) + (await row('/not-there').count()) > 0) throw new Error('other rows are still shown');
  if (!decodeURIComponent(page.url()).includes('status:5xx')) throw new Error(`the address does not hold the query: ${page.url()}`);
  await shot(page, '4-filtered-light');
});

await step('a filter is live', async () => {
  await send('GET', '/files/noise.bin');
  await send('GET', '/fail?live=1');
  await page.waitForFunction(() => [...document.querySelectorAll('[role=row]')].filter((r) => r.textContent.includes('/fail')).length === 4);
  if ((await row('/files/noise.bin').count()) > 0) throw new Error('a row that does not match came in');
});

await step('a mistake is explained at its column', async () => {
  await query.fill('app:x stauts:500');
  await query.press('Enter');
  const alert = page.getByRole('alert').filter({ hasText: 'stauts' });
  await alert.waitFor();
  const text = await alert.innerText();
  if (!/column 7/.test(text) || !/did you mean/i.test(text) || !/status/.test(text)) throw new Error(text);
  await shot(page, '5-mistake-light');
  // In an address that somebody passed on, too.
  await page.reload();
  await alert.waitFor();
  await query.fill('');
  await query.press('Enter');
  await row('/echo').first().waitFor();
  return { text };
});

await step('proxies', async () => {
  await page.getByRole('navigation').getByRole('link', { name: 'Proxies' }).click();
  await page.getByText('ip-192-168-3-149').first().waitFor();
  const text = await page.locator('body').innerText();
  for (const want of ['my_application_name', 'my_cluster']) if (!text.includes(want)) throw new Error(`${want} is not shown in:\n${text}`);
  if (!/connected/i.test(text)) throw new Error(`no connection state in:\n${text}`);
  // Its counters follow: 12 requests were sent.
  await page.getByRole('row', { name: /ip-192-168-3-149/ }).getByText('12', { exact: true }).first().waitFor();
  await shot(page, '6-proxies-light');
});

await step('banners', async () => {
  const text = await page.locator('body').innerText();
  if (!/auth|sign/i.test(text) || !/redact/i.test(text)) throw new Error(`no word that authentication and redaction are off:\n${text}`);
});

await step('by keyboard the focus follows a pair that is opened and closed', async () => {
  const focused = (p, label) => p.waitForFunction((want) => document.activeElement?.getAttribute('aria-label') === want, label);
  const list = 'Captured pairs, newest first';
  // Beside the list, and over it.
  for (const [width, holder] of [[1280, list], [768, 'Detail of the pair']]) {
    const p = await open({ colorScheme: 'light', viewport: { width, height: 900 } });
    await p.goto(cfg.viewer + '/');
    await p.getByRole('row').filter({ hasText: '/echo' }).first().waitFor();
    await p.keyboard.press('j');
    await focused(p, list);
    await p.keyboard.press('Enter');
    const detail = p.getByRole('complementary', { name: 'Detail of the pair' });
    await detail.waitFor();
    await focused(p, holder);
    // The arrows go to the next pair from there.
    const before = p.url();
    await p.keyboard.press('ArrowDown');
    await p.waitForURL((url) => url.href !== before);
    await p.keyboard.press('Escape');
    await detail.waitFor({ state: 'detached' });
    await focused(p, list);
    if (!(await p.getByRole('grid').getAttribute('aria-activedescendant'))) throw new Error(`${width}: the row is lost`);
    await p.context().close();
  }
});

await step('dark', async () => {
  const dark = await open({ colorScheme: 'dark', viewport: { width: 1920, height: 1080 } });
  await dark.goto(cfg.viewer + '/');
  const first = dark.getByRole('row').filter({ hasText: '/echo' }).first();
  await first.waitFor();
  const colour = await dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [r, g, b] = colour.match(/\d+/g).map(Number);
  if (r + g + b > 200) throw new Error(`the background is ${colour}`);
  await shot(dark, '7-rows-dark');
  await first.click();
  await dark.getByText('a red teapot').first().waitFor();
  await shot(dark, '8-detail-dark');
  await dark.goto(cfg.viewer + '/proxies');
  await dark.getByText('ip-192-168-3-149').first().waitFor();
  await shot(dark, '9-proxies-dark');
  await dark.context().close();
});

await end();
