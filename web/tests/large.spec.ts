import { gzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { expect, names, rows, test } from './page';

const BUILT = new URL('../../src/receiver/web/', import.meta.url);

test('the page is below 150 kB compressed', () => {
  const sizes = ['index.html', 'app.js', 'app.css'].map(
    (file) => gzipSync(readFileSync(new URL(file, BUILT))).length,
  );
  const sum = sizes.reduce((a, b) => a + b, 0);
  console.log(`compressed: ${sum} bytes`);
  expect(sum).toBeLessThan(150_000);
});

test.describe('2,000 nodes', () => {
  test.use({ size: { nodes: 2000, pods: 0 } });

  test('are on the screen within a second', async ({ page, open }) => {
    // The best of three: others may use the machine.
    const views: number[] = [];
    for (let view = 0; view < 3; view++) {
      await page.goto('about:blank');
      const start = Date.now();
      await open();
      await rows(page).first().waitFor();
      views.push(Date.now() - start);
    }
    console.log(`first view: ${views.join(', ')} ms`);
    expect(Math.min(...views)).toBeLessThan(process.env.CI ? 4000 : 1000);
    await expect(page.locator('.count')).toHaveText('2,000 nodes');
    await expect(page.locator('table.figures')).toHaveAttribute('aria-rowcount', '2001');
    expect(await rows(page).count()).toBeLessThan(100);
  });

  test('scroll to the end, and come back to the place', async ({ page, open }) => {
    await open('#/?sort=text0');
    await rows(page).first().waitFor();
    await page.mouse.move(5, 300);
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await expect(names(page).last()).toHaveText('worker-2000');
    await expect(rows(page).last()).toHaveAttribute('aria-rowindex', '2001');
    await names(page).last().click();
    await expect(page.locator('h1')).toHaveText('Node worker-2000');
    expect(await page.evaluate(() => scrollY)).toBe(0);
    await page.goBack();
    await expect(names(page).last()).toHaveText('worker-2000');
    await expect(names(page).last()).toBeInViewport();
  });

  test('the focus goes through rows that were not rendered', async ({ page, open }) => {
    await open('#/?sort=text0');
    await rows(page).first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.press('ArrowDown');
    for (let press = 0; press < 60; press++) await page.keyboard.press('ArrowDown');
    await expect(page.locator(':focus')).toHaveText('worker-0061');
    await page.keyboard.press('End');
    await expect(page.locator(':focus')).toHaveText('worker-2000');
    await expect(page.locator(':focus')).toBeInViewport();
    await page.keyboard.press('PageUp');
    await page.keyboard.press('Home');
    await expect(page.locator(':focus')).toHaveText('worker-0001');
  });

  test('the past is asked for rows on the screen only', async ({ page, open, state }) => {
    await open();
    await expect(rows(page).first().locator('polyline')).toHaveCount(2);
    await page.waitForTimeout(500);
    expect(state.asked.length).toBeLessThan(100);
  });
});

test.describe('60,000 pods', () => {
  test.use({ size: { nodes: 2000, pods: 60_000 } });
  test('can be filtered, sorted and scrolled', async ({ page, open }) => {
    await open('#/pods');
    await expect(page.locator('.count')).toHaveText('60,000 pods', { timeout: 60_000 });
    const start = Date.now();
    await page.locator('#filter').fill('cart worker-0003');
    await expect(page.locator('.count')).toHaveText('30 of 60,000 pods');
    await page.locator('thead button').nth(1).click();
    await page.locator('#filter').fill('');
    await expect(page.locator('.count')).toHaveText('60,000 pods');
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await expect(rows(page).last()).toHaveAttribute('aria-rowindex', '60001');
    console.log(`filter, sort and scroll: ${Date.now() - start} ms`);
    expect(Date.now() - start).toBeLessThan(process.env.CI ? 60_000 : 10_000);
  });
});
