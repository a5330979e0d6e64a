import { act, screen, waitFor } from '@testing-library/react';
import { describe, expect, test } from 'vitest';
import type { Message, Pair } from '../../api/types';
import { pair as summary } from '../../feed/fake';
import { problem, serve, show } from '../../test-kit';
import type { DetailTab } from '../../lib/search';
import { Detail } from './Detail';

const message = (change: Partial<Message>): Message => ({
  start_line: 'GET / HTTP/1.1',
  headers: [],
  trailers: [],
  body: '',
  body_encoding: 'text',
  body_size: 0,
  body_hash: '',
  truncated: false,
  wire_size: 100,
  content_encoding: '',
  ...change,
});

const whole = (n: number, change: Partial<Pair> = {}): Pair => ({
  ...summary(n),
  request: message({ headers: [['X-Number', String(n)]] }),
  response: message({ start_line: 'HTTP/1.1 200 OK', headers: [['X-Answer', String(n)]] }),
  timing: { accepted: null, connected: null, request_first: null, request_last: null, response_first: null, response_last: null },
  redactions: [],
  tags: {},
  ...change,
});

const props = {
  tab: 'headers' as DetailTab,
  width: 700,
  onTab: () => {},
  onClose: () => {},
  onMove: () => {},
  onFilter: () => {},
};

const view = (n: number, change: Partial<typeof props> = {}) => <Detail {...props} {...change} id={summary(n).id} early={summary(n)} />;

describe('the pane always shows the selected pair', () => {
  test('fifty fast moves with answers in the wrong order', async () => {
    const waiting = new Map<string, () => void>();
    serve(
      (path) =>
        new Promise((resolve) => {
          const n = Number(path.slice(-12));
          waiting.set(path, () => resolve(whole(n)));
        }),
    );
    const { rerender } = show(view(0));
    const check = (n: number) => {
      const text = document.body.textContent ?? '';
      expect(text).toContain(`/n/${n}`);
      for (const cell of document.querySelectorAll('td')) expect(cell.textContent).toBe(String(n));
    };
    for (let n = 1; n <= 50; n++) {
      rerender(view(n));
      check(n);
      if (n % 7 === 0) {
        // Some answers of earlier rows come in between, the newest of them first.
        const due = [...waiting.entries()].toReversed().slice(2, 5);
        await act(async () => {
          for (const [path, answer] of due) {
            answer();
            waiting.delete(path);
          }
          await new Promise((resolve) => setTimeout(resolve, 0));
        });
        check(n);
      }
    }
    await act(async () => {
      for (const answer of [...waiting.values()].toReversed()) answer();
      await new Promise((resolve) => setTimeout(resolve, 0));
    });
    await waitFor(() => expect(document.querySelectorAll('td')).toHaveLength(2));
    check(50);
  });

  test('an answer that is another pair is not shown', async () => {
    serve(() => whole(7));
    show(view(3));
    expect(await screen.findByText(/another pair than the one/)).toBeTruthy();
    expect(document.querySelectorAll('td')).toHaveLength(0);
  });

  test('a pair that is gone says so', async () => {
    serve(() => problem(404, { title: 'Not found' }));
    show(view(3));
    expect(await screen.findByText(/This pair is not stored/)).toBeTruthy();
  });
});

test('headers keep order, case and duplicates', async () => {
  serve(() => whole(1, { response: message({ start_line: 'HTTP/1.1 200 OK', headers: [['set-Cookie', 'a=1'], ['X', ''], ['Set-Cookie', 'b=2']], trailers: [['Sum', 'x']] }) }));
  show(view(1));
  const panel = await screen.findByRole('region', { name: 'Response' });
  expect([...panel.querySelectorAll('th')].map((th) => th.textContent)).toEqual(['set-Cookie', 'X', 'Set-Cookie', 'Sum']);
});

describe('bodies', () => {
  test('JSON stands as a tree, with nothing lost', async () => {
    serve(() => whole(1, { response: message({ headers: [['Content-Type', 'application/json']], body: '{"n":12345678901234567890}', body_size: 26 }) }));
    show(view(1, { tab: 'body' }));
    expect(await screen.findByRole('region', { name: 'Response body' })).toBeTruthy();
    expect(screen.getByRole('button', { name: 'pretty' }).getAttribute('aria-pressed')).toBe('true');
    expect(screen.getByText('No body.')).toBeTruthy();
  });

  test('a coded body is shown decoded, with both sizes', async () => {
    const calls = serve((path) =>
      path.endsWith('/body')
        ? new Response('hello', { headers: { 'weir-body': 'whole', 'content-length': '5' } })
        : whole(1, { response: message({ headers: [['Content-Type', 'text/plain']], body: 'H4sI', body_encoding: 'base64', body_size: 3, content_encoding: 'gzip' }) }),
    );
    show(view(1, { tab: 'body' }));
    expect(await screen.findByText('5 B, 3 B as gzip')).toBeTruthy();
    expect(calls.filter((c) => c.includes('/body'))).toEqual([`/api/v1/pairs/${summary(1).id}/response/body?decoded=1`]);
  });

  test('a large body is not fetched before it is wanted', async () => {
    let read = 0;
    serve((path) => {
      if (!path.endsWith('/body')) return whole(1, { response: message({ body: 'H4sI', body_encoding: 'base64', body_size: 3, content_encoding: 'gzip' }) });
      return new Response(
        new ReadableStream({
          pull(controller) {
            read++;
            controller.close();
          },
        }, { highWaterMark: 0 }),
        { headers: { 'content-length': '60000000' } },
      );
    });
    show(view(1, { tab: 'body' }));
    expect(await screen.findByText('This is large: 60 MB.')).toBeTruthy();
    expect(read).toBe(0);
  });

  test('what was not kept is said', async () => {
    serve(() => whole(1, { flags: ['body_shed'], response: message({ body_size: 5000 }) }));
    show(view(1, { tab: 'body' }));
    expect(await screen.findByText('5.0 KB were carried, and none of it was kept: capture ran short of memory.')).toBeTruthy();
  });
});

test('nothing captured becomes markup', async () => {
  const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
  serve(() =>
    whole(1, {
      path: evil,
      request: message({ start_line: evil, headers: [[evil, evil]], body: JSON.stringify({ [evil]: evil }), body_size: 10 }),
      response: message({ start_line: evil, headers: [['Content-Type', 'text/html']], body: evil, body_size: 10 }),
    }),
  );
  for (const tab of ['headers', 'body', 'timing'] as const) {
    const { unmount } = show(view(1, { tab }));
    await waitFor(() => expect(document.querySelector('[role=tabpanel]')?.textContent).not.toContain('Loading'));
    expect(document.querySelector('[data-pane] img, [data-pane] script')).toBeNull();
    unmount();
  }
  expect('pwned' in globalThis).toBe(false);
});
