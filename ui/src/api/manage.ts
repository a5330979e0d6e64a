import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { getJson } from './client';
import type { Audit, AuditCheck, Deletions, Keys, Session, Users } from './types';

/** Who is signed in, and how one does. It is answered to everybody. */
export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: ({ signal }) => getJson<Session>('session', undefined, signal),
  staleTime: Infinity,
  gcTime: Infinity,
  // Another tab may have signed in as somebody else.
  refetchInterval: 60_000,
});

export const usersQuery = queryOptions({
  queryKey: ['users'],
  queryFn: async ({ signal }) => (await getJson<Users>('users', undefined, signal)).users,
});

export const keysQuery = queryOptions({
  queryKey: ['keys'],
  queryFn: async ({ signal }) => (await getJson<Keys>('keys', undefined, signal)).keys,
  // "Last used" moves by itself, at most once a minute.
  refetchInterval: 30_000,
});

export const auditQuery = infiniteQueryOptions({
  queryKey: ['audit'],
  queryFn: ({ pageParam, signal }) => getJson<Audit>('audit', { limit: 100, cursor: pageParam ?? undefined }, signal),
  initialPageParam: null as string | null,
  getNextPageParam: (last) => last.next_cursor,
});

/** Reads the whole log, so it runs only when it is asked for. */
export const auditCheckQuery = queryOptions({
  queryKey: ['audit', 'check'],
  queryFn: ({ signal }) => getJson<AuditCheck>('audit/verify', undefined, signal),
  enabled: false,
  gcTime: 0,
});

export const deletionsQuery = queryOptions({
  queryKey: ['deletions'],
  queryFn: async ({ signal }) => (await getJson<Deletions>('deletions', undefined, signal)).deletions,
});
