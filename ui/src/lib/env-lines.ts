/** An env-file of the analyzer: variables in order, and what it says beside them. */
export interface EnvLines {
  variables: readonly (readonly [name: string, value: string])[];
  notes: readonly string[];
}

export function readEnvLines(text: string): EnvLines {
  const variables: [string, string][] = [];
  const notes: string[] = [];
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (line.startsWith('#')) notes.push(line.replace(/^#\s?/, ''));
    else if (equals > 0) variables.push([line.slice(0, equals), line.slice(equals + 1)]);
  }
  return { variables, notes };
}

/** One word of a POSIX shell, whatever the text is (XCU 2.2.2: nothing in single quotes means anything). */
export function shellWord(text: string): string {
  return /^[\w@%+:,./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The guide's command for a proxy, with these variables. */
export function dockerRun(variables: EnvLines['variables'], port: number, image: string): string {
  return [
    'docker run --detach --rm',
    ...variables.map(([name, value]) => `--env ${shellWord(`${name}=${value}`)}`),
    `--publish ${port}:${port}/tcp`,
    image,
  ].join(' \\\n  ');
}
