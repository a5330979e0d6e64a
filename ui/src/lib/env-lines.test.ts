import { expect, test } from 'vitest';
import { dockerRun, readEnvLines, shellWord } from './env-lines';

test('variables in order, and what is said beside them', () => {
  expect(readEnvLines('A=1\nB=x=y z\n# The file needs this line:\n# name sha256:00\n\nC=\n')).toEqual({
    variables: [['A', '1'], ['B', 'x=y z'], ['C', '']],
    notes: ['The file needs this line:', 'name sha256:00'],
  });
});

test.each([
  ['APP_LABEL=checkout', 'APP_LABEL=checkout'],
  ['weir_p_a-b.c', 'weir_p_a-b.c'],
  ['a b', "'a b'"],
  ['$(reboot)', "'$(reboot)'"],
  ["it's", "'it'\\''s'"],
  ['', "''"],
  ['a\nb', "'a\nb'"],
])('%s is one word of a shell', (text, word) => {
  expect(shellWord(text)).toBe(word);
});

test('the command of the guide', () => {
  expect(dockerRun([['APP_LABEL', 'my app'], ['PROXY_IN_PORT', '4143']], 4143, 'image')).toBe(
    "docker run --detach --rm \\\n  --env 'APP_LABEL=my app' \\\n  --env PROXY_IN_PORT=4143 \\\n  --publish 4143:4143/tcp \\\n  image",
  );
});
