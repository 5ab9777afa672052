import { expect, rows, test } from './page';

const back = 'getComputedStyle(document.body).backgroundColor';

test('follows the system, and the choice of the reader', async ({ page, open }) => {
  await page.emulateMedia({ colorScheme: 'dark' });
  await open();
  const dark = await page.evaluate(back);
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await page.evaluate(back);
  expect(light).not.toBe(dark);
  await page.getByRole('button', { name: 'Theme: auto' }).click();
  await page.getByRole('button', { name: 'Theme: light' }).click();
  expect(await page.evaluate(back)).toBe(dark);
  await page.reload();
  await expect(page.getByRole('button', { name: 'Theme: dark' })).toBeVisible();
  expect(await page.evaluate(back)).toBe(dark);
});

test('the skip link leads past the navigation', async ({ page, open }) => {
  await open();
  await rows(page).first().waitFor();
  await page.keyboard.press('Tab');
  await expect(page.getByText('Skip to content')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.locator('h1')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.locator('#filter')).toBeFocused();
});

test('one row of a table is in the tab order', async ({ page, open }) => {
  await open();
  await rows(page).first().waitFor();
  await expect(page.locator('tbody .primary[tabindex="0"]')).toHaveCount(1);
});

for (const hash of ['#/', '#/pods', '#/node/worker-0001', '#/pod/shop/x']) {
  test(`${hash} on a phone is not wider than the screen`, async ({ page, open }) => {
    await page.setViewportSize({ width: 360, height: 700 });
    await open(hash);
    await page.locator('.cards, .count, .notice').first().waitFor();
    await page.waitForTimeout(500);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(
      360,
    );
  });
}

test('a phone shows other figures on request', async ({ page, open }) => {
  await page.setViewportSize({ width: 390, height: 800 });
  await open();
  const read = page.locator('thead th', { hasText: 'Disk read' });
  await expect(read).toBeHidden();
  await page.getByLabel('Columns').selectOption('Disk');
  await expect(read).toBeVisible();
  await expect(page.locator('thead th', { hasText: 'Memory' })).toBeHidden();
});

test('every control has a name', async ({ page, open }) => {
  await open('#/node/worker-0001');
  await rows(page).first().waitFor();
  const nameless = await page.locator('button, a, input, select, [role=img]').evaluateAll((all) =>
    all
      .filter((one) => {
        const label = one.getAttribute('aria-label') ?? one.textContent ?? '';
        const labels = (one as HTMLInputElement).labels;
        return !label.trim() && !labels?.length;
      })
      .map((one) => one.outerHTML),
  );
  expect(nameless).toEqual([]);
});
