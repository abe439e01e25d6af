import { readFileSync } from 'node:fs';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

const server = 'http://127.0.0.1:8000';
// The server answers only requests that come from its own origin; in development this one stands in for it.
const proxy = { target: server, changeOrigin: true, headers: { origin: server } };

/** The fonts' licence asks to travel with them; Vite collects licences of code only. */
function fontLicence(): Plugin {
  return {
    name: 'font-licence',
    generateBundle() {
      const source = readFileSync('node_modules/@fontsource/ibm-plex-mono/LICENSE', 'utf-8');
      this.emitFile({ type: 'asset', fileName: 'assets/ibm-plex-licence.txt', source });
    },
  };
}

/** The page; `--mode notebook` instead builds its figures for notebooks, as one script and one style sheet. */
export default defineConfig(({ mode }) => ({
  plugins: mode === 'notebook' ? [svelte()] : [svelte(), fontLicence()],
  publicDir: mode === 'notebook' ? false : 'public',
  build: {
    outDir: mode === 'notebook' ? '../src/cutaway/show/web' : '../src/cutaway/serve/web',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    license: { fileName: 'licenses.md' },
    ...(mode === 'notebook' && {
      cssCodeSplit: false,
      rolldownOptions: {
        input: 'src/notebook/main.ts',
        output: { entryFileNames: 'notebook.js', assetFileNames: 'notebook[extname]', codeSplitting: false },
      },
    }),
  },
  server: { proxy: { '/api': proxy, '/v1': proxy, '/report': proxy } },
}));
