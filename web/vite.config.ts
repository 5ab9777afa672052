import { readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

// Both libraries ask for their licence in copies.
const NOTICE = `/*!\n${readFileSync('NOTICE', 'utf8')}*/`;

export default defineConfig({
  // The files lie flat; the receiver serves them below /assets/.
  base: '/assets/',
  build: {
    outDir: '../src/receiver/web',
    emptyOutDir: true,
    target: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    assetsDir: '',
    rolldownOptions: {
      output: {
        entryFileNames: 'app.js',
        assetFileNames: 'app[extname]',
        codeSplitting: false,
        postBanner: NOTICE,
      },
    },
  },
  server: { proxy: { '/api': process.env.API ?? 'http://127.0.0.1:7643' } },
});
