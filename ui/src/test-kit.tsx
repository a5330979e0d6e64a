import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createMemoryHistory, createRootRoute, createRoute, createRouter, RouterProvider } from '@tanstack/react-router';
import { render } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { vi } from 'vitest';
import { sessionQuery } from './api/manage';
import type { Role, Session } from './api/types';
import { parseQueryString, writeQueryString } from './lib/search';

/** Renders with what every component may rely on. */
export function show(element: ReactElement, role?: Role) {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  if (role) client.setQueryData(sessionQuery.queryKey, sessionOf(role));
  const wrapper = ({ children }: { children: ReactNode }) => (
    <MantineProvider withCssVariables={false} withGlobalClasses={false}>
      <QueryClientProvider client={client}>{children}</QueryClientProvider>
    </MantineProvider>
  );
  return render(element, { wrapper });
}

/** Somebody of this role, signed in. */
export function sessionOf(role: Role): Session {
  return {
    auth: 'on', setup: false, methods: ['password'], notice: false, expires: null,
    identity: { kind: 'user', name: 'ada', role, scope: { apps: [], namespaces: [], clusters: [] } },
  };
}

/** Renders a page with a router around it, at an address; other addresses are empty pages. Returns the router. */
export function showAt(address: string, page: () => ReactElement, read: (raw: Record<string, unknown>) => object = (raw) => raw, role?: Role) {
  const root = createRootRoute();
  const path = address.replace(/\?.*$/, '').replace(/^\/pairs\/.+/, '/pairs/$id');
  const routes = ['/', '/endpoints', '/errors', '/latency', '/map', '/ledger', '/proxies', '/doctor', '/users', '/keys', '/audit', '/deletions', '/sign-in', '/compare', '/pairs/$id'].map((p) =>
    createRoute({ getParentRoute: () => root, path: p, validateSearch: read, component: p === path ? page : () => <p>another page: {p}</p> }),
  );
  const router = createRouter({
    routeTree: root.addChildren(routes),
    history: createMemoryHistory({ initialEntries: [address] }),
    parseSearch: (text) => parseQueryString(text),
    stringifySearch: writeQueryString,
  });
  show(<RouterProvider router={router as never} />, role);
  return router;
}

/**
 * Answers fetch by the path below /api/v1/; what has no answer is a 404
 * problem. Calls that change something are told by their method and document.
 */
export function serve(answer: (path: string, url: URL, sent: { method: string; body: unknown }) => unknown) {
  const calls: string[] = [];
  vi.stubGlobal('fetch', async (input: string, init?: RequestInit) => {
    const url = new URL(input, 'http://viewer.test/');
    calls.push(url.pathname + url.search);
    const method = init?.method ?? 'GET';
    const body = await answer(url.pathname.replace('/api/v1/', ''), url, { method, body: typeof init?.body === 'string' ? JSON.parse(init.body) : null });
    if (init?.signal?.aborted) throw new DOMException('aborted', 'AbortError');
    if (body instanceof Response) return body;
    if (body === undefined) return problem(404, { title: 'Not found', detail: 'There is none.' });
    return Response.json(body);
  });
  return calls;
}

export function problem(status: number, document: object): Response {
  return new Response(JSON.stringify({ status, ...document }), {
    status,
    headers: { 'content-type': 'application/problem+json' },
  });
}
