import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createMemoryHistory, createRootRoute, createRoute, createRouter, RouterProvider } from '@tanstack/react-router';
import { render } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { vi } from 'vitest';
import { parseQueryString, writeQueryString } from './lib/search';

/** Renders with what every component may rely on. */
export function show(element: ReactElement) {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const wrapper = ({ children }: { children: ReactNode }) => (
    <MantineProvider withCssVariables={false} withGlobalClasses={false}>
      <QueryClientProvider client={client}>{children}</QueryClientProvider>
    </MantineProvider>
  );
  return render(element, { wrapper });
}

/** Renders a page with a router around it, at an address; other addresses are empty pages. Returns the router. */
export function showAt(address: string, page: () => ReactElement, read: (raw: Record<string, unknown>) => object = (raw) => raw) {
  const root = createRootRoute();
  const path = address.replace(/\?.*$/, '');
  const routes = ['/', '/ledger', '/proxies', '/doctor'].map((p) =>
    createRoute({ getParentRoute: () => root, path: p, validateSearch: read, component: p === path ? page : () => <p>another page: {p}</p> }),
  );
  const router = createRouter({
    routeTree: root.addChildren(routes),
    history: createMemoryHistory({ initialEntries: [address] }),
    parseSearch: (text) => parseQueryString(text),
    stringifySearch: writeQueryString,
  });
  show(<RouterProvider router={router as never} />);
  return router;
}

/** Answers fetch by the path below /api/v1/; what has no answer is a 404 problem. */
export function serve(answer: (path: string, url: URL) => unknown) {
  const calls: string[] = [];
  vi.stubGlobal('fetch', async (input: string, init?: RequestInit) => {
    const url = new URL(input, 'http://viewer.test/');
    calls.push(url.pathname + url.search);
    const body = await answer(url.pathname.replace('/api/v1/', ''), url);
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
