import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Link } from '@tanstack/react-router';
import { Root } from './components/Root';
import { root } from './lib/root';
import { parseQueryString, readCompareSearch, readDeletionSearch, readErrorsSearch, readExchangeSearch, readLatencySearch, readLedgerSearch, readSearch, readSignInSearch, readSumsSearch, writeQueryString } from './lib/search';
import { Doctor } from './pages/Doctor';
import { Ledger } from './pages/Ledger';
import { Proxies } from './pages/Proxies';
import { Traffic } from './pages/Traffic';

const rootRoute = createRootRoute({ component: Root, notFoundComponent: NotFound });

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

// What few readers open is fetched when they do.

const signInRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/sign-in',
  validateSearch: readSignInSearch,
  component: lazyRouteComponent(() => import('./pages/SignIn'), 'SignIn'),
});

const usersRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/users',
  component: lazyRouteComponent(() => import('./pages/Users'), 'Users'),
});

const keysRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/keys',
  component: lazyRouteComponent(() => import('./pages/Keys'), 'Keys'),
});

const auditRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/audit',
  component: lazyRouteComponent(() => import('./pages/Audit'), 'Audit'),
});

const deletionsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/deletions',
  validateSearch: readDeletionSearch,
  component: lazyRouteComponent(() => import('./pages/Deletions'), 'Deletions'),
});

/** A link to one exchange: a page of its own. */
const pairRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/pairs/$id',
  validateSearch: readExchangeSearch,
  component: lazyRouteComponent(() => import('./pages/Exchange'), 'Exchange'),
});

const endpointsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/endpoints',
  validateSearch: readSumsSearch,
  component: lazyRouteComponent(() => import('./pages/Endpoints'), 'Endpoints'),
});

const mapRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/map',
  validateSearch: readSumsSearch,
  component: lazyRouteComponent(() => import('./pages/Map'), 'Map'),
});

const errorsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/errors',
  validateSearch: readErrorsSearch,
  component: lazyRouteComponent(() => import('./pages/Errors'), 'Errors'),
});

const latencyRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/latency',
  validateSearch: readLatencySearch,
  component: lazyRouteComponent(() => import('./pages/Latency'), 'Latency'),
});

const compareRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/compare',
  validateSearch: readCompareSearch,
  component: lazyRouteComponent(() => import('./pages/Compare'), 'Compare'),
});

function NotFound() {
  return (
    <main className="page-note">
      <h1>There is no page at this address</h1>
      <p>
        The viewer has <Link to="/">Traffic</Link>, <Link to="/endpoints">Endpoints</Link>, <Link to="/latency">Latency</Link>, <Link to="/errors">Errors</Link>, the <Link to="/map">Map</Link>, the <Link to="/ledger">Ledger</Link>, <Link to="/proxies">Proxies</Link> and the <Link to="/doctor">Doctor</Link>.
      </p>
    </main>
  );
}

export function makeRouter() {
  return createRouter({
    routeTree: rootRoute.addChildren([trafficRoute, endpointsRoute, latencyRoute, errorsRoute, mapRoute, ledgerRoute, proxiesRoute, doctorRoute, pairRoute, compareRoute, signInRoute, usersRoute, keysRoute, auditRoute, deletionsRoute]),
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
