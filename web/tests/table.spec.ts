import { expect, header, names, rows, test } from './page';

test('sorts by a figure, both ways, and says so', async ({ page, open }) => {
  await open();
  const cpu = header(page, 'CPU');
  await expect(cpu).toHaveAttribute('aria-sort', 'descending');
  const values = async () =>
    (await page.locator('tbody td.usage:nth-child(2) .value').allTextContents()).map(Number);
  await expect(rows(page)).toHaveCount(30);
  expect(await values()).toEqual((await values()).toSorted((a, b) => b - a));
  await cpu.getByRole('button').click();
  await expect(cpu).toHaveAttribute('aria-sort', 'ascending');
  expect(await values()).toEqual((await values()).toSorted((a, b) => a - b));
  await expect(page.locator('#announcer')).toContainText('Sorted by CPU');
});

test('sorts by a name and by rates', async ({ page, open }) => {
  await open();
  await header(page, 'Node').getByRole('button').click();
  await expect(names(page).first()).toHaveText('worker-0001');
  await header(page, 'Node').getByRole('button').click();
  await expect(names(page).first()).toHaveText('worker-0030');
  await header(page, 'Disk read').getByRole('button').click();
  await expect(header(page, 'Disk read')).toHaveAttribute('aria-sort', 'descending');
  await expect(page.locator('.note').first()).toContainText('Rates are over 15 s');
  await expect(page.locator('tbody td.disk .value').first()).toHaveText(/B\/s$/);
});

test('filters by words of any column, and keeps the filter in the address', async ({
  page,
  open,
}) => {
  await open('#/pods');
  await rows(page).first().waitFor();
  await page.keyboard.press('/');
  await expect(page.locator('#filter')).toBeFocused();
  await page.keyboard.type('shop worker-0001');
  await expect(page.locator('.count')).toHaveText('10 of 300 pods');
  await expect(page).toHaveURL(/q=shop\+worker-0001/);
  await expect(page.locator('#announcer')).toHaveText('10 of 300 pods');
  await page.reload();
  await expect(page.locator('#filter')).toHaveValue('shop worker-0001');
  await expect(rows(page)).toHaveCount(10);
  await page.locator('#filter').fill('no such pod');
  await expect(page.getByText('No pod matches')).toBeVisible();
  await page.locator('#filter').press('Escape');
  await expect(page.locator('.count')).toHaveText('300 pods');
});

test('moves between rows with arrow keys, opens with Enter, and comes back', async ({
  page,
  open,
}) => {
  await open('#/?sort=text0');
  await expect(rows(page)).toHaveCount(30);
  await page.keyboard.press('/');
  await page.keyboard.press('ArrowDown');
  await expect(names(page).nth(0)).toBeFocused();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await expect(names(page).nth(2)).toBeFocused();
  await page.keyboard.press('End');
  await expect(names(page).nth(29)).toBeFocused();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/#\/node\/worker-0002$/);
  await expect(page.locator('h1')).toBeFocused();
  await page.goBack();
  await expect(header(page, 'Node')).toHaveAttribute('aria-sort', 'ascending');
  await expect(names(page).first()).toHaveText('worker-0001');
});

test('draws sparklines of the past, also where lists have none', async ({ page, open, state }) => {
  await open();
  await expect(page.locator('tbody polyline')).toHaveCount(60);
  expect(state.asked.filter((path) => path.includes('/timeseries'))).toEqual([]);
  state.hasListWindow = false;
  await page.reload();
  await expect(page.locator('tbody polyline')).toHaveCount(60);
  expect(state.asked.filter((path) => path.includes('/timeseries')).length).toBe(30);
});

test('a stale node is marked', async ({ page, open, state }) => {
  state.stale.add('worker-0004');
  await open();
  await expect(rows(page).filter({ hasText: 'worker-0004' })).toContainText('stale since');
  await expect(page.locator('.cards')).toContainText('1 stale');
  await page.locator('#filter').fill('stale');
  await expect(rows(page)).toHaveCount(1);
});

test.describe('names that are markup or paths', () => {
  test.use({ size: { nodes: 2, pods: 2, evil: true } });
  test('stay text, and their views open', async ({ page, open, state }) => {
    const evil = state.nodes.slice(2);
    for (const list of ['#/', '#/pods', '#/namespaces', '#/deployments']) {
      for (const name of evil) {
        await open(list);
        await names(page).filter({ hasText: name }).click();
        await expect(page.locator('h1')).toContainText(name);
        await expect(page.locator('.cards')).toBeVisible();
        await expect(page.locator('.charts canvas')).toHaveCount(4);
      }
    }
    expect(await page.title()).not.toBe('evil');
    await expect(page.locator('img, main b')).toHaveCount(0);
  });
});
