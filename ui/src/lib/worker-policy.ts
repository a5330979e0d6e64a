// oxlint-disable-next-line import/default -- made by the bundler
import address from './body-worker?worker&url';

interface ScriptAddresses {
  createPolicy(name: string, rules: { createScriptURL: () => string }): { createScriptURL(ignored: string): unknown };
}

/** Made once: the policy's name may not be taken twice. */
let trusted: unknown;

/**
 * Starts the one worker that there is. The content security policy asks for a
 * trusted address: its only policy is this one, which knows no address but the
 * worker's own, whatever it is asked for. Null where the browser has no workers.
 */
export function startWorker(): Worker | null {
  if (typeof Worker === 'undefined') return null;
  const factory = (globalThis as { trustedTypes?: ScriptAddresses }).trustedTypes;
  trusted ??= factory ? factory.createPolicy('weir-worker', { createScriptURL: () => address }).createScriptURL('') : address;
  return new Worker(trusted as string, { type: 'module', name: 'bodies' });
}
