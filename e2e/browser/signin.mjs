// The way of a first user: the link of the first start, an admin, a viewer who
// may not open a body, a session that ends. signin_test.go runs it.
import { accessible, ask, begin, cfg, end, expectRefusals, limit, open, send, shot, step } from './kit.mjs';

await begin();
// A session that is over, and a wrong password, are refused with 401; what a role may not do with 403.
expectRefusals(/\/api\/v1\/session$/);
const page = await open({ colorScheme: 'light' });
const password = 'correct horse battery staple';
const viewerPassword = 'a viewer has one too';

async function signIn(name, secret) {
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Password', { exact: true }).fill(secret);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

const understood = async () => {
  const dialog = page.getByRole('dialog', { name: 'Before you look' });
  await dialog.waitFor();
  await dialog.getByRole('button', { name: 'I understand' }).click();
  await dialog.waitFor({ state: 'detached' });
};

await step('nobody sees anything before they are known', async () => {
  await page.goto(cfg.viewer + '/?q=status:5xx');
  await page.waitForURL(/\/sign-in\?to=/);
  await page.getByText(/one-time link/).waitFor();
  if ((await page.getByRole('row').count()) > 0) throw new Error('rows are shown');
  await accessible(page, 'sign-in without a user');
});

await step('the link makes the first admin', async () => {
  const { text } = await ask('setup link');
  if (!text.startsWith(`${cfg.viewer}/sign-in#setup=`)) throw new Error(`not a link to this viewer: ${text}`);
  await page.goto('about:blank');
  await page.goto(text);
  await page.getByRole('button', { name: 'Make the first admin' }).waitFor();
  if (page.url().includes('setup=')) throw new Error('the token stays in the address');
  await shot(page, 'signin-1-setup');
  await page.getByLabel('Name', { exact: true }).fill('ada');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await accessible(page, 'the first user');
  await page.getByRole('button', { name: 'Make the first admin' }).click();
  await shot(page, 'signin-2-notice');
  await understood();
  await page.getByRole('button', { name: 'Signed in as ada, admin' }).waitFor();
  const cookies = await page.context().cookies();
  const cookie = cookies.find((c) => /weir/.test(c.name));
  if (!cookie?.httpOnly || cookie.sameSite !== 'Strict') throw new Error(`the cookie: ${JSON.stringify(cookies.map(({ value, ...c }) => c))}`);
  // Used once.
  await page.context().clearCookies();
  await page.goto('about:blank');
  await page.goto(text);
  await page.getByText('The link was used', { exact: false }).waitFor();
  await signIn('ada', 'wrong password here');
  await page.getByRole('alert').waitFor();
  const refused = await page.getByRole('alert').innerText();
  await signIn('nobody-of-that-name', 'wrong password here');
  await page.waitForFunction(() => document.querySelector('form')?.querySelector('[type=submit]')?.textContent === 'Sign in');
  if ((await page.getByRole('alert').innerText()) !== refused) throw new Error('a wrong name is told from a wrong password');
  await signIn('ada', password);
  await page.getByRole('button', { name: 'Signed in as ada, admin' }).waitFor();
});

await step('the admin makes a viewer', async () => {
  await page.getByRole('button', { name: 'Signed in as ada, admin' }).click();
  await shot(page, 'signin-3-menu');
  await page.getByRole('menuitem', { name: 'Users' }).click();
  await page.getByRole('table', { name: 'Users' }).waitFor();
  await page.keyboard.press('n');
  const dialog = page.getByRole('dialog', { name: 'Add a user' });
  await dialog.getByLabel('Name', { exact: true }).fill('vera');
  await dialog.getByLabel('First password', { exact: true }).fill(viewerPassword);
  await shot(page, 'signin-4-add');
  await accessible(page, 'add a user');
  await dialog.getByRole('button', { name: 'Add the user' }).click();
  await page.getByRole('row').filter({ hasText: 'vera' }).waitFor();
  await shot(page, 'signin-5-users');
  await accessible(page, 'users');
});

await step('a key is shown once, and revoked', async () => {
  await page.goto(cfg.viewer + '/keys');
  await page.getByRole('button', { name: 'Make a key' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('ci');
  await dialog.getByRole('button', { name: 'Make the key' }).click();
  const secret = (await dialog.getByRole('group', { name: 'The key' }).locator('pre').innerText()).trim();
  if (!/^weir_/.test(secret)) throw new Error('not a key');
  await shot(page, 'signin-6-key');
  await accessible(page, 'a key');
  await dialog.getByRole('button', { name: 'I have it' }).click();
  const asked = () => fetch(`${cfg.viewer}/api/v1/pairs`, { headers: { authorization: `Bearer ${secret}` } });
  if ((await asked()).status !== 200) throw new Error(`the key is not taken: ${(await asked()).status}`);
  await page.getByRole('button', { name: 'Revoke ci' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke ci' }).click();
  await page.getByRole('row').filter({ hasText: 'ci' }).filter({ hasText: 'revoked' }).waitFor();
  if ((await asked()).status !== 401) throw new Error(`a revoked key is taken: ${(await asked()).status}`);
  await accessible(page, 'keys');
});

await step('files for a forwarder and lines for a proxy', async () => {
  await page.goto(cfg.viewer + '/proxies');
  await page.getByRole('button', { name: 'Add a forwarder' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('eu');
  await accessible(page, 'add a forwarder');
  await dialog.getByRole('button', { name: 'Write forwarder.list' }).click();
  const list = await dialog.getByRole('group', { name: 'forwarder.list' }).locator('pre').innerText();
  for (const want of ['ANALYZER_ADDR=', 'ANALYZER_TOKEN=weir_', 'DLP_KEY=', 'DLP_CONFIG=standard', 'CLUSTER_NAME=']) if (!list.includes(want)) throw new Error(`${want} is not in it`);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Add a proxy' }).click();
  await dialog.getByLabel('Application', { exact: true }).fill('checkout');
  await dialog.getByLabel('Port of the application').fill('8080');
  await accessible(page, 'add a proxy');
  await dialog.getByRole('button', { name: 'Write the lines' }).click();
  const lines = await dialog.getByRole('group', { name: 'Lines for the proxy' }).innerText();
  for (const want of ['APP_LABEL', 'checkout', 'FORWARDER_ADDR', '4143']) if (!lines.includes(want)) throw new Error(`${want} is not in: ${lines}`);
  await shot(page, 'signin-7-proxy');
});

await step('a pair is read, and the audit log knows', async () => {
  await send('POST', '/echo?order=4711', '{"item":"a red teapot"}', { 'Content-Type': 'application/json', 'X-Weir-Id': 'signin-0001' });
  await page.goto(cfg.viewer + '/');
  await page.getByRole('row').filter({ hasText: '/echo' }).first().click();
  await page.getByRole('complementary', { name: 'Detail of the pair' }).getByText('a red teapot').first().waitFor();
  await page.goto(cfg.viewer + '/audit');
  await page.getByRole('row').filter({ hasText: 'pair.read' }).first().waitFor();
  await page.keyboard.press('v');
  await page.getByTestId('audit-verdict').getByText(/Intact/).waitFor();
  await shot(page, 'signin-8-audit');
  await accessible(page, 'audit');
  const text = await page.getByRole('table').innerText();
  if (text.includes(password) || text.includes('weir_')) throw new Error('a secret is in the audit log');
});

await step('a deletion is counted, confirmed by its count, and proven', async () => {
  await send('GET', '/echo?gone=1', '', { 'X-Weir-Id': 'signin-gone' });
  await page.goto(cfg.viewer + '/?q=query:gone*');
  await page.getByRole('row').filter({ hasText: 'gone=1' }).first().waitFor();
  await page.goto(cfg.viewer + '/deletions?q=query:gone*');
  await page.getByRole('button', { name: 'Count them' }).click();
  await page.getByLabel('Type 1 to confirm').fill('1');
  await accessible(page, 'a deletion');
  await shot(page, 'signin-8-delete');
  await page.getByRole('button', { name: 'Delete 1 pair for good' }).click();
  await page.getByTestId('deletion-proof').getByText('1 pair is gone.').waitFor();
  await page.getByRole('table').getByRole('row').filter({ hasText: 'gone' }).first().waitFor();
  await shot(page, 'signin-8-deleted');
  const { pairs } = await (await page.request.fetch(`${cfg.viewer}/api/v1/pairs?q=${encodeURIComponent('query:gone*')}`)).json();
  if (pairs.length > 0) throw new Error('it is still there');
  return { proof: await page.getByTestId('deletion-proof').innerText() };
});

await step('sign out ends the session at the server', async () => {
  const cookies = await page.context().cookies();
  await page.getByRole('button', { name: 'Signed in as ada, admin' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await page.waitForURL(/\/sign-in$/);
  const old = cookies.map((c) => `${c.name}=${c.value}`).join('; ');
  const { status } = await fetch(`${cfg.viewer}/api/v1/pairs`, { headers: { cookie: old } });
  if (status !== 401) throw new Error(`the old cookie still opens: ${status}`);
});

await step('a viewer sees lists, and is told what needs another role', async () => {
  await page.goto(cfg.viewer + '/?q=path:/echo');
  await page.waitForURL(/\/sign-in\?to=/);
  await signIn('vera', viewerPassword);
  await understood();
  // Back where they wanted to go, with all that was in the address.
  await page.waitForURL((url) => url.pathname === '/' && url.searchParams.get('q') === 'path:/echo');
  await page.getByRole('row').filter({ hasText: '/echo' }).first().click();
  const detail = page.getByRole('complementary', { name: 'Detail of the pair' });
  await detail.getByText(/needs role investigator/).waitFor();
  for (const tab of ['Headers', 'Body', 'Raw']) {
    await detail.getByRole('tab', { name: tab }).click();
    await detail.getByText(/needs role investigator/).waitFor();
    const text = await detail.innerText();
    if (/teapot|X-Weir-Id|signin-0001/i.test(text)) throw new Error(`content is shown in ${tab}: ${text}`);
  }
  await shot(page, 'signin-9-viewer');
  await accessible(page, 'a viewer');
  const id = new URL(page.url()).searchParams.get('row');
  // page.request shares the cookie, and is not in the console.
  for (const what of ['request/body', 'response/body', 'request/raw', 'curl']) {
    const status = (await page.request.fetch(`${cfg.viewer}/api/v1/pairs/${id}/${what}`)).status();
    if (status !== 403) throw new Error(`${what}: ${status}`);
  }
  const whole = await (await page.request.fetch(`${cfg.viewer}/api/v1/pairs/${id}`)).text();
  if (/teapot|signin-0001|4711/.test(whole)) throw new Error(`content is in the pair of a viewer: ${whole}`);
  for (const [path, role] of [['/users', 'admin'], ['/audit', 'admin'], ['/keys', 'operator'], ['/deletions', 'operator']]) {
    await page.goto(cfg.viewer + path);
    await page.getByText(`needs role ${role}.`, { exact: false }).first().waitFor();
  }
});

await step('an ended session leads back to the same view', async () => {
  const view = '/?q=path:/echo&from=1h&tab=headers';
  await page.goto(cfg.viewer + view);
  await page.getByRole('row').filter({ hasText: '/echo' }).first().waitFor();
  expectRefusals(/\/api\/v1\//);
  await page.context().clearCookies();
  await page.waitForURL(/\/sign-in\?to=/, { timeout: limit });
  if ((await page.getByRole('row').count()) > 0) throw new Error('rows are still shown');
  await signIn('vera', viewerPassword);
  await page.waitForURL((url) => url.pathname === '/' && url.searchParams.get('q') === 'path:/echo' && url.searchParams.get('from') === '1h' && url.searchParams.get('tab') === 'headers');
  await page.getByRole('row').filter({ hasText: '/echo' }).first().waitFor();
});

await step('narrow and dark', async () => {
  const dark = await open({ colorScheme: 'dark', viewport: { width: 768, height: 900 } });
  await dark.goto(cfg.viewer + '/sign-in');
  await dark.getByLabel('Name', { exact: true }).fill('ada');
  await accessible(dark, 'sign-in, dark');
  await shot(dark, 'signin-10-dark');
  await dark.getByLabel('Password', { exact: true }).fill(password);
  await dark.getByLabel('Password', { exact: true }).press('Enter');
  await dark.getByRole('button', { name: 'Signed in as ada, admin' }).waitFor();
  // Another browser: the notice is the user's first sign-in's.
  for (const path of ['/users', '/keys', '/audit', '/deletions']) {
    await dark.goto(cfg.viewer + path);
    await dark.getByRole('main').waitFor();
    await dark.waitForFunction(() => !document.querySelector('main .late'));
    await accessible(dark, `${path}, dark`);
    await shot(dark, `signin-11${path.replace('/', '-')}-dark`);
    const wide = await dark.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    if (wide) throw new Error(`${path} is wider than the window`);
  }
  await dark.context().close();
});

await end();
