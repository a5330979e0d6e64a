import { expect, test } from 'vitest';
import type { ForwarderState } from '../api/types';
import { bareForwarders } from './Banners';

const forwarder = (cluster: string, dlp_config: string) => ({ cluster, forwarder_id: cluster, dlp_config }) as ForwarderState;
const ruled = forwarder('eu', 'standard');

test('while any forwarder runs without rules, the banner says which', () => {
  const of = (redaction: 'on' | 'off' | 'partly', ...forwarders: ForwarderState[]) => bareForwarders({ redaction }, forwarders)?.title ?? null;
  expect(bareForwarders(undefined, [])).toBeNull();
  expect(of('on', ruled)).toBeNull();
  expect(of('off')).toBe('No forwarder redacts here.');
  expect(of('off', forwarder('us', ''))).toBe('Redaction is off.');
  expect(of('partly', ruled, forwarder('us', ''))).toBe('Forwarder us does not redact.');
  expect(of('partly', ruled, forwarder('us', ''), forwarder('ap', ''))).toBe('Forwarders us and ap do not redact.');
  expect(of('partly', ruled, ...['a', 'b', 'c', 'd', 'e'].map((c) => forwarder(c, '')))).toBe('Forwarders a, b, c and 2 more do not redact.');
  // The list may not be there yet, or may leave some out.
  expect(of('partly')).toBe('Redaction is off at some forwarders.');
});
