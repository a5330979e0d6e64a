// Opens every page and every part of every pair of a store that is full of
// texts that want to be markup. attacks_test.go fills the store and runs it.
import { accessible, begin, cfg, end, limit, open, shot, step, violationsCount } from './kit.mjs';

await begin();
const page = await open({ colorScheme: 'light', acceptDownloads: true });

/**
 * What must hold whatever was captured: nothing of it became an element, ran,
 * or is shown with characters that nobody sees. Shadow roots are looked into.
 */
async function harmless(where) {
  const found = await page.evaluate(() => {
    const out = [];
    // A script that ran sets it; an element of that id is found by its name.
    if (globalThis.__pwned !== undefined) out.push(`__pwned is ${globalThis.__pwned}`);
    const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\p{Cf}\u2028\u2029\u3164]/u;
    const visit = (root) => {
      for (const bad of root.querySelectorAll('#__pwned,iframe,object,embed,frame,base,math,foreignObject,form[action],[srcdoc],body script,meta[http-equiv],[autofocus]:not(input)')) {
        if (bad.tagName === 'SCRIPT' && bad.src.startsWith(`${location.origin}/assets/`)) continue;
        out.push(`an element: ${bad.outerHTML.slice(0, 200)}`);
      }
      for (const element of root.querySelectorAll('*')) {
        for (const { name, value } of element.attributes) {
          if (/^on/.test(name)) out.push(`a handler: ${element.outerHTML.slice(0, 200)}`);
          if (/^(?:href|src|action|formaction|xlink:href)$/.test(name) && /^\s*(?:javascript|vbscript):/i.test(value)) out.push(`an address that runs: ${value}`);
          if (/^(?:title|alt|placeholder|aria-label|aria-description)$/.test(name) && hidden.test(value)) out.push(`hidden characters in ${name} of ${element.outerHTML.slice(0, 200)}`);
        }
        // The editor has pictures of nothing, to hold the cursor.
        if (element.tagName === 'IMG' && element.hasAttribute('src') && !/^data:image\/(?:png|jpeg|gif|webp);/.test(element.src)) out.push(`a picture of ${element.src.slice(0, 80)}`);
        for (const node of element.childNodes) {
          if (node.nodeType === Node.TEXT_NODE && !['SCRIPT', 'STYLE', 'TEXTAREA'].includes(element.tagName) && hidden.test(node.data)) {
            out.push(`hidden characters in <${element.tagName} class="${element.className}">: ${JSON.stringify(node.data.slice(0, 120))}`);
          }
        }
        if (element.shadowRoot) visit(element.shadowRoot);
      }
    };
    visit(document);
    if (hidden.test(document.title)) out.push(`hidden characters in the title: ${document.title}`);
    return [...new Set(out)];
  });
  if (found.length > 0) throw new Error(`${where}:\n${found.slice(0, 8).join('\n')}`);
}

/** Everything that can be unfolded on a page, unfolded. */
async function unfold() {
  const folded = page.locator('main table button[aria-expanded=false]');
  for (let n = 0; n < 50 && (await folded.count()) > 0; n++) await folded.first().click();
}

await step('a violation of the policy would be counted', async () => {
  await page.goto(cfg.viewer + '/');
  await page.getByRole('row').nth(1).waitFor();
  await violationsCount(page);
});

await step('every part of every pair', async () => {
  const ids = (await page.evaluate(async () => (await (await fetch('api/v1/pairs?limit=1000')).json()).pairs)).map((p) => p.id);
  const detail = page.getByRole('complementary', { name: 'Detail of the pair' });
  await harmless('the list');
  let modes = 0;
  await page.goto(`${cfg.viewer}/?row=${ids[0]}`);
  await page.locator(`[data-id="${ids[0]}"]`).waitFor();
  for (const [n, id] of ids.entries()) {
    // From one to the next by key, as a reader goes; the tab stays what it was.
    if (n > 0) await page.keyboard.press(']');
    await page.locator(`[data-pair="${id}"]`).waitFor();
    await page.keyboard.press('1');
    await page.locator(`[data-pair="${id}"] [role=tabpanel] dl`).first().waitFor();
    await harmless(`overview of ${id}`);
    for (const [key, tab] of [['2', 'headers'], ['3', 'body'], ['4', 'timing'], ['5', 'raw']]) {
      await page.keyboard.press(key);
      await detail.locator(`[role=tab][data-tab=${tab}][aria-selected=true]`).waitFor();
      // What is fetched or loaded lazily is there once nothing says that it is on its way.
      await page.waitForFunction(() => ![...document.querySelectorAll('[data-pane=detail] .late')].some((e) => /Loading|Decoding/.test(e.textContent)));
      await harmless(`${tab} of ${id}`);
      for (const mode of tab === 'body' ? await detail.getByRole('group').getByRole('button').all() : await detail.getByRole('button', { name: 'hex' }).all()) {
        await mode.click();
        await harmless(`${tab} of ${id}, another way`);
        modes++;
      }
    }
    if (n === 0) await shot(page, 'xss-raw');
  }
  return { seen: ids.length, stored: modes };
});

