import { useCallback, useEffect, useRef, useState } from 'react';
import { copyText } from './clipboard';
import { notice } from './notice';

/** Copies and says so; `copied` is true for a moment afterwards. */
export function useCopy(what: string): { copied: boolean; copy: (text: string) => Promise<void> } {
  const [copied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = useCallback(
    async (text: string) => {
      if (!(await copyText(text))) {
        notice('The browser did not allow copying');
        return;
      }
      notice(`Copied ${what}`);
      setCopied(true);
      clearTimeout(timer.current);
      timer.current = setTimeout(() => setCopied(false), 1500);
    },
    [what],
  );
  return { copied, copy };
}
