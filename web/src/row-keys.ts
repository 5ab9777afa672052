import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Row } from './rows';
import { firstRendered, rowHeight } from './visible';

/** Room for the sticky header of the table. */
const HEADER_PX = 100;

/** Arrow keys, Home, End, PageUp and PageDown move the focus between rows; one row is in the tab order. */
export function useRowKeys(body: RefObject<HTMLTableSectionElement | null>, rows: Row[]) {
  const [active, setActive] = useState<string | null>(null);
  const [, redraw] = useState(0);
  const wanted = useRef<number | null>(null);

  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const link = body.current?.querySelector<HTMLElement>(
      `tr[data-index="${wanted.current}"] .primary`,
    );
    if (!link) return;
    wanted.current = null;
    link.focus({ preventScroll: true });
  });

  const focus = (index: number) => {
    const at = Math.max(0, Math.min(rows.length - 1, index));
    const row = rows[at];
    if (!row || !body.current) return;
    const height = rowHeight();
    const top =
      body.current.getBoundingClientRect().top + (at - firstRendered(body.current)) * height;
    if (top < HEADER_PX) scrollBy(0, top - HEADER_PX);
    else if (top + height > innerHeight) scrollBy(0, top + 2 * height - innerHeight);
    wanted.current = at;
    setActive(row.key);
    // The row may be the active one already, without the focus.
    redraw((count) => count + 1);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const row = (event.target as HTMLElement).closest('tr');
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = Number(row.dataset.index);
    const page = Math.max(1, Math.floor((innerHeight - HEADER_PX) / rowHeight()) - 1);
    const next: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: rows.length - 1,
    };
    const target = next[event.key];
    if (target === undefined) return;
    event.preventDefault();
    if (event.key === 'ArrowUp' && at === 0) document.getElementById('filter')?.focus();
    else focus(target);
  };

  return { active, focus, onKeyDown };
}
