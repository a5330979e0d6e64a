import type { Role, Scope } from '../api/types';

/** Roles from the least to the most; each may do what those before it may. */
export const roles: readonly Role[] = ['viewer', 'investigator', 'operator', 'admin'];

/** What a role adds to those before it. */
export const roleMeans: Readonly<Record<Role, string>> = {
  viewer: 'lists, statistics, the ledger and the live tail: metadata only',
  investigator: 'headers and bodies, raw bytes, curl commands and exports',
  operator: 'imports, deletions, and the tokens of forwarders and proxies',
  admin: 'users, all keys, the audit log and backups',
};

export function atLeast(role: Role, least: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(least);
}

/** "a viewer", "an admin". */
export function withArticle(role: Role): string {
  return `${/^[aio]/.test(role) ? 'an' : 'a'} ${role}`;
}

/** What somebody sees: "everything", or "app checkout, cart; cluster eu". */
export function scopeText({ apps, namespaces, clusters }: Scope): string {
  const parts = [
    ['app', apps] as const,
    ['namespace', namespaces] as const,
    ['cluster', clusters] as const,
  ].flatMap(([name, list]) => (list.length > 0 ? [`${name} ${list.join(', ')}`] : []));
  return parts.join('; ') || 'everything';
}

/** Names that somebody wrote with commas or line ends between them. */
export function namesOf(text: string): string[] {
  return [...new Set(text.split(/[,\n]/).map((n) => n.trim()).filter(Boolean))];
}
