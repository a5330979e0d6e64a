import { createTheme, localStorageColorSchemeManager, MantineProvider, type MantineColorsTuple } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { Problem, whenSignedOut } from './api/client';
import { makeFeed } from './feed';
import { FeedContext } from './feed/context';
import { leaveForSignIn } from './lib/session';
import { makeRouter } from './router';

// Mantine wants ten shades; ours are the two of the tokens, set as variables
// in styles/tokens.css.
const shades = Array.from({ length: 10 }, () => '#0b6e6b') as unknown as MantineColorsTuple;

const theme = createTheme({
  primaryColor: 'weir',
  colors: { weir: shades },
  fontFamily: 'var(--font-ui)',
  fontFamilyMonospace: 'var(--font-data)',
  defaultRadius: 4,
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    // Nothing moves unless the user or the data moved it.
    Menu: { defaultProps: { transitionProps: { duration: 0 }, shadow: undefined } },
    Popover: { defaultProps: { transitionProps: { duration: 0 }, shadow: undefined } },
    // Locking the page's scroll would put a style element into the page, which
    // the content security policy forbids; the page does not scroll anyway.
    Modal: { defaultProps: { transitionProps: { duration: 0 }, lockScroll: false, shadow: undefined } },
  },
});

const schemes = localStorageColorSchemeManager({ key: 'weir.theme' });

function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // What the analyzer refused it will refuse again; what it did not
        // answer is asked again by the interval or by the reader.
        retry: (failures, error) => !(error instanceof Problem) && failures < 2,
        retryDelay: (attempt) => 300 * 2 ** attempt * (0.5 + Math.random()),
        refetchOnWindowFocus: false,
        networkMode: 'always',
      },
    },
  });
}

export function App() {
  const [client] = useState(makeQueryClient);
  const [router] = useState(makeRouter);
  useEffect(() => {
    whenSignedOut(() => {
      const { pathname, searchStr } = router.state.location;
      if (pathname !== '/sign-in') leaveForSignIn(pathname + searchStr);
    });
    return () => whenSignedOut(() => undefined);
  }, [router]);
  const [feed] = useState(() => makeFeed(client));
  return (
    <MantineProvider
      theme={theme}
      defaultColorScheme="auto"
      colorSchemeManager={schemes}
      withCssVariables={false}
      withGlobalClasses={false}
    >
      <QueryClientProvider client={client}>
        <FeedContext value={feed}>
          <RouterProvider router={router} />
        </FeedContext>
      </QueryClientProvider>
    </MantineProvider>
  );
}
