import { test as base, expect, type Page } from '@playwright/test';
import { makeState, start, type State } from './mock.mjs';

export { expect, type Page, type State };

interface Fixtures {
  size: { nodes?: number; pods?: number; evil?: boolean };
  state: State;
  /** Opens a view of the page. */
  open: (hash?: string) => Promise<void>;
}

/** A receiver of its own for each test. No test may leave an error in the console. */
export const test = base.extend<Fixtures>({
  size: [{ nodes: 30, pods: 300 }, { option: true }],
  state: async ({ size }, use) => use(makeState(size)),
  open: async ({ page, state }, use) => {
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => {
      const isAnswer = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !isAnswer) errors.push(message.text());
    });
    const server = await start(state);
    await use(async (hash = '#/') => void (await page.goto(`${server.url}/${hash}`)));
    await page.close();
    server.stop();
    expect(errors).toEqual([]);
  },
});

export const rows = (page: Page) => page.locator('table.figures tbody tr[data-index]');
export const names = (page: Page) => page.locator('table.figures tbody .primary');
export const header = (page: Page, title: string) =>
  page.locator('table.figures thead th', { hasText: title });
