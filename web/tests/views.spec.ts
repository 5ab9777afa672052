import { expect, names, rows, test } from './page';

test('from the cluster to a node, its pod, its Deployment and its namespace', async ({
  page,
  open,
}) => {
  await open();
  await names(page).filter({ hasText: 'worker-0005' }).click();
  await expect(page.locator('h1')).toHaveText('Node worker-0005');
  await expect(page).toHaveTitle('worker-0005 – node – nodetally');
  await names(page).first().click();
  await expect(page.locator('h1')).toContainText('Pod');
  await expect(page.getByRole('heading', { name: 'Containers' })).toBeVisible();
  await page.locator('.facts a').nth(2).click();
  await expect(page.locator('h1')).toContainText('Deployment');
  await expect(rows(page).first()).toBeVisible();
  await page.locator('.facts a').first().click();
  await expect(page.locator('h1')).toContainText('Namespace');
  await page.getByLabel('Members').getByRole('link', { name: 'Deployments' }).click();
  await expect(names(page)).toHaveCount(8);
});

test('the balance of a node, and where its memory is', async ({ page, open }) => {
  await open('#/node/worker-0001');
  const cpu = page.locator('.balance').first();
  await expect(cpu.getByRole('img')).toHaveAttribute(
    'aria-label',
    /Pods 71 %, Units 12 %.*Unattributed/,
  );
  for (const part of ['Pods', 'Units', 'Kernel', 'Exited', 'Unattributed']) {
    await expect(cpu.locator('tr', { hasText: part }).first()).toBeVisible();
  }
  const where = page.locator('.balance', { hasText: 'Where memory is' });
  await expect(where.locator('tr', { hasText: 'Page cache' })).toContainText('35 %');
  const widths = await cpu
    .locator('.part')
    .evaluateAll((parts) => parts.map((part) => part.getBoundingClientRect().width));
  expect(widths[0]).toBeGreaterThan(4 * (widths[1] ?? 0));
});

test('units and processes of a node, and the view of a unit', async ({ page, open }) => {
  await open('#/node/worker-0001');
  await page.getByRole('link', { name: 'Processes (7)' }).click();
  await expect(names(page).filter({ hasText: 'kubelet' })).toBeVisible();
  await page.getByRole('link', { name: 'Units (8)' }).click();
  await names(page).filter({ hasText: 'kubelet.service' }).click();
  await expect(page.locator('h1')).toHaveText('Unit system.slice/kubelet.service');
  await expect(page).toHaveURL(/#\/unit\/worker-0001\/system.slice%2Fkubelet.service/);
  await expect(page.locator('.charts canvas')).toHaveCount(4);
  await expect(rows(page)).toHaveCount(1);
});

test('a server without these parts shows a node without them', async ({ page, open, state }) => {
  state.hasParts = false;
  await open('#/node/worker-0001');
  await expect(page.getByRole('heading', { name: 'Pods' })).toBeVisible();
  await expect(page.locator('.charts canvas')).toHaveCount(4);
  await expect(page.getByText('Balance')).toHaveCount(0);
  await expect(page.getByText(/Units|Processes/)).toHaveCount(0);
  await expect(page.locator('.notice')).toHaveCount(0);
  await expect(page.locator('.status')).toContainText('Live');
});

test('a part that fails says so, and the rest is live', async ({ page, open }) => {
  const body = JSON.stringify({ error: 'no room' });
  await page.route('**/balance', (route) => route.fulfill({ status: 500, body }));
  await open('#/node/worker-0001');
  await expect(page.getByRole('alert')).toContainText('no room');
  await expect(page.locator('.charts canvas')).toHaveCount(4);
  await expect(page.locator('.status')).toContainText('Live');
});

test('a series over windows, with its peaks in words', async ({ page, open, state }) => {
  await open('#/node/worker-0001');
  const table = page.locator('table', { hasText: 'Peak at' });
  await expect(table.locator('tr', { hasText: 'CPU' })).toContainText(/\d\.\d{3}/);
  await expect(table.locator('tr', { hasText: 'Disk read' })).toContainText('/s');
  await expect(page.locator('.chart [role=img]').first()).toHaveAttribute(
    'aria-label',
    /CPU, cores over 1 h\. CPU: mean .*, peak /,
  );
  await page.getByLabel('Window').selectOption('90 d');
  await expect(page).toHaveURL(/window=7776000/);
  await expect.poll(() => state.asked.join()).toContain('step=');
  await expect(page.locator('.u-legend', { hasText: 'Peak of step' })).toHaveCount(2);
});

test('a range of the past, by keys and by dragging', async ({ page, open, state }) => {
  await open('#/pod/shop/' + state.pods[0]?.pod_name);
  await page.getByRole('button', { name: 'Earlier' }).click();
  await expect(page).toHaveURL(/from=\d+&to=\d+/);
  await expect.poll(() => state.asked.join()).toMatch(/from=\d+&to=\d+/);
  await page.getByRole('button', { name: 'Live' }).click();
  await expect(page).not.toHaveURL(/from=/);
  const box = await page.locator('.u-over').first().boundingBox();
  if (!box) throw new Error('no chart');
  await page.mouse.move(box.x + box.width / 4, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await expect(page).toHaveURL(/from=\d+&to=\d+/);
  const query = new URLSearchParams(new URL(page.url()).hash.split('?')[1]);
  const seconds = Number(query.get('to')) - Number(query.get('from'));
  expect(Math.abs(seconds - 900)).toBeLessThan(60);
  await page.goBack();
  await expect(page).not.toHaveURL(/from=/);
});

test('rates of sums are over the interval of the senders', async ({ page, open }) => {
  await open('#/namespaces');
  await expect(page.locator('.list .note')).toContainText('Rates are over 15 s');
  await open('#/deployment/shop/api');
  await expect(page.locator('.sampled')).toContainText('rates over 15 s');
  await expect(page.locator('.cards')).toContainText('/s');
});

test('a server that keeps less than the window', async ({ page, open, state }) => {
  state.windowMax = 600;
  await open('#/node/worker-0001');
  await expect(page.getByText('The server keeps 10 min')).toBeVisible();
  await expect(page.getByLabel('Window')).toHaveValue('600');
  await expect(page.locator('.charts canvas')).toHaveCount(4);
  await expect(page.locator('.notice')).toHaveCount(0);
});

test('an unknown node and an unknown view', async ({ page, open }) => {
  await open('#/node/nobody');
  await expect(page.getByRole('alert')).toContainText('node nobody is not known');
  await open('#/nothing/here');
  await expect(page.locator('h1')).toHaveText('No such view');
  await open('#/node/%E0%A4%A');
  await expect(page.locator('h1')).toHaveText('No such view');
});
