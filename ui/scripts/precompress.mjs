// Writes file.gz and file.br beside what the build made, so that the server
// never compresses: it picks one by Accept-Encoding. Also puts back the
// .gitkeep that the build's cleaning removed; without it Go's embed pattern
// would match nothing on a clean clone.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url).pathname;
const compressible = /\.(?:js|css|svg|json)$/;
// Below this a compressed copy costs more in headers and files than it saves.
const minBytes = 1024;

writeFileSync(join(dist, '.gitkeep'), '');

let plain = 0;
let brotli = 0;
for (const name of readdirSync(join(dist, 'assets'))) {
  if (!compressible.test(name)) continue;
  const path = join(dist, 'assets', name);
  const bytes = readFileSync(path);
  if (bytes.length < minBytes) continue;
  const br = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
  plain += bytes.length;
  brotli += br.length;
}
console.log(`precompressed ${(plain / 1e3).toFixed(0)} KB to ${(brotli / 1e3).toFixed(0)} KB (brotli)`);
