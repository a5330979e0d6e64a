// What every walk through the viewer needs: a browser whose complaints are
// written down, requests through the proxy, and one JSON object a step on
// standard output: {"step", "ok", …}. The last one, "end", lists what the
// console and the network had to say.
//
// usage: node <walk>.mjs '{"viewer", "proxy", "playwright", "chromium", "sandbox", "out", "proxyPort"}'
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';

export const cfg = JSON.parse(process.argv[2]);
export const limit = 10_000;

const modules = createRequire(cfg.playwright);
const trouble = [];
/** What the content security policy had to report, on all pages. */
let violations = 0;
/** Refusals that a walk brings about on purpose, by their addresses. */
const expected = [];
let failed = false;
let browser;
/** The page of which a failed step leaves a picture: the first that was opened. */
let main;

export function say(name, ok, more = {}) {
  if (!ok) failed = true;
  console.log(JSON.stringify({ step: name, ok, ...more }));
}

export async function begin() {
  browser = await modules('playwright-core').chromium.launch({
    executablePath: cfg.chromium,
    headless: true,
    args: [
      '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', ...(cfg.sandbox ? [] : ['--no-sandbox']),
    ],
  });
}

export async function end() {
  await browser.close();
  say('end', trouble.length === 0 && violations === 0, { trouble, violations });
  process.exit(failed ? 1 : 0);
}

/**
 * A page that writes down every error of its console, every refusal (browsers
 * log each as an error of the console; a mistake in a query must not be one),
 * and every request that leaves the viewer's origin.
 */
export async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  main ??= page;
  page.setDefaultTimeout(limit);
  const wanted = (url) => expected.some((pattern) => pattern.test(url));
  page.on('response', (res) => {
    if (res.status() >= 400 && !wanted(res.url())) trouble.push(`status ${res.status()}: ${res.url()}`);
  });
  page.on('console', (msg) => {
    if (['error', 'warning'].includes(msg.type()) && !(msg.text().startsWith('Failed to load resource') && wanted(msg.location().url))) trouble.push(`console ${msg.type()}: ${msg.text()} (${msg.location().url})`);
  });
  page.on('dialog', (dialog) => {
    trouble.push(`a dialog of the browser: ${dialog.message()}`);
    void dialog.dismiss();
  });
  // By the debugger's way, which the policy does not bar.
  await page.exposeBinding('weirViolation', (_, what) => {
    violations++;
    trouble.push(`the policy was violated: ${what}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) => globalThis.weirViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  page.on('pageerror', (err) => trouble.push(`uncaught: ${err}`));
  page.on('request', (req) => {
    const url = new URL(req.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== cfg.viewer) trouble.push(`a request to a third party: ${req.url()}`);
  });
  return page;
}

/** Refusals of these addresses are what the walk is about, and no trouble. */
export function expectRefusals(...patterns) {
  expected.push(...patterns);
}

/** Whether a violation of the policy would be counted: makes one, and takes it back. */
export async function violationsCount(page) {
  const before = violations;
  await page.evaluate(() => {
    const script = document.createElement('script');
    try {
      script.textContent = 'window.__inline = 1';
    } catch {
      // Trusted types refuse it already; that is a violation, too.
    }
    document.head.append(script);
    script.remove();
  });
  const until = Date.now() + limit;
  while (violations === before && Date.now() < until) await page.waitForTimeout(20);
  const counted = violations - before;
  violations = before;
  for (let i = trouble.length - 1; i >= 0; i--) if (/policy was violated|Content Security Policy|TrustedScript|trusted type/i.test(trouble[i])) trouble.splice(i, 1);
  if (counted === 0) throw new Error('an inline script was not reported');
  if (await page.evaluate(() => '__inline' in globalThis)) throw new Error('an inline script ran');
}

export async function shot(page, name) {
  await page.screenshot({ path: path.join(cfg.out, `${name}.png`) });
}

/** Runs one step and says how it went; what `run` returns is said with it. */
export async function step(name, run) {
  const began = performance.now();
  try {
    const more = (await run()) ?? {};
    say(name, true, { took_ms: Math.round(performance.now() - began), ...more });
  } catch (err) {
    say(name, false, { error: String(err) });
    await shot(main, `failed-${name}`).catch(() => {});
  }
}

/** Sends one request through the proxy, or another one, and resolves with its answer. */
export function send(method, target, body = '', headers = {}, agent = false, proxy = cfg.proxy) {
  return new Promise((resolve, reject) => {
    const req = http.request(proxy + target, { method, headers, agent, timeout: limit }, (res) => {
      const chunks = [];
      res.on('data', (c) => chunks.push(c));
      res.on('end', () => resolve({ status: res.statusCode, body: Buffer.concat(chunks).toString() }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

let answers;

/** Asks the test to do something to the processes, and resolves with what it answers once it has. */
export async function ask(what) {
  answers ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  console.log(JSON.stringify({ ask: what }));
  const { value, done } = await answers.next();
  if (done) throw new Error(`asked for ${what}, got no answer`);
  return JSON.parse(value);
}

/**
 * Rules of accessibility that a program can check (WCAG 2.2 A and AA), on the
 * page as it is now. The source runs in the page by the debugger's way, which
 * the content security policy does not bar.
 */
export async function accessible(page, name) {
  await page.evaluate(modules('axe-core').source);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] });
    return violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
  });
  if (found.length > 0) throw new Error(`${name}:\n${found.join('\n')}`);
}
