/** The JSON of the read API. */

export interface Usage {
  timestamp: string;
  cpu_millicores: number;
  cpu_nanocores?: number;
  memory_bytes: number;
  /** Deltas of the interval. */
  disk_io?: { read_bytes: number; write_bytes: number };
  network_io?: { bytes_sent: number; bytes_recv: number };
  /** The interval's length. */
  window_millis?: number;
  stale?: boolean;
  /** The highest values within a merged step of a series. */
  peak?: { cpu_millicores?: number; memory_bytes?: number };
  labels?: Record<string, string>;
}

export interface NodeRecord extends Usage {
  node_name: string;
}

export interface PodRecord extends Usage {
  namespace: string;
  pod_name: string;
  node_name?: string;
  pod_uid?: string;
  qos_class?: string;
  deployment_name?: string;
  workload_kind?: string;
  workload_name?: string;
  containers?: { name: string; cpu_nanocores: number; memory_bytes: number }[];
}

export interface NamespaceRecord extends Usage {
  namespace: string;
}

export interface DeploymentRecord extends Usage {
  namespace: string;
  deployment_name: string;
}

export interface UnitRecord extends Usage {
  node_name: string;
  unit: string;
}

export interface ProcessRecord extends Usage {
  node_name: string;
  pid: number;
  name: string;
  owner?: string;
}

export type Parts = Record<string, number>;

export interface BalanceRecord {
  node_name: string;
  timestamp: string;
  interval_usec: number;
  cpu_usec?: Parts;
  memory_bytes?: Parts;
  memory_parts?: Parts;
}

/** What a record says, in base units. */
export interface Figures {
  /** Milliseconds since 1970. */
  at: number;
  /** Seconds of the interval that the rates are over. */
  seconds: number | null;
  stale: boolean;
  cpu: number;
  memory: number;
  read: number | null;
  written: number | null;
  sent: number | null;
  received: number | null;
}

/** The middle one; of an even number the greater. */
export function median(values: number[]): number | null {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;
}

/** `otherwise`: the seconds of the interval, for records that do not say them. */
export function figures(usage: Usage, otherwise: number | null): Figures {
  const seconds = usage.window_millis ? usage.window_millis / 1000 : otherwise;
  const perSecond = (delta: number | undefined) =>
    delta === undefined || seconds === null ? null : delta / seconds;
  return {
    at: Date.parse(usage.timestamp),
    seconds,
    stale: usage.stale === true,
    cpu: usage.cpu_nanocores === undefined ? usage.cpu_millicores / 1e3 : usage.cpu_nanocores / 1e9,
    memory: usage.memory_bytes,
    read: perSecond(usage.disk_io?.read_bytes),
    written: perSecond(usage.disk_io?.write_bytes),
    sent: perSecond(usage.network_io?.bytes_sent),
    received: perSecond(usage.network_io?.bytes_recv),
  };
}

const add = (a: number | null, b: number | null) => (a === null || b === null ? (a ?? b) : a + b);

/** The sum of all; its time is the newest. */
export function total(all: Figures[]): Figures | null {
  const [first, ...rest] = all;
  if (!first) return null;
  const sum = { ...first, stale: false };
  for (const one of rest) {
    sum.at = Math.max(sum.at, one.at);
    sum.cpu += one.cpu;
    sum.memory += one.memory;
    sum.read = add(sum.read, one.read);
    sum.written = add(sum.written, one.written);
    sum.sent = add(sum.sent, one.sent);
    sum.received = add(sum.received, one.received);
  }
  return sum;
}

/** `15 s`, or `5 s to 15 s`: the interval of all rates of a table. */
export function intervals(all: Figures[], format: (seconds: number) => string): string | null {
  let low = Infinity;
  let high = 0;
  for (const { seconds } of all) {
    if (seconds === null) continue;
    low = Math.min(low, seconds);
    high = Math.max(high, seconds);
  }
  if (high === 0) return null;
  const [from, to] = [format(Math.round(low)), format(Math.round(high))];
  return from === to ? to : `${from} to ${to}`;
}
