import { useEffect, useState } from 'react';

/**
 * An answer that is there at once, or comes from another thread: then what came
 * last stays until the next is there, and undefined stands for "not yet".
 * The caller memoises `answer`.
 */
export function useAnswer<T>(answer: T | Promise<T>): T | undefined {
  const [got, setGot] = useState<{ value: T }>();
  useEffect(() => {
    if (!(answer instanceof Promise)) return undefined;
    let wanted = true;
    answer.then(
      (value) => {
        if (wanted) setGot({ value });
      },
      // Who opened the body hears why the thread ended; a window that nobody can fill stays as it is.
      () => undefined,
    );
    return () => {
      wanted = false;
    };
  }, [answer]);
  return answer instanceof Promise ? got?.value : answer;
}
