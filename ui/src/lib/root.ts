/**
 * Where the viewer is mounted, with a slash at its end. Assets are one level
 * below it, so this module's own address tells; a proxy may serve the viewer
 * below a path of its own.
 */
const here: string = import.meta.url;

export const root: string = import.meta.env.PROD ? new URL('../', here).pathname : '/';

/** Address of a path of the server, "api/v1/pairs". */
export function at(path: string): string {
  return root + path;
}
