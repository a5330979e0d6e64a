import { useEffect } from 'react';

/** Names the browser tab, so that views can be told apart. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title;
  }, [title]);
}
