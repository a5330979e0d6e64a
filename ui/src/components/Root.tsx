import { useQuery } from '@tanstack/react-query';
import { Navigate, Outlet, useRouterState } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { Problem } from '../api/client';
import { sessionQuery } from '../api/manage';
import { Shell } from './Shell';

/**
 * Lets nobody see a page before it is known who they are: whoever is not
 * signed in is sent to do so, and comes back to the same address.
 */
export function Root() {
  const { data: session, error, refetch } = useQuery({ ...sessionQuery, retry: (_, e) => !(e instanceof Problem), retryDelay: 1000 });
  const { going, here, shown } = useRouterState({
    select: ({ location, matches }) => ({ going: location.pathname, here: location.pathname + location.searchStr, shown: matches.at(-1)?.routeId }),
    structuralSharing: true,
  });
  const who = session?.identity ? `${session.identity.kind} ${session.identity.name} ${session.identity.role}` : null;
  const before = useRef(who);
  useEffect(() => {
    // Somebody else signed in beside this tab: what it holds is not theirs.
    if (before.current !== null && who !== null && before.current !== who) window.location.reload();
    if (who !== null) before.current = who;
  }, [who]);

  // What is shown, not where the way leads: until that page is there, the one before it would be.
  if (shown === '/sign-in') return <Outlet />;
  if (going === '/sign-in') return null;
  if (!session) {
    return (
      <main className="page-note">
        <p className="late" role={error ? 'alert' : undefined}>
          {error ? `${error.message} ` : 'Asking the analyzer …'}
          {error && (
            <button type="button" className="btn" onClick={() => void refetch()}>
              Try again
            </button>
          )}
        </p>
      </main>
    );
  }
  if (session.identity === null) return <Navigate to="/sign-in" search={here === '/' ? {} : { to: here }} replace />;
  return <Shell session={session} />;
}
