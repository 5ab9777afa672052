import type { RefObject } from 'preact';
import { useLayoutEffect, useState } from 'preact/hooks';

/** Lists up to this length are rendered in full, so that the browser's own search finds all rows. */
const FULL_MAX = 100;
const OVERSCAN = 12;

const narrow = matchMedia('(max-width: 900px)');

/** As in the style sheet. */
export function rowHeight(): number {
  return narrow.matches ? 52 : 34;
}

/** The index of the first row that is in the document. */
export function firstRendered(body: HTMLElement): number {
  return Number(body.querySelector('tr')?.dataset.index ?? 0);
}

export interface Range {
  start: number;
  end: number;
}

/** The rows of a long table that are on the screen, with some before and after. */
export function useVisible(body: RefObject<HTMLElement | null>, count: number): Range {
  const [range, setRange] = useState<Range>({ start: 0, end: FULL_MAX });

  useLayoutEffect(() => {
    let frame = 0;
    const measure = () => {
      frame = 0;
      if (!body.current) return;
      const height = rowHeight();
      const above = firstRendered(body.current) * height - body.current.getBoundingClientRect().top;
      const start = Math.max(0, Math.floor(above / height) - OVERSCAN);
      const end = Math.max(0, Math.ceil((above + innerHeight) / height)) + OVERSCAN;
      setRange((now) => (now.start === start && now.end === end ? now : { start, end }));
    };
    const soon = () => {
      frame ||= requestAnimationFrame(measure);
    };
    measure();
    addEventListener('scroll', soon, { passive: true });
    addEventListener('resize', soon);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', soon);
      removeEventListener('resize', soon);
    };
  }, [count]);

  if (count <= FULL_MAX) return { start: 0, end: count };
  // A list that became shorter may leave nothing of the range.
  const end = Math.min(count, range.end);
  return { start: Math.max(0, Math.min(range.start, end - 1)), end };
}
