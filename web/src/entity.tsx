/** Parts that the views of single entities have in common. */

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { paths } from './api';
import { bytes, clock, cores, duration, rate } from './format';
import { note, track } from './history';
import { followSenders, senders, usePoll } from './poll';
import { figures, type Figures, type NodeRecord, type Usage } from './records';
import { route } from './route';
import { nodeKind, rowsOf, secondsOf, type Kind } from './rows';
import { Sparkline } from './sparkline';

/** So much of the past is in a sparkline. */
const PAST_MILLIS = 900_000;

/** The figures of one entity; the key is that of its sparkline. */
export function useFigures<R extends Usage>(
  kind: Kind<R>,
  key: string,
  usage: R | undefined,
): Figures | undefined {
  senders.use();
  if (!usage) return undefined;
  note(key, Date.parse(usage.timestamp), usage.cpu_millicores / 1000, usage.memory_bytes);
  return figures(usage, secondsOf(kind, key, usage));
}

/** Learns how often the senders post, which sums of their posts do not say. */
export function useSenders(): void {
  const { data } = usePoll<NodeRecord[]>(paths.nodes, { everyMillis: 60_000, optional: true });
  useEffect(() => {
    if (data) followSenders(rowsOf(nodeKind, data).map((row) => row.seconds));
  }, [data]);
}

/** Takes the newest points of a series into the track of the entity's cards. */
export function usePast(key: string): (records: Usage[]) => void {
  const [, redraw] = useState(0);
  return (records) => {
    const since = Date.now() - PAST_MILLIS;
    for (const { timestamp, cpu_millicores: cpu, memory_bytes: memory } of records) {
      if (Date.parse(timestamp) >= since) note(key, Date.parse(timestamp), cpu / 1000, memory);
    }
    redraw((count) => count + 1);
  };
}

interface CardsProps {
  figures: Figures;
  track?: string;
  more?: [string, ComponentChildren][];
}

/** The present figures, large. */
export function Cards({ figures: now, track: key, more = [] }: CardsProps) {
  const past = key === undefined ? undefined : track(key);
  const version = `${past?.at.length}:${past?.at.at(-1)}`;
  const cards: [string, ComponentChildren][] = [
    ...more,
    [
      'CPU, cores',
      <>
        {cores(now.cpu)}
        {past && <Sparkline at={past.at} values={past.cpu} version={version} />}
      </>,
    ],
    [
      'Memory',
      <>
        {bytes(now.memory)}
        {past && <Sparkline at={past.at} values={past.memory} version={version} />}
      </>,
    ],
    ['Disk read', rate(now.read)],
    ['Disk written', rate(now.written)],
    ['Net sent', rate(now.sent)],
    ['Net received', rate(now.received)],
  ];
  return (
    <dl class="cards">
      {cards.map(([title, value]) => (
        <div key={title}>
          <dt>{title}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** When and over which interval the figures were sampled. */
export function Sampled({ figures: now }: { figures: Figures }) {
  return (
    <p class="sampled">
      {now.stale ? (
        <span class="badge">stale since {clock(now.at)}</span>
      ) : (
        `Sampled ${clock(now.at)}`
      )}
      {now.seconds !== null && `, rates over ${duration(now.seconds)}`}
    </p>
  );
}

export interface Tab {
  id: string;
  title: string;
  content: ComponentChildren;
}

/** The lists of an entity, one at a time. */
export function Tabs({ tabs, label }: { tabs: Tab[]; label: string }) {
  const { query } = route.use();
  const chosen = tabs.find(({ id }) => id === query.get('tab')) ?? tabs[0];
  if (!chosen) return null;
  const address = (id: string) => {
    const next = new URLSearchParams(query);
    for (const key of ['q', 'sort']) next.delete(key);
    next.set('tab', id);
    return `${location.hash.split('?')[0]}?${next}`;
  };
  return (
    <>
      {tabs.length > 1 && (
        <nav class="tabs" aria-label={label}>
          {tabs.map(({ id, title }) => (
            <a href={address(id)} aria-current={id === chosen.id ? 'true' : undefined}>
              {title}
            </a>
          ))}
        </nav>
      )}
      <div key={chosen.id}>
        {tabs.length === 1 && <h2>{chosen.title}</h2>}
        {chosen.content}
      </div>
    </>
  );
}

/** Names and values; what is not known is left out. */
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  const known = facts.filter(([, value]) => value);
  if (known.length === 0) return null;
  return (
    <dl class="facts">
      {known.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Labels({ labels }: { labels: Record<string, string> | undefined }) {
  const entries = Object.entries(labels ?? {});
  if (entries.length === 0) return null;
  return (
    <details>
      <summary>Labels ({entries.length})</summary>
      <ul class="labels">
        {entries.map(([name, value]) => (
          <li key={name}>
            {name}={value}
          </li>
        ))}
      </ul>
    </details>
  );
}
