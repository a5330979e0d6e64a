import { createContext, useContext, useSyncExternalStore } from 'react';
import type { Feed } from './feed';

export const FeedContext = createContext<Feed | null>(null);

/** The page's feed, without following it. */
export function useFeedRef(): Feed {
  const feed = useContext(FeedContext);
  if (!feed) throw new Error('no feed around this component');
  return feed;
}

/** The page's feed; the component renders again whenever it changes. */
export function useFeed(): Feed {
  const feed = useFeedRef();
  useSyncExternalStore(feed.subscribe, feed.version);
  return feed;
}
