/** A time series of the API as columns, and its summary. */

import { figures, median, type Usage } from './records';

type Values = (number | null)[];

export interface Points {
  /** Seconds since 1970. */
  at: number[];
  /** The time each point stands for. */
  seconds: number[];
  /** Seconds between two points, mostly. */
  step: number;
  cpu: Values;
  cpuPeak: Values;
  memory: Values;
  memoryPeak: Values;
  read: Values;
  written: Values;
  sent: Values;
  received: Values;
  hasPeaks: boolean;
}

const COLUMNS = [
  'cpu',
  'cpuPeak',
  'memory',
  'memoryPeak',
  'read',
  'written',
  'sent',
  'received',
] as const;

const BYTES = ['read', 'written', 'sent', 'received'] as const;

/** So many steps without a point are a gap in the line. */
const GAP_STEPS = 3;

/**
 * `isSum`: the points are of intervals of the clock, each with all that was posted in it. The newest
 * one is still filling, so its bytes are not known.
 */
export function pointsOf(records: Usage[], from: number, to: number, isSum = false): Points {
  const all = records
    .map((record) => ({ record, at: Date.parse(record.timestamp) / 1000 }))
    .filter(({ at }) => at >= from - 1 && at <= to + 1)
    .sort((a, b) => a.at - b.at);
  const steps = all.slice(1).map(({ at }, index) => at - (all[index]?.at ?? at));
  const step = median(steps) ?? 0;
  const points: Points = {
    at: [],
    seconds: [],
    step,
    hasPeaks: false,
    cpu: [],
    cpuPeak: [],
    memory: [],
    memoryPeak: [],
    read: [],
    written: [],
    sent: [],
    received: [],
  };
  let before: number | null = null;
  for (const { record, at } of all) {
    if (at === before) continue;
    const isAfterGap = before !== null && step > 0 && at - before > GAP_STEPS * step;
    if (isAfterGap && before !== null) {
      points.at.push(before + step);
      points.seconds.push(0);
      for (const column of COLUMNS) points[column].push(null);
    }
    // The bytes of the first point after a gap are of one step, not of the gap.
    const since = isAfterGap || isSum ? step : before === null ? null : at - before;
    const now = figures(record, since || null);
    const { peak } = record;
    points.hasPeaks ||= peak !== undefined;
    points.at.push(at);
    points.seconds.push(now.seconds ?? step);
    points.cpu.push(now.cpu);
    points.cpuPeak.push((peak?.cpu_millicores ?? now.cpu * 1000) / 1000);
    points.memory.push(now.memory);
    points.memoryPeak.push(peak?.memory_bytes ?? now.memory);
    points.read.push(now.read);
    points.written.push(now.written);
    points.sent.push(now.sent);
    points.received.push(now.received);
    before = at;
  }
  if (isSum) {
    for (const column of BYTES)
      if (points.at.length > 0) points[column][points.at.length - 1] = null;
  }
  return points;
}

export interface Summary {
  min: number;
  mean: number;
  peak: number;
  /** Seconds since 1970. */
  peakAt: number;
  last: number;
}

/** `peaks`: where merged steps have their own. */
export function summary(points: Points, values: Values, peaks: Values = values): Summary | null {
  let found: Summary | null = null;
  let weighed = 0;
  let weight = 0;
  values.forEach((value, index) => {
    if (value === null) return;
    const at = points.at[index] ?? 0;
    const peak = peaks[index] ?? value;
    found ??= { min: value, mean: value, peak, peakAt: at, last: value };
    found.min = Math.min(found.min, value);
    found.last = value;
    if (peak > found.peak) Object.assign(found, { peak, peakAt: at });
    const seconds = points.seconds[index] || points.step || 1;
    weighed += value * seconds;
    weight += seconds;
    found.mean = weighed / weight;
  });
  return found;
}