await step('every page', async () => {
  for (const path of ['/', '/ledger', '/proxies', '/doctor', '/users', '/keys', '/audit', '/deletions']) {
    await page.goto(cfg.viewer + path);
    await page.getByRole('main').waitFor();
    await page.waitForFunction(() => ![...document.querySelectorAll('main .late')].some((e) => /Loading|Looking|Searching/.test(e.textContent)));
    await unfold();
    await harmless(path);
    await shot(page, `xss${path.replace('/', '-')}`);
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor();
    await harmless(`${path} with the keys`);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  }
});

await step('what an address brings', async () => {
  for (const payload of [...cfg.payloads.slice(0, 2), cfg.payloads.at(-1)]) {
    const p = encodeURIComponent(payload);
    for (const address of [`/?q=${encodeURIComponent(`path:"${payload.replaceAll(/["\\]/g, '')}"`)}`, `/?q=${p}`, `/ledger?app=${p}&path=${p}&method=${p}`, `/deletions?q=${p}&from=${p}`, `/sign-in?to=${p}&error=${p}`, `/none/${p}?a=${p}#${p}`]) {
      await page.goto(cfg.viewer + address, { waitUntil: 'domcontentloaded' });
      await page.getByRole('main').waitFor();
      // The reader's own words stand in the query as they were typed.
      if (address.startsWith('/?') || address.startsWith('/deletions') || address.startsWith('/ledger') || address.startsWith('/sign-in')) {
        if (await page.evaluate(() => globalThis.__pwned !== undefined || document.querySelector('#__pwned,iframe') !== null)) throw new Error(address);
      } else await harmless(address);
    }
  }
});

await step('names of users, keys and views', async () => {
  await page.goto(cfg.viewer + '/users');
  let made = 0;
  const refused = [];
  // By the API, which may refuse such a name; what it takes has to be harmless.
  for (const [i, payload] of cfg.payloads.entries()) {
    for (const [path, method, body] of [
      ['users', 'POST', { name: payload, password: 'a long enough password', role: 'viewer', scope: { apps: [payload], namespaces: [payload], clusters: [payload] } }],
      // A password takes a while to be hashed, on purpose: a few are enough.
      ...(i % 4 > 0 ? [] : [['users', 'POST', { name: `user-${i}`, password: 'a long enough password', role: 'viewer', scope: { apps: [payload], namespaces: [payload], clusters: [payload] } }]]),
      ['keys', 'POST', { name: payload, kind: 'api', role: 'viewer' }],
      ['views', 'PUT', { name: payload, document: { q: payload } }],
      ['forwarder-list', 'POST', { name: payload, cluster: payload, analyzer_addr: payload }],
      ['proxy-list', 'POST', { app: payload, pod: payload, namespace: payload, upstream_host: payload, token: true }],
    ]) {
      const response = await page.request.fetch(`${cfg.viewer}/api/v1/${path}`, { method, data: body, headers: { 'content-type': 'application/json' } });
      if (response.ok()) made++;
      else refused.push(`${path}: ${response.status()}`);
      if (response.status() >= 500) throw new Error(`${path} with ${payload}: ${response.status()} ${await response.text()}`);
    }
  }
  if (made === 0) throw new Error(`nothing was made: ${[...new Set(refused)]}`);
  for (const path of ['/users', '/keys', '/audit']) {
    await page.goto(cfg.viewer + path);
    await page.getByRole('table').getByRole('row').nth(1).waitFor();
    await harmless(path);
    for (const name of [/^Change/, /^Delete/, /^Revoke/]) {
      const button = page.getByRole('button', { name }).last();
      if ((await button.count()) === 0) continue;
      await button.click();
      await page.getByRole('dialog').waitFor();
      await harmless(`${path}: ${name}`);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await shot(page, `xss-made${path.replace('/', '-')}`);
  }
  return { stored: made };
});

await step('a body is saved, never opened', async () => {
  const { pairs } = await (await page.request.fetch(`${cfg.viewer}/api/v1/pairs?limit=1000`)).json();
  const names = new Set();
  for (const pair of pairs.filter((p) => p.protocol === 'http').slice(0, 12)) {
    for (const what of ['response/body', 'response/raw']) {
      const downloading = page.waitForEvent('download', { timeout: limit });
      await page.goto(`${cfg.viewer}/api/v1/pairs/${pair.id}/${what}`).catch(() => {});
      const download = await downloading.catch(() => null);
      if (!download) {
        // A pair without an answer has nothing to save.
        const status = (await page.request.fetch(`${cfg.viewer}/api/v1/pairs/${pair.id}/${what}`)).status();
        if (status !== 404) throw new Error(`${what} of ${pair.id} was shown, not saved (status ${status})`);
        continue;
      }
      const name = download.suggestedFilename();
      if (!/^[\w.-]+\.(?:txt|bin|raw)$/.test(name)) throw new Error(`saved as ${name}`);
      names.add(name);
      await download.cancel();
    }
  }
  if (names.size < 10) throw new Error(`only ${names.size} were saved`);
  return { stored: names.size };
});

await step('after all that', async () => {
  await page.goto(cfg.viewer + '/proxies');
  await page.getByRole('table', { name: 'Proxies', exact: true }).waitFor();
  await accessible(page, 'proxies full of payloads');
});

await end();
