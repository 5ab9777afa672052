import { Store } from './store';

export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const KEY = 'nodetally-theme';
const stored = localStorage.getItem(KEY);

export const theme = new Store<Theme>(THEMES.find((known) => known === stored) ?? 'auto');
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
/** What is drawn on a canvas follows this. */
export const isDark = new Store(false);

function apply(): void {
  const chosen = theme.get();
  document.documentElement.dataset.theme = chosen;
  isDark.set(chosen === 'dark' || (chosen === 'auto' && systemIsDark.matches));
}

export function followTheme(): void {
  systemIsDark.addEventListener('change', apply);
  apply();
}

export function nextTheme(): void {
  const next = THEMES[(THEMES.indexOf(theme.get()) + 1) % THEMES.length] ?? 'auto';
  localStorage.setItem(KEY, next);
  theme.set(next);
  apply();
}

/** The present value of a colour of the style sheet, for a canvas. */
export function colour(name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
