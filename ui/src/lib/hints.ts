/** What an upstream's error usually means, and the next step. Empty where the error says it all. */
export function upstreamHint(error: string, upstream: string): string {
  const loopback = /^(?:localhost|127\.|\[::1\])/.test(upstream);
  if (/refused/.test(error)) {
    return loopback
      ? `Nothing listens on ${upstream} as the proxy sees it. In a container, localhost is that container alone: use the application's own address.`
      : `Nothing listens on ${upstream}. Is the application running, and is the port right?`;
  }
  if (/no such host|not resolve|server misbehaving/.test(error)) {
    return `The name in ${upstream} does not resolve where the proxy runs. Check REVERSE_PROXY_HOST.`;
  }
  if (/time(?:d )?out|deadline|unreachable|no route/.test(error)) {
    return `${upstream} does not answer. Check the address, and network rules between the proxy and the application.`;
  }
  return '';
}
