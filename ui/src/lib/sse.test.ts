import { expect, test } from 'vitest';
import { EventParser, type ServerEvent } from './sse';

const text = 'retry: 1000\n: connected\n\nevent: pair\nid: 41\ndata: {"a":\ndata: 1}\n\n: beat\r\n\r\nid: 42\n\nevent: dropped\rdata: {"count":3}\r\rdata:x\n\nevent: cut\ndata: off';
const want: ServerEvent[] = [
  { type: 'pair', data: '{"a":\n1}' },
  { type: 'dropped', data: '{"count":3}' },
  { type: 'message', data: 'x' },
];

function parse(chunks: string[]): { events: ServerEvent[]; lastId: string | null } {
  const events: ServerEvent[] = [];
  const parser = new EventParser((e) => events.push(e));
  for (const chunk of chunks) parser.push(chunk);
  return { events, lastId: parser.lastId };
}

test('events, comments, all three line ends; an id without data still moves the place', () => {
  expect(parse([text])).toEqual({ events: want, lastId: '42' });
});

test('any split of the stream gives the same events', () => {
  expect(parse([...text])).toEqual({ events: want, lastId: '42' });
  for (let cut = 1; cut < text.length; cut++) {
    expect(parse([text.slice(0, cut), text.slice(cut)]).events).toEqual(want);
  }
});

test('an id counts only when its event is whole', () => {
  expect(parse(['id: 7\ndata: x\n']).lastId).toBeNull();
});
