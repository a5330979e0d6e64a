import { expect, test } from 'vitest';
import { atLeast, namesOf, roles, scopeText, withArticle } from './roles';

test('each role may do what those before it may', () => {
  for (const [i, role] of roles.entries()) {
    for (const [j, least] of roles.entries()) expect(atLeast(role, least)).toBe(i >= j);
  }
  expect(roles.map(withArticle)).toEqual(['a viewer', 'an investigator', 'an operator', 'an admin']);
});

test('a scope in words', () => {
  expect(scopeText({ apps: [], namespaces: [], clusters: [] })).toBe('everything');
  expect(scopeText({ apps: ['checkout', 'cart'], namespaces: [], clusters: ['eu'] })).toBe('app checkout, cart; cluster eu');
});

test('names with commas between them', () => {
  expect(namesOf(' a, b,,a\nc ')).toEqual(['a', 'b', 'c']);
});
