import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { vi } from 'vitest';

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
