import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: 'tests',
  timeout: 120_000,
  // Machines of CI differ by a factor of several.
  expect: { timeout: 20_000 },
  // Some tests measure time.
  workers: 1,
  forbidOnly: !!process.env.CI,
  reporter: 'list',
  use: {
    viewport: { width: 1280, height: 800 },
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      // The sandbox needs rights that containers of CI lack. The pages are our own.
      args: ['--no-sandbox'],
    },
  },
});
