/**
 * The thread beside the page that looks into large bodies. It holds each until
 * it is told to let go of it, and answers one message for each that it gets.
 */
import { compareBodies } from './compare/bodies';
import { BodyReader, readPair } from './body-reader';
import type { WorkerAnswer, WorkerCall } from './body-thread';

const readers = new Map<number, BodyReader>();

function answer(call: WorkerCall): unknown {
  switch (call.act) {
    case 'open': {
      const reader = new BodyReader(call.bytes, call.type, call.truncated);
      readers.set(call.reader, reader);
      return reader.facts();
    }
    case 'close':
      return readers.delete(call.reader);
    case 'ask': {
      const reader = readers.get(call.reader);
      if (!reader) throw new Error('the body was let go of already');
      return (reader[call.method] as (...args: unknown[]) => unknown).apply(reader, call.args);
    }
    case 'pair':
      return readPair(call.bytes);
    case 'compare':
      return compareBodies(call.a, call.b, call.rules);
  }
}

self.addEventListener('message', ({ data }: MessageEvent<WorkerCall>) => {
  let reply: WorkerAnswer;
  try {
    reply = { id: data.id, value: answer(data) };
  } catch (error) {
    reply = { id: data.id, error: error instanceof Error ? error.message : String(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin to name
  self.postMessage(reply);
});
