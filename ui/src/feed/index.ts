import type { QueryClient } from '@tanstack/react-query';
import { call, Unreachable } from '../api/client';
import { fetchHistogram, fetchPage, rightQuery } from '../api/queries';
import { Feed } from './feed';
import { Tail } from './tail';

/** The feed of this page, on the real API. */
export function makeFeed(client: QueryClient): Feed {
  return new Feed({
    page: (view, options, signal) => fetchPage(client, view.q, view.range, options, signal),
    histogram: (view, buckets, signal) => fetchHistogram(client, view.q, view.range, buckets, signal),
    tail: (view, handlers) =>
      new Tail(
        {
          connect: async (resume, signal) => {
            await rightQuery(client, view.q, signal);
            const response = await call(
              'tail',
              { q: view.q, cursor: resume ?? undefined },
              { signal, headers: { accept: 'text/event-stream' }, cache: 'no-store' },
            );
            if (!response.body) throw new Unreachable('no body');
            return response.body;
          },
        },
        handlers,
      ),
    frame: (callback) => requestAnimationFrame(callback),
  });
}

export { Feed, type Row, type View } from './feed';
