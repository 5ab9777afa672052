// Writes the pictures of docs/receiver-page.md. Then: pngquant --force --ext .png docs/images/*.png
//
//   node tests/pictures.mjs
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';
import { makeState, start } from './mock.mjs';

const PICTURES = [
  { name: 'nodes', hash: '#/', width: 1200, height: 640, colorScheme: 'light' },
  { name: 'node', hash: '#/node/worker-0003', width: 1200, height: 700, colorScheme: 'dark' },
  {
    name: 'series',
    hash: '#/node/worker-0003',
    width: 1200,
    height: 800,
    colorScheme: 'light',
    at: '#over-time',
  },
  { name: 'phone', hash: '#/pods', width: 390, height: 760, colorScheme: 'light' },
];

const state = makeState({ nodes: 60, pods: 900 });
state.stale.add('worker-0027');
const server = await start(state);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
for (const { name, hash, width, height, colorScheme, at } of PICTURES) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  await page.goto(`${server.url}/${hash}`);
  await page.locator('tbody polyline').nth(10).waitFor({ state: 'attached' });
  if (at) {
    await page.locator(at).evaluate((one) => scrollTo(0, one.getBoundingClientRect().top - 70));
    await page
      .locator('.u-over')
      .first()
      .hover({ position: { x: 300, y: 40 } });
  }
  await page.waitForTimeout(1000);
  const path = fileURLToPath(new URL(`../../docs/images/receiver-${name}.png`, import.meta.url));
  await page.screenshot({ path });
}
await browser.close();
server.stop();
