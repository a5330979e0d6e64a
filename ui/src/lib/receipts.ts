import type { Pair, Redaction } from '../api/types';

/** Why content was withheld, by the word in the receipt: what the forwarder could not be sure of. */
const whyWithheld: Readonly<Record<string, string>> = {
  rule: 'a rule takes it whole',
  fault: 'redaction failed on it, so nothing of it was kept',
  framing_ambiguous: 'two readers could frame the bytes differently, so nobody can say what is in them',
  opaque: 'nobody decodes this protocol, so no rule can look into it',
  content_coding: 'its content coding is unknown or damaged, so no rule could look into it',
  malformed: 'it is not what its type says, so no rule could look into all of it',
  unknown_type: 'no rule can look into a body of this type (undecodable: withhold)',
  budget: 'looking into it takes more work than a pair is allowed',
};

export type ReceiptKind = 'changed' | 'withheld' | 'shadow' | 'more';

/** A receipt in the terms of a reader. Receipts never hold the value that they are about. */
export interface Receipt {
  kind: ReceiptKind;
  side: 'request' | 'response' | '';
  /** Where, without the side: "header.authorization", "body $.user.password". */
  place: string;
  /** What was found there: "JWT"; empty where the receipt is about something else. */
  type: string;
  rule: string;
  count: number;
  /** One sentence, without its full stop. */
  means: string;
}

export function receiptOf({ rule, location, type, count }: Redaction): Receipt {
  const [, side = '', place = ''] = /^(?:(request|response)\.)?(.*)$/s.exec(location) ?? [];
  const common = { side: side as Receipt['side'], place, rule, count };
  if (rule === '(more)') {
    return { ...common, side: '', place: '', kind: 'more', type: '', means: 'more places than a pair keeps receipts for' };
  }
  if (rule === 'withheld') {
    return { ...common, kind: 'withheld', type: '', means: whyWithheld[type] ?? `withheld: ${type.replaceAll('_', ' ')}` };
  }
  if (type.startsWith('shadow:')) {
    return { ...common, kind: 'shadow', type: type.slice('shadow:'.length), means: 'counted, not changed: the rule runs in shadow' };
  }
  return { ...common, kind: 'changed', type, means: 'replaced before anything was written to a disk' };
}

/** Why the body of one side was withheld; empty where it was not. */
export function withheldBecause(pair: Pick<Pair, 'redactions'>, side: 'request' | 'response'): string {
  return pair.redactions
    .map(receiptOf)
    .filter((r) => r.kind === 'withheld' && r.side === side)
    .map((r) => r.means)
    .join('; ');
}
