/// <reference types="vitest/config" />
// Build, development server and test configuration of the page.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const api = 'http://127.0.0.1:3500';

/** `/chat?token=…` is the socket and goes to the API. `/chat/<token>` is a page. */
const socketOnly = '^/chat(\\?|$)';

export default defineConfig({
  plugins: [react()],
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: false },
  server: {
    proxy: {
      '^/(token|refresh_token|healthz|readyz)': api,
      [socketOnly]: { target: api, ws: true },
    },
  },
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.{ts,tsx}'],
    setupFiles: ['tests/setup.ts'],
    restoreMocks: true,
    // A busy machine may need this long. When all is well it costs nothing.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 60_000,
  },
});
