import type { IconName } from '../components/Icon';
import type { Tone } from './status';

/** What a pair lacks or what happened to it: never silence, never colour alone. */
export interface FlagInfo {
  label: string;
  icon: IconName;
  tone: Tone;
  /** One sentence: what it means for the reader. */
  means: string;
}

const known: Readonly<Record<string, FlagInfo>> = {
  truncated: {
    label: 'truncated',
    icon: 'scissors',
    tone: 'attention',
    means: 'A body is longer than what was kept of it. All of it was carried, counted and hashed.',
  },
  body_shed: {
    label: 'body not kept',
    icon: 'scissors',
    tone: 'attention',
    means: 'A body was let go because capture ran short of memory. The traffic itself was not touched.',
  },
  incomplete: {
    label: 'incomplete',
    icon: 'broken',
    tone: 'attention',
    means: 'A message ended before its framing said so: the connection was closed or reset in the middle.',
  },
  no_response: {
    label: 'no response',
    icon: 'cross',
    tone: 'bad',
    means: 'No response was seen. The error, if there is one, says why.',
  },
  midstream: {
    label: 'midstream',
    icon: 'partial',
    tone: 'attention',
    means: 'Capture joined a connection that was already talking.',
  },
  gap: {
    label: 'gap',
    icon: 'broken',
    tone: 'attention',
    means: 'Bytes in the middle were carried but not seen.',
  },
  framing_ambiguous: {
    label: 'ambiguous framing',
    icon: 'fork',
    tone: 'attention',
    means: 'Two readers could frame these bytes differently. Decoding of the connection ended here.',
  },
  redacted: {
    label: 'redacted',
    icon: 'shield',
    tone: 'private',
    means: 'A rule replaced sensitive values before anything was written to a disk. The redactions say which and where.',
  },
  withheld: {
    label: 'withheld',
    icon: 'eye-off',
    tone: 'private',
    means: 'Content was left out because a rule could not look into it, or takes it whole. The redactions say where and why.',
  },
  replayed: {
    label: 'replayed',
    icon: 'loop',
    tone: 'private',
    means: 'This request was sent again by Weir.',
  },
};

export function flagInfo(flag: string): FlagInfo {
  return (
    known[flag] ?? {
      label: flag.replaceAll('_', ' '),
      icon: 'info',
      tone: 'attention',
      means: `The analyzer marked this pair “${flag}”.`,
    }
  );
}

export const flagNames: readonly string[] = Object.keys(known).filter((f) => f !== 'replayed');

/** Worst first, so that the one that fits into a row is the one that matters. */
const order = [
  'no_response', 'framing_ambiguous', 'incomplete', 'gap', 'withheld', 'truncated', 'body_shed', 'midstream', 'redacted',
];

export function sortFlags(flags: readonly string[]): string[] {
  const rank = (f: string) => (order.indexOf(f) + order.length) % order.length;
  return flags.toSorted((a, b) => rank(a) - rank(b));
}
