/** Figures and times as text. `null` is a figure that is not known. */

export const UNKNOWN = '–';

const grouped = new Intl.NumberFormat('en-US');
const threeDecimals = new Intl.NumberFormat('en-US', {
  minimumFractionDigits: 3,
  maximumFractionDigits: 3,
});

export function integer(value: number): string {
  return grouped.format(value);
}

export function cores(value: number | null): string {
  return value === null ? UNKNOWN : threeDecimals.format(value);
}

const STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

export function bytes(value: number | null): string {
  if (value === null) return UNKNOWN;
  let size = Math.abs(value);
  let step = 0;
  // 1023.5 would be shown as 1024.
  while (size >= 1023.5 && step < STEPS.length - 1) {
    size /= 1024;
    step += 1;
  }
  const decimals = step === 0 ? 0 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return `${value < 0 ? '−' : ''}${size.toFixed(decimals)} ${STEPS[step]}`;
}

export function rate(value: number | null): string {
  return value === null ? UNKNOWN : `${bytes(value)}/s`;
}

export function percent(part: number, whole: number): string {
  if (whole <= 0) return UNKNOWN;
  const share = (100 * part) / whole;
  const text = Math.abs(share) < 9.95 ? share.toFixed(1) : share.toFixed(0);
  return `${text.replace('-', '−')} %`;
}

/** `15 s`, `5.6 s`, `10 min`, `6 h`, `90 d`. */
export function duration(seconds: number): string {
  for (const [length, unit] of [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
  ] as const) {
    if (seconds >= length && seconds % length === 0) return `${seconds / length} ${unit}`;
  }
  return `${Number(seconds.toFixed(1))} s`;
}

const two = (value: number) => String(value).padStart(2, '0');

/** Local time, with the date where it is another day. */
export function clock(millis: number, now = Date.now()): string {
  const date = new Date(millis);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

export function counted(count: number, [one, many]: readonly [string, string]): string {
  return `${integer(count)} ${count === 1 ? one : many}`;
}
