import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { bytesQuery, type Side } from '../api/queries';
import { inlineBytes, textOf } from '../lib/body';
import type { LoadedPair } from '../lib/body-reader';

export type BodyText = { text: string; truncated: boolean } | { why: string } | null;

/** The body of one side as text with its codings undone; why there is none; null while it is fetched. */
export function useBodyText(pair: LoadedPair, side: Side): BodyText {
  const message = pair[side];
  const coded = Boolean(message?.content_encoding) && Boolean(message?.body);
  const { data, error } = useQuery({ ...bytesQuery(pair.id, side, 'body', true, false), enabled: coded });
  const bytes = useMemo(() => (coded ? data?.bytes : message ? inlineBytes(message) : undefined), [coded, data, message]);
  const truncated = (message?.truncated ?? false) || data?.state === 'truncated';
  return useMemo(() => {
    if (!message) return { why: `No ${side} was seen.` };
    if (pair.left_out?.[side] || (data && data.bytes === null)) return { why: `The ${side} is too large to be read here.` };
    if (coded && error) return { why: error.message };
    if (bytes === undefined || bytes === null) return null;
    if (bytes.length === 0) return { why: message.body_size > 0 ? `The body of the ${side} was not kept.` : 'No body.' };
    const text = textOf(bytes, truncated);
    return text === null ? { why: `The ${side} is not text.` } : { text, truncated };
  }, [message, side, pair, data, coded, error, bytes, truncated]);
}
