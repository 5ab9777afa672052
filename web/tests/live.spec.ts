import { expect, names, rows, test } from './page';

test('shows new values and new nodes, and pauses', async ({ page, open, state }) => {
  await page.clock.install();
  await open('#/?sort=text0');
  await expect(rows(page)).toHaveCount(30);
  const value = page.locator('tbody td.usage .value').first();
  const before = await value.textContent();
  state.skew = 15;
  state.nodes.push('worker-0000');
  await page.clock.runFor(16_000);
  await expect(rows(page)).toHaveCount(31);
  await expect(names(page).first()).toHaveText('worker-0000');
  await expect(value).not.toHaveText(before ?? '');
  await page.getByRole('button', { name: 'Pause' }).click();
  state.nodes.pop();
  await page.clock.runFor(40_000);
  await expect(page.locator('.status')).toContainText('Paused');
  await expect(rows(page)).toHaveCount(31);
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect(rows(page)).toHaveCount(30);
});

test('moves no row under the pointer or the focus', async ({ page, open, state }) => {
  await page.clock.install();
  await open();
  await expect(rows(page)).toHaveCount(30);
  const order = await names(page).allTextContents();
  await names(page).nth(3).focus();
  state.skew = 600;
  await page.clock.runFor(16_000);
  await expect(page.getByText('Order is held')).toBeVisible();
  expect(await names(page).allTextContents()).toEqual(order);
  await expect(names(page).nth(3)).toBeFocused();
  await page.locator('#filter').focus();
  await expect.poll(() => names(page).allTextContents()).not.toEqual(order);
});

test('says since when it is stale, and recovers', async ({ page, open, state }) => {
  await page.clock.install();
  await open();
  await expect(page.locator('.status')).toContainText('Live');
  state.fail = 'hang up';
  await page.clock.runFor(16_000);
  await expect(page.locator('.status')).toContainText(/Stale since \d\d:\d\d:\d\d/);
  await expect(page.locator('#announcer')).toContainText('Stale since');
  await expect(page.getByRole('alert')).toContainText('cannot be reached');
  await expect(rows(page)).toHaveCount(30);
  state.fail = null;
  await page.clock.runFor(16_000);
  await expect(page.locator('.status')).toContainText('Live');
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test.describe('without nodes', () => {
  test.use({ size: { nodes: 0, pods: 0 } });
  test('says what to do', async ({ page, open }) => {
    await open();
    await expect(page.getByText('No node has posted yet.')).toBeVisible();
    await open('#/pods');
    await expect(page.getByText('No pod has posted lately.')).toBeVisible();
  });
});

test('an error has a text and a retry', async ({ page, open, state }) => {
  state.fail = [500, { error: 'the store is closed' }];
  await open();
  await expect(page.getByRole('alert')).toContainText('the store is closed');
  await expect(page.locator('.status')).toContainText('No data');
  state.fail = null;
  await page.getByRole('button', { name: 'Retry now' }).click();
  await expect(rows(page)).toHaveCount(30);
});

test('waits for the first sample as long as the server says', async ({ page, open, state }) => {
  state.fail = [503, { error: 'no sample yet' }, { 'Retry-After': '2' }];
  await open();
  await expect(page.getByText('No sample yet')).toBeVisible();
  state.fail = null;
  await expect(rows(page)).toHaveCount(30, { timeout: 20_000 });
});

test('asks for a token, keeps it in the tab, and says when it is refused', async ({
  page,
  open,
  state,
}) => {
  state.token = 'secret';
  await open();
  const field = page.getByLabel('Token');
  await field.fill('wrong');
  await field.press('Enter');
  await expect(page.getByRole('alert')).toHaveText('The server refused this token.');
  await field.fill('secret');
  await page.getByRole('button', { name: 'Use it' }).click();
  await expect(rows(page)).toHaveCount(30);
  await page.reload();
  await expect(rows(page)).toHaveCount(30);
  expect(state.asked.join()).not.toContain('secret');
});

test('asks nothing while it is hidden', async ({ page, open, state }) => {
  await page.clock.install();
  await open();
  await expect(rows(page)).toHaveCount(30);
  await page.waitForTimeout(500);
  const hide = (isHidden: boolean) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isHidden);
  await hide(true);
  const before = state.asked.length;
  await page.clock.runFor(60_000);
  expect(state.asked.length).toBe(before);
  await hide(false);
  await expect.poll(() => state.asked.length).toBeGreaterThan(before);
});
