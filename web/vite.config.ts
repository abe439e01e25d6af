import { readFileSync } from 'node:fs';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type HtmlTagDescriptor, type Plugin } from 'vite';

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

/**
 * The place that is seen first is a file of its own, which the page would ask for only once its first script has run; and
 * fonts once there is text to be set in them, which is then laid out twice. Have the browser fetch both with that script.
 */
function fetchAtOnce(): Plugin {
  return {
    name: 'fetch-at-once',
    transformIndexHtml: {
      order: 'post',
      handler(html, { bundle = {} }) {
        const chunks = Object.values(bundle).filter((file) => file.type === 'chunk');
        const first = chunks.find(({ name, isDynamicEntry }) => name === 'Talk' && isDynamicEntry);
        if (!first) return [];
        const scripts = [first, ...chunks.filter(({ fileName }) => first.imports.includes(fileName))];
        const styles = scripts.flatMap((chunk) => [...(chunk.viteMetadata?.importedCss ?? [])]);
        const fresh = (name: string): boolean => !html.includes(name);
        const fonts = Object.keys(bundle).filter((name) => /plex-sans.*woff2$/.test(name));
        const link = (href: string, attrs: Record<string, string | boolean>): HtmlTagDescriptor => {
          return { tag: 'link', injectTo: 'head', attrs: { ...attrs, crossorigin: true, href: `/${href}` } };
        };
        return [
          ...scripts.map(({ fileName }) => fileName).filter(fresh).map((name) => link(name, { rel: 'modulepreload' })),
          ...styles.filter(fresh).map((name) => link(name, { rel: 'stylesheet' })),
          ...fonts.map((name) => link(name, { rel: 'preload', as: 'font', type: 'font/woff2' })),
        ];
      },
    },
  };
}

/** The page; `--mode notebook` instead builds its figures for notebooks, as one script and one style sheet. */
export default defineConfig(({ mode }) => ({
  plugins: mode === 'notebook' ? [svelte()] : [svelte(), fontLicence(), fetchAtOnce()],
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
