import { useQuery } from '@tanstack/react-query';
import { sessionQuery } from '../api/manage';
import type { Identity, Role } from '../api/types';
import { atLeast } from './roles';
import { at } from './root';

/** Who is signed in; null before that is known, and where nobody is. */
export function useIdentity(): Identity | null {
  // Root asks; everybody else reads its answer.
  return useQuery({ ...sessionQuery, enabled: false }).data?.identity ?? null;
}

/**
 * Whether the reader has a role. Before that is known nothing is barred: it is
 * the analyzer that refuses, the viewer only explains.
 */
export function useMay(least: Role): boolean {
  const identity = useIdentity();
  return identity === null || atLeast(identity.role, least);
}

/** The address of the sign-in page that leads back to a page of the viewer. */
export function signInAddress(here: string): string {
  return at('sign-in') + (here && here !== '/' ? `?to=${encodeURIComponent(here)}` : '');
}

/**
 * Leaves for the sign-in page with everything that this page holds in memory
 * let go of: it was for somebody who is not signed in any more.
 */
export function leaveForSignIn(here: string): void {
  window.location.replace(signInAddress(here));
}

/** A path of the viewer itself: nothing that a link could bring from elsewhere. */
export function ownPath(to: string | undefined): string {
  return to !== undefined && /^\/(?![/\\])/.test(to) && !to.startsWith('/sign-in') ? to : '/';
}
