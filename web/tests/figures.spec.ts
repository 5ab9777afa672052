import { expect, test } from '@playwright/test';
import { bytes, cores, duration, percent, rate } from '../src/format';
import { matching, sorted } from '../src/order';
import { pointsOf, summary } from '../src/points';
import { figures, intervals, total, type Usage } from '../src/records';
import type { Row } from '../src/rows';

const record = (seconds: number, bytes: number, more: Partial<Usage> = {}): Usage => ({
  timestamp: new Date(seconds * 1000).toISOString(),
  cpu_millicores: seconds,
  memory_bytes: 1024,
  disk_io: { read_bytes: bytes, write_bytes: 0 },
  network_io: { bytes_sent: 0, bytes_recv: 0 },
  ...more,
});

test('a rate is over the interval that the record names, else since the point before', () => {
  expect(figures(record(100, 3000, { window_millis: 1500 }), 10).read).toBe(2000);
  expect(figures(record(100, 3000), 10).read).toBe(300);
  expect(figures(record(100, 3000), null).read).toBeNull();
  expect(figures(record(100, 0, { cpu_nanocores: 1_500_000 }), null).cpu).toBe(0.0015);
});

test('a point after a gap has the rate of one step, and the line has a hole', () => {
  const points = pointsOf(
    [record(115, 150), record(100, 9), record(130, 150), record(400, 150)],
    0,
    500,
  );
  expect(points.at).toEqual([100, 115, 130, 145, 400]);
  expect(points.read).toEqual([null, 10, 10, null, 10]);
  expect(points.cpu).toEqual([0.1, 0.115, 0.13, null, 0.4]);
  expect(pointsOf([record(100, 1), record(115, 1)], 110, 120).at).toEqual([115]);
});

test('a point of a sum is over the whole step, and the newest is not known yet', () => {
  const sums = [record(14, 150), record(29, 150), record(31, 150), record(46, 20)];
  expect(pointsOf(sums, 0, 100, true).read).toEqual([10, 10, 10, null]);
});

test('a summary weighs by time, and knows the peaks of merged steps', () => {
  const points = pointsOf(
    [
      record(0, 0, { window_millis: 10_000, memory_bytes: 10 }),
      record(30, 0, { window_millis: 30_000, memory_bytes: 50, peak: { memory_bytes: 90 } }),
    ],
    -10,
    100,
  );
  expect(points.hasPeaks).toBe(true);
  const found = summary(points, points.memory, points.memoryPeak);
  expect(found).toEqual({ min: 10, mean: 40, peak: 90, peakAt: 30, last: 50 });
  expect(summary(pointsOf([], 0, 1), [])).toBeNull();
});

test('a sum leaves out what is not known, and names the intervals', () => {
  const all = [
    figures(record(10, 100, { window_millis: 5000 }), null),
    figures(record(20, 7), null),
  ];
  expect(total(all)).toMatchObject({ at: 20_000, read: 20, memory: 2048 });
  expect(total([])).toBeNull();
  expect(intervals(all, duration)).toBe('5 s');
  expect(intervals(all.slice(1), duration)).toBeNull();
});

test('figures as text', () => {
  expect([0, 1023, 1024, 1024 ** 2 - 1, 5e9].map(bytes)).toEqual([
    '0 B',
    '1023 B',
    '1.00 KiB',
    '1.00 MiB',
    '4.66 GiB',
  ]);
  expect(bytes(-2048)).toBe('−2.00 KiB');
  expect([rate(1536), rate(null)]).toEqual(['1.50 KiB/s', '–']);
  expect([cores(0.0294), cores(1234.5)]).toEqual(['0.029', '1,234.500']);
  expect([percent(1, 3), percent(-1, 50), percent(1, 0)]).toEqual(['33 %', '−2.0 %', '–']);
  expect([5.647, 15, 600, 86_400].map(duration)).toEqual(['5.6 s', '15 s', '10 min', '1 d']);
});

test('unknown figures sort last both ways, and names by their numbers', () => {
  const row = (name: string, read: number | null, stale = false): Row => ({
    ...figures(record(1, 0), null),
    key: name,
    cells: [{ text: name }],
    read,
    stale,
  });
  const rows = [row('n10', 5), row('n9', null, true), row('N2', 7)];
  const keys = (sort: string) => sorted(rows, sort).map(({ key }) => key);
  expect(keys('read')).toEqual(['n10', 'N2', 'n9']);
  expect(keys('-read')).toEqual(['N2', 'n10', 'n9']);
  expect(keys('text0')).toEqual(['N2', 'n9', 'n10']);
  expect(matching(rows, ' N9 stale ').map(({ key }) => key)).toEqual(['n9']);
});
