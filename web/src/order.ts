import { useMemo, useRef } from 'preact/hooks';
import type { Row } from './rows';

/** `cpu`, `-cpu`, `text0`; a minus sorts downwards. */
export type Sort = string;

export const FIGURES = ['cpu', 'memory', 'read', 'written', 'sent', 'received'] as const;
export type Figure = (typeof FIGURES)[number];

const collator = new Intl.Collator('en', { numeric: true });

/** The rows that have every word of the filter in one of their texts, or are `stale`. */
export function matching(rows: Row[], filter: string): Row[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return rows;
  return rows.filter((row) => {
    const texts = row.cells.map((cell) => cell.text.toLowerCase());
    if (row.stale) texts.push('stale');
    return words.every((word) => texts.some((text) => text.includes(word)));
  });
}

export function sorted(rows: Row[], sort: Sort): Row[] {
  const isDown = sort.startsWith('-');
  const column = sort.replace(/^-/, '');
  const way = isDown ? -1 : 1;
  const byKey = (a: Row, b: Row) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  const at = /^text(\d+)$/.exec(column)?.[1];
  if (at !== undefined) {
    const cell = (row: Row) => row.cells[Number(at)];
    return [...rows].sort((a, b) => {
      const [x, y] = [cell(a), cell(b)];
      const compared =
        x?.order !== undefined && y?.order !== undefined
          ? x.order - y.order
          : collator.compare(x?.text ?? '', y?.text ?? '');
      return way * compared || byKey(a, b);
    });
  }
  const figure = FIGURES.find((known) => known === column) ?? 'cpu';
  return [...rows].sort((a, b) => {
    const [x, y] = [a[figure], b[figure]];
    // What is not known comes last both ways.
    if (x === null || y === null) return Number(x === null) - Number(y === null) || byKey(a, b);
    return way * (x - y) || byKey(a, b);
  });
}

interface Ordered {
  rows: Row[];
  from: Row[];
  by: string;
}

/**
 * The rows to show. While `isHeld` (a pointer or the focus is in the table), new values move no row.
 */
export function useOrder(rows: Row[], filter: string, sort: Sort, isHeld: boolean): Row[] {
  const last = useRef<Ordered | null>(null);
  return useMemo(() => {
    const by = JSON.stringify([filter, sort]);
    const before = last.current?.by === by && isHeld ? last.current : null;
    if (before?.from === rows) return before.rows;
    let shown = matching(rows, filter);
    if (before) {
      const fresh = new Map(shown.map((row) => [row.key, row]));
      const kept: Row[] = [];
      for (const { key } of before.rows) {
        const row = fresh.get(key);
        if (row) kept.push(row);
        fresh.delete(key);
      }
      shown = [...kept, ...sorted([...fresh.values()], sort)];
    } else {
      shown = sorted(shown, sort);
    }
    last.current = { rows: shown, from: rows, by };
    return shown;
  }, [rows, filter, sort, isHeld]);
}
