// Opens every page and every part of every pair of a store that is full of
// texts that want to be markup. attacks_test.go fills the store and runs it.
import { readFileSync } from 'node:fs';
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

/** Nothing says that it is still on its way. */
async function settled(where) {
  await page.waitForFunction(() => ![...document.querySelectorAll('.late')].some((e) => /…/.test(e.textContent)), null, { timeout: limit }).catch(() => {
    throw new Error(`${where}: something is still on its way`);
  });
}

/** Every part that a pair's tabs have; each way to show it, where it has several. */
async function parts(view, id, only) {
  let modes = 0;
  const tabs = await view.locator('[role=tab][data-tab]').evaluateAll((all) => all.map((tab) => tab.dataset.tab));
  if (tabs.length < 5) throw new Error(`${id} has the tabs ${tabs}`);
  for (const tab of only ? tabs.filter((tab) => only.includes(tab)) : tabs) {
    const button = view.locator(`[role=tab][data-tab=${tab}]`);
    await button.click();
    await view.locator(`[role=tab][data-tab=${tab}][aria-selected=true]`).waitFor();
    await settled(`${tab} of ${id}`);
    await harmless(`${tab} of ${id}`);
    for (const mode of tab === 'body' || tab === 'raw' ? await view.locator('[role=tabpanel] [role=group] button').all() : []) {
      await mode.click();
      await settled(`${tab} of ${id}, another way`);
      await harmless(`${tab} of ${id}, another way`);
      modes++;
    }
  }
  return modes;
}

await step('every part of every pair', async () => {
  const { pairs } = await page.evaluate(async () => await (await fetch('api/v1/pairs?limit=1000')).json());
  await harmless('the list');
  const view = page.locator('[data-pane=detail]');
  let modes = 0;
  await page.goto(`${cfg.viewer}/?row=${pairs[0].id}`);
  await page.locator(`[data-id="${pairs[0].id}"]`).waitFor();
  for (const [n, { id, query }] of pairs.entries()) {
    // From one to the next by key, as a reader goes; the tab stays what it was.
    if (n > 0) await page.keyboard.press(']');
    await page.locator(`[data-pair="${id}"]`).waitFor();
    // The same payload with another body differs in the body alone.
    const number = Number(/&n=(\d+)$/.exec(query)?.[1] ?? 0);
    modes += await parts(view, id, number < cfg.whole ? undefined : ['body']);
    // Keys go to the list, not to what was clicked.
    await page.evaluate(() => document.activeElement?.blur());
    if (n === 0) await shot(page, 'xss-raw');
  }
  return { seen: pairs.length, stored: modes };
});

await step('names of users, keys, views and deletions', async () => {
  await page.goto(cfg.viewer + '/users');
  let made = 0;
  /** Which fields refuse which texts, by the reasons that they give. */
  const refused = {};
  for (const [i, payload] of cfg.payloads.entries()) {
    for (const [path, method, body] of [
      ['users', 'POST', { name: payload, password: 'a long enough password', role: 'viewer', scope: { apps: [payload], namespaces: [payload], clusters: [payload] } }],
      ['keys', 'POST', { name: payload, kind: 'api', role: 'viewer' }],
      ['views', 'PUT', { name: payload, document: { q: payload } }],
      ['forwarder-list', 'POST', { name: payload, cluster: payload, analyzer_addr: payload }],
      ['proxy-list', 'POST', { app: payload, pod: payload, namespace: payload, upstream_host: payload, token: true }],
    ]) {
      const response = await page.request.fetch(`${cfg.viewer}/api/v1/${path}`, { method, data: body, headers: { 'content-type': 'application/json' } });
      if (response.ok()) {
        made++;
        continue;
      }
      const { detail } = await response.json();
      // An env-file has nothing that a shell would take for something else; a name may be anything.
      if (!path.endsWith('-list') || response.status() >= 500 || !/cannot stand in an env-file|is not an address/.test(detail)) throw new Error(`${path} with ${payload}: ${response.status()} ${detail}`);
      refused[path] = (refused[path] ?? 0) + 1;
    }
  }
  if (made === 0) throw new Error('nothing was made');
  // A deletion keeps its query; it has to match something.
  const { pairs } = await (await page.request.fetch(`${cfg.viewer}/api/v1/pairs?limit=1000`)).json();
  for (const [i, payload] of cfg.payloads.entries()) {
    const document = { q: `id:${pairs.at(-1 - i).id} OR path:"${payload.replaceAll(/["\\]/g, '')}${i}"`, confirm: 1 };
    const response = await page.request.fetch(`${cfg.viewer}/api/v1/deletions`, { method: 'POST', data: document, headers: { 'content-type': 'application/json' } });
    if (!response.ok()) throw new Error(`delete ${document.q}: ${response.status()} ${await response.text()}`);
    made++;
  }
  for (const path of ['/users', '/keys', '/audit', '/deletions']) {
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
  return { stored: made, refused };
});

/** What the router has a page for: those that are new are visited, too. */
function addresses(pairs) {
  const found = [...readFileSync(cfg.router, 'utf8').matchAll(/^ {2}path: '([^']+)',$/gm)].map((m) => m[1]);
  if (found.length < 8) throw new Error(`the router's pages were not found: ${found}`);
  const [a, b] = pairs.filter((p) => p.protocol === 'http');
  // Pages that show little without a question.
  const more = { '/compare': `?a=${a.id}&b=${b.id}` };
  return found.map((path) => {
    const address = path.replace('$id', a.id) + (more[path] ?? '');
    if (address.includes('$')) throw new Error(`${path}: say here what stands for its parameter`);
    return { path, address };
  });
}

await step('every page', async () => {
  const { pairs } = await (await page.request.fetch(`${cfg.viewer}/api/v1/pairs?limit=1000`)).json();
  const pages = addresses(pairs);
  let looked = 0;
  for (const { path, address } of pages) {
    await page.goto(cfg.viewer + address);
    await page.getByRole('main').waitFor();
    await settled(path);
    await unfold();
    await harmless(path);
    looked++;
    await shot(page, `xss${path.replaceAll(/[/$]/g, '-')}`);
    for (const tab of await page.locator('main [role=tab]').all()) {
      await tab.click();
      await settled(path);
      await harmless(`${path}, ${await tab.innerText()}`);
      looked++;
    }
    // Menus, such as that of saved views.
    for (const menu of await page.locator('button[aria-haspopup]:visible:enabled').all()) {
      const name = (await menu.getAttribute('aria-label')) ?? (await menu.innerText());
      await menu.click();
      await settled(path);
      await harmless(`${path}, the menu ${name}`);
      await page.keyboard.press('Escape');
      looked++;
    }
    if (path === '/sign-in') continue;
    // Anew, so that no menu is open.
    await page.goto(cfg.viewer + address);
    await page.getByRole('main').waitFor();
    await settled(path);
    const keys = page.locator('[role=dialog][aria-modal=true]');
    // A key that is pressed before the page listens is lost.
    for (const until = Date.now() + limit; Date.now() < until && !(await keys.isVisible()); ) {
      await page.evaluate(() => document.activeElement?.blur());
      await page.keyboard.press('?');
      await keys.waitFor({ timeout: 2000 }).catch(() => {});
    }
    await keys.waitFor();
    await harmless(`${path} with the keys`);
    await page.keyboard.press('Escape');
    await keys.waitFor({ state: 'detached' });
  }
  return { seen: pages.length, stored: looked };
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
