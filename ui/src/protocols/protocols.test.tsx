import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, test, vi } from 'vitest';
import type { Message, Pair } from '../api/types';
import { pair as summary } from '../feed/fake';
import { serve, show } from '../test-kit';
import { renderers, renderersOf, type Renderer } from '.';
import { readRequest, readResponse, readUrl } from './graphql/operations';
import { streamLines } from './opaque/lines';
import { ProtocolView } from './ProtocolView';
import { readEvents } from './sse/frames';

const message = (change: Partial<Message>): Message => ({
  start_line: 'POST / HTTP/1.1', headers: [], trailers: [], body: '', body_encoding: 'text', body_size: change.body?.length ?? 0, body_hash: '', truncated: false, wire_size: 0, content_encoding: '', ...change,
});
const whole = (change: Partial<Pair>): Pair => ({
  ...summary(1),
  timing: { accepted: null, connected: null, request_first: null, request_last: null, response_first: null, response_last: null },
  redactions: [],
  tags: {},
  ...change,
});
const json = [['Content-Type', 'application/json']] as [string, string][];
const graphql = whole({
  method: 'POST',
  request: message({ headers: json, body: JSON.stringify({ operationName: 'Pay', query: '# a query\nmutation Pay($id: ID!) { pay(id: $id) { ok } }', variables: { id: 7 } }) }),
  response: message({ start_line: 'HTTP/1.1 200 OK', headers: json, body: '{"data":{"pay":null},"errors":[{"message":"card declined","path":["pay",0],"extensions":{"code":"NO"}}]}' }),
});

describe('U44 the list of renderers', () => {
  test('names are unique, and the last takes everything', () => {
    expect(new Set(renderers.map((r) => r.name)).size).toBe(renderers.length);
    expect(renderers.at(-1)?.matches(whole({ protocol: 'anything' }))).toBe(true);
  });
  test.each([
    ['graphql', graphql],
    ['sse', whole({ response: message({ headers: [['content-type', 'Text/Event-Stream; charset=utf-8']] }) })],
    ['http', whole({ method: 'POST', request: message({ headers: json, body: '{"query":"shoes"}' }) })],
    ['opaque', whole({ protocol: 'opaque' })],
    ['generic', whole({ protocol: 'kafka' })],
  ])('%s', (name, pair) => {
    expect(renderersOf(pair)[0]?.name).toBe(name);
  });

  test('a renderer that throws falls back to the generic one', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const broken: Renderer = {
      name: 'broken', title: 'Broken', matches: () => true,
      View: () => {
        throw new Error('a frame without an end');
      },
    };
    show(<ProtocolView pair={graphql} list={[broken, ...renderers]} />);
    expect(await screen.findByText(/The view “Broken” cannot show this exchange \(a frame without an end\)/)).toBeTruthy();
    expect(screen.getByRole('region', { name: 'Request, kept part, bytes' })).toBeTruthy();
    // The plainer ways are still there.
    await userEvent.click(screen.getByRole('button', { name: 'Bodies' }));
    expect(screen.queryByText(/cannot show/)).toBeNull();
  });
});

describe('GraphQL', () => {
  test('operations of a body', () => {
    expect(readRequest(graphql.request?.body ?? '', 'application/json')).toMatchObject([{ type: 'mutation', name: 'Pay', variables: '{"id":7}' }]);
    expect(readRequest('[{"query":"{ a }"},{"extensions":{"persistedQuery":{"sha256Hash":"abc"}}}]', 'application/json')).toMatchObject([{ type: 'query', name: '' }, { type: '', hash: 'abc' }]);
    expect(readRequest('{"query":"query A { a } query B { b }","operationName":"B"}', '')).toMatchObject([{ type: 'query', name: 'B' }]);
    for (const none of ['', '[]', '{', 'null', '{"query":"shoes"}', '{"query":5}']) expect(readRequest(none, 'application/json')).toBeNull();
    expect(readUrl('query=%7B+a+%7D&variables=%7B%22x%22%3A1%7D')).toMatchObject({ type: 'query', variables: '{"x":1}' });
    expect(readUrl('query=shoes')).toBeNull();
  });
  test('results and errors', () => {
    expect(readResponse(graphql.response?.body ?? '')).toMatchObject([{ fields: ['pay'], errors: [{ message: 'card declined', path: 'pay.0', code: 'NO' }] }]);
    expect(readResponse('{"errors":[null,{"path":3}]}')).toMatchObject([{ fields: null, errors: [{ message: 'no message' }, { message: 'no message' }] }]);
    expect(readResponse('{"ok":true}')).toBeNull();
  });
  test('is shown in its own terms', async () => {
    serve(() => undefined);
    show(<ProtocolView pair={graphql} />);
    expect(await screen.findByText('mutation')).toBeTruthy();
    expect(screen.getByRole('region', { name: '1 error' }).textContent).toContain('card declined');
    expect(screen.getByRole('region', { name: 'Variables' })).toBeTruthy();
  });
});

describe('event streams', () => {
  test('frames, comments, line ends, and an end that is none', () => {
    const frames = readEvents('\ufeffevent: price\r\nid: 1\r\ndata: {"a":\r\ndata: 1}\r\n\r\n: ping\n\ndata\n\nretry: 100\rdata:x\r\rdata: cut');
    expect(frames.map((f) => [f.kind, f.name, f.id, f.data, f.unfinished])).toEqual([
      ['event', 'price', '1', '{"a":\n1}', false],
      ['comment', 'comment', '', 'ping', false],
      ['event', 'message', '', '', false],
      ['event', 'message', '', 'x', false],
      ['event', 'message', '', 'cut', true],
    ]);
    expect(readEvents('')).toEqual([]);
  });
  test('are listed with their direction', async () => {
    vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(200);
    show(<ProtocolView pair={whole({ response: message({ headers: [['Content-Type', 'text/event-stream']], body: 'data: one\n\ndata: two\n\n' }) })} />);
    await waitFor(() => expect(screen.getAllByRole('option')).toHaveLength(2));
    expect(screen.getByText('2 events')).toBeTruthy();
    expect(screen.getAllByRole('img', { name: 'server to client' }).length).toBeGreaterThanOrEqual(2);
  });
});

test('an opaque connection is a stream of two directions', async () => {
  expect(streamLines(17, 1)).toEqual([{ side: 'request', line: 0 }, { side: 'request', line: 1 }, { side: 'response', line: 0 }]);
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(200);
  show(<ProtocolView pair={whole({ protocol: 'opaque', request_size: 2, response_size: 5, request: message({ body: 'hi' }), response: message({ body: 'there' }) })} />);
  await waitFor(() => expect(document.querySelectorAll('[data-side=request]')).toHaveLength(2));
  expect(screen.getByText('there')).toBeTruthy();
});
