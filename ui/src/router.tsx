import { createRootRoute, createRoute, createRouter, Link, Navigate } from '@tanstack/react-router';
import { Shell } from './components/Shell';
import { root } from './lib/root';
import { parseQueryString, readLedgerSearch, readSearch, writeQueryString } from './lib/search';
import { Doctor } from './pages/Doctor';
import { Ledger } from './pages/Ledger';
import { Proxies } from './pages/Proxies';
import { Traffic } from './pages/Traffic';

const rootRoute = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const trafficRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/',
  validateSearch: readSearch,
  component: Traffic,
});

const proxiesRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/proxies',
  component: Proxies,
});

const ledgerRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/ledger',
  validateSearch: readLedgerSearch,
  component: Ledger,
});

const doctorRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/doctor',
  component: Doctor,
});

/** A link to one pair: Traffic with its detail open. */
const pairRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/pairs/$id',
  component: function PairLink() {
    const { id } = pairRoute.useParams();
    return <Navigate to="/" search={{ row: id }} replace />;
  },
});

function NotFound() {
  return (
    <main className="page-note">
      <h1>There is no page at this address</h1>
      <p>
        The viewer has <Link to="/">Traffic</Link>, the <Link to="/ledger">Ledger</Link>, <Link to="/proxies">Proxies</Link> and the <Link to="/doctor">Doctor</Link>.
      </p>
    </main>
  );
}

export function makeRouter() {
  return createRouter({
    routeTree: rootRoute.addChildren([trafficRoute, ledgerRoute, proxiesRoute, doctorRoute, pairRoute]),
    basepath: root,
    parseSearch: (text) => parseQueryString(text),
    stringifySearch: writeQueryString,
    defaultPreload: false,
    scrollRestoration: false,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
