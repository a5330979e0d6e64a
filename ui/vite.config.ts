import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/**
 * Puts theme-boot.js into the head as an external classic script, hashed like
 * every other asset. Vite bundles module scripts only, and a module would run
 * after the first paint.
 */
function themeBoot(): Plugin {
  const path = new URL('./src/theme-boot.js', import.meta.url);
  let serving = false;
  const asset = () => {
    const source = readFileSync(path, 'utf8');
    const hash = createHash('sha256').update(source).digest('base64url').slice(0, 8);
    return { fileName: `assets/theme-boot-${hash}.js`, source };
  };
  return {
    name: 'weir-theme-boot',
    configResolved(config) {
      serving = config.command === 'serve';
    },
    generateBundle() {
      this.emitFile({ type: 'asset', ...asset() });
    },
    transformIndexHtml: {
      order: 'post',
      handler: () => [
        {
          tag: 'script',
          attrs: { src: serving ? '/src/theme-boot.js' : `./${asset().fileName}` },
          injectTo: 'head-prepend',
        },
      ],
    },
  };
}

const api = process.env.WEIR_API ?? 'http://127.0.0.1:4190';

// base is relative: the Go handler rewrites "./" in index.html to the depth of
// the page that was asked for, so that the viewer works at any path, also
// behind a proxy that serves it below one.
export default defineConfig(({ command }) => ({
  base: command === 'serve' ? '/' : './',
  plugins: [react(), themeBoot()],
  server: {
    host: '127.0.0.1',
    // A test compares words with the command line's.
    fs: { allow: ['.', '../doctor'] },
    proxy: { '/api': { target: api }, '/healthz': { target: api }, '/readyz': { target: api } },
  },
  build: {
    target: 'es2023',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
    emptyOutDir: true,
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test-setup.ts'],
    restoreMocks: true,
  },
}));
