import { memo } from './memo';

const WIDTH = 64;
const HEIGHT = 18;

interface Props {
  at: number[];
  values: number[];
  /** Changes with the lists, which are changed in place. */
  version: string;
}

/** The last minutes as a line from 0 to their peak. The number beside it is its text. */
export const Sparkline = memo(function Sparkline({ at, values }: Props) {
  const first = at[0] ?? 0;
  const span = (at.at(-1) ?? 0) - first;
  if (span <= 0) return <svg class="spark" aria-hidden="true" />;
  const top = Math.max(...values) || 1;
  const points = values.map((value, index) => {
    const x = 1 + ((WIDTH - 2) * ((at[index] ?? first) - first)) / span;
    const y = HEIGHT - 1.5 - ((HEIGHT - 3) * value) / top;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <polyline points={points.join(' ')} />
    </svg>
  );
});
