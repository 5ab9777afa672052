import { get, listWindow, seriesPath } from './api';
import { median, type Usage } from './records';

/** The last values of an entity, for its sparkline. */
export interface Track {
  at: number[];
  cpu: number[];
  memory: number[];
}

const SPAN_SECS = 600;
const POINTS_MAX = 64;
/** Of longer lists only entities that were seen on the screen are kept. */
const ALL_MAX = 5_000;
/** Of longer lists the past is asked for one by one, for rows on the screen. */
const LIST_MAX = 100;

const tracks = new Map<string, Track>();
const asked = new Set<string>();
/** Lists that answered `?window=` without a past. */
const withoutPast = new Set<string>();

export function track(key: string): Track | undefined {
  return tracks.get(key);
}

/** Polls may skip points: a step this much longer than usual says nothing of the interval. */
const SKIPPED = 1.5;

/** The seconds from the point before to the one of `at`. */
export function secondsBefore(key: string, at: number): number | null {
  const times = tracks.get(key)?.at;
  const before = times?.findLast((time) => time < at);
  if (!times || before === undefined) return null;
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  const usual = median(steps);
  const step = at - before;
  return (usual !== null && step > SKIPPED * usual ? usual : step) / 1000;
}

/** The record's time and values into its track, in order of time. */
export function note(key: string, at: number, cpu: number, memory: number): void {
  let one = tracks.get(key);
  if (!one) tracks.set(key, (one = { at: [], cpu: [], memory: [] }));
  const place = one.at.findLastIndex((time) => time <= at);
  if (one.at[place] === at) return;
  one.at.splice(place + 1, 0, at);
  one.cpu.splice(place + 1, 0, cpu);
  one.memory.splice(place + 1, 0, memory);
  if (one.at.length > POINTS_MAX) for (const list of [one.at, one.cpu, one.memory]) list.shift();
}

export function noteAll(records: Usage[], keyOf: (record: never) => string): void {
  const isShort = records.length <= ALL_MAX;
  for (const record of records) {
    const key = keyOf(record as never);
    if (isShort || tracks.has(key)) noteRecord(key, record);
  }
}

function noteRecord(key: string, record: Usage): void {
  note(key, Date.parse(record.timestamp), record.cpu_millicores / 1000, record.memory_bytes);
}

export interface PastSource {
  /** The list's path. */
  list: string;
  length: number;
  keyOf: (record: never) => string;
  rows: { key: string; path?: () => string }[];
}

/** Asks for the past of the rows on the screen, once each. True where something came. */
export async function fetchPast(source: PastSource, signal: AbortSignal): Promise<boolean> {
  const { list, length, keyOf, rows } = source;
  const lacking = rows.filter(
    ({ key }) => !asked.has(key) && (tracks.get(key)?.at.length ?? 0) < 3,
  );
  if (lacking.length === 0) return false;
  // Without steps: the time between points is also the interval of rates.
  const query = { window: SPAN_SECS };
  if (length <= LIST_MAX && !withoutPast.has(list)) {
    const records = await get<Usage[]>(listWindow(list, query), signal).catch(() => []);
    const keys = new Set(records.map((record) => keyOf(record as never)));
    if (records.length > keys.size) {
      noteAll(records, keyOf);
      for (const key of keys) asked.add(key);
      return true;
    }
    if (!signal.aborted) withoutPast.add(list);
  }
  let any = false;
  const one = async () => {
    for (let row = lacking.shift(); row && !signal.aborted; row = lacking.shift()) {
      if (row.path === undefined) continue;
      const records = await get<Usage[]>(seriesPath(row.path(), query), signal).catch(() => null);
      if (signal.aborted) return;
      asked.add(row.key);
      if (!Array.isArray(records)) continue;
      for (const record of records) noteRecord(row.key, record);
      any ||= records.length > 0;
    }
  };
  await Promise.all([one(), one(), one()]);
  return any;
}

/** Forgets entities of one kind that are gone. */
export function forgetOthers(prefix: string, keys: Set<string>): void {
  for (const key of tracks.keys()) {
    if (key.startsWith(prefix) && !keys.has(key)) {
      tracks.delete(key);
      asked.delete(key);
    }
  }
}
