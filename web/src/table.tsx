import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { announce } from './announce';
import { clock, counted, cores, bytes, duration, integer, rate, UNKNOWN } from './format';
import { fetchPast, noteAll, track } from './history';
import { useOrder, type Figure, type Sort } from './order';
import { useRowKeys } from './row-keys';
import { followSenders, senders } from './poll';
import { intervals, type Usage } from './records';
import { route, setQuery } from './route';
import { rowsOf, type Cell, type Kind, type Row } from './rows';
import { Sparkline } from './sparkline';
import { useVisible, rowHeight } from './visible';

/** On a narrow screen one group of figures is shown at a time. */
const GROUPS = { usage: 'CPU and memory', disk: 'Disk', network: 'Network' };

interface Column {
  id: Figure;
  title: string;
  group: keyof typeof GROUPS;
  text: (value: number | null) => string;
}

const COLUMNS: Column[] = [
  { id: 'cpu', title: 'CPU, cores', group: 'usage', text: cores },
  { id: 'memory', title: 'Memory', group: 'usage', text: bytes },
  { id: 'read', title: 'Disk read /s', group: 'disk', text: rate },
  { id: 'written', title: 'Disk write /s', group: 'disk', text: rate },
  { id: 'sent', title: 'Net sent /s', group: 'network', text: rate },
  { id: 'received', title: 'Net recv /s', group: 'network', text: rate },
];

interface Props<R extends Usage> {
  kind: Kind<R>;
  records: R[];
  /** The list's path in the API. */
  list: string;
  caption: string;
  empty: ComponentChildren;
}

export function UsageTable<R extends Usage>({ kind, records, list, caption, empty }: Props<R>) {
  const { query } = route.use();
  const filter = query.get('q') ?? '';
  const sort: Sort = query.get('sort') ?? '-cpu';
  const [typed, setTyped] = useState(filter);
  const [group, setGroup] = useState<keyof typeof GROUPS>('usage');
  const [past, setPast] = useState(0);
  const [isHovered, setHovered] = useState(false);
  const [isFocused, setFocused] = useState(false);
  const ofSums = senders.use();
  const body = useRef<HTMLTableSectionElement>(null);

  const rows = useMemo(() => {
    noteAll(records, kind.keyOf as (record: never) => string);
    const all = rowsOf(kind, records);
    if (!kind.isSum) followSenders(all.map((row) => row.seconds));
    return all;
  }, [records, kind, past, ofSums]);
  const shown = useOrder(rows, filter, sort, isHovered || isFocused);
  const { start, end } = useVisible(body, shown.length);
  const visible = shown.slice(start, end);
  const keys = useRowKeys(body, shown);
  // Exactly one row is in the tab order, also where the last one is gone.
  const active = visible.find((row) => row.key === keys.active)?.key ?? visible[0]?.key;

  useEffect(() => {
    // The focused row may have been scrolled away.
    if (isFocused && !body.current?.contains(document.activeElement)) setFocused(false);
  }, [records]);
  useEffect(() => setTyped(filter), [filter]);
  useEffect(() => {
    if (typed === filter) return;
    const timer = setTimeout(() => setQuery({ q: typed }), 150);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => {
    if (filter) announce(`${integer(shown.length)} of ${counted(rows.length, kind.noun)}`);
  }, [filter]);
  useEffect(() => {
    const controller = new AbortController();
    const keyOf = kind.keyOf as (record: never) => string;
    const source = { list, length: records.length, keyOf, rows: visible };
    const timer = setTimeout(async () => {
      const isNew = await fetchPast(source, controller.signal).catch(() => false);
      if (isNew && !controller.signal.aborted) setPast((count) => count + 1);
    }, 300);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [list, visible[0]?.key, visible.length, filter, sort]);

  if (records.length === 0) return <p class="empty">{empty}</p>;
  const over = intervals(rows, duration);
  const titles = kind.titles;

  const sortBy = (id: string, isNumber: boolean) => {
    const first = isNumber ? `-${id}` : id;
    const other = isNumber ? id : `-${id}`;
    setQuery({ sort: sort === first ? other : first });
  };
  const header = (id: string, title: string, isNumber: boolean, group = '') => {
    const direction = sort === id ? 'ascending' : sort === `-${id}` ? 'descending' : 'none';
    return (
      <th scope="col" aria-sort={direction} class={isNumber ? `number ${group}` : group} key={id}>
        <button
          type="button"
          onClick={() => {
            sortBy(id, isNumber);
            announce(`Sorted by ${title}`);
          }}
        >
          {title}
          <span class="arrow" aria-hidden="true" />
        </button>
      </th>
    );
  };

  return (
    <div class="list">
      <div class="tools">
        <label class="filter">
          <span class="unseen">Filter {kind.noun[1]}</span>
          <input
            id="filter"
            type="search"
            placeholder={`Filter ${kind.noun[1]}`}
            aria-keyshortcuts="/"
            autocomplete="off"
            spellcheck={false}
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Escape') setTyped('');
              if (event.key === 'ArrowDown' || event.key === 'Enter') {
                event.preventDefault();
                keys.focus(0);
              }
            }}
          />
        </label>
        <label class="group">
          <span class="unseen">Columns</span>
          <select
            value={group}
            onChange={(event) => setGroup(event.currentTarget.value as keyof typeof GROUPS)}
          >
            {Object.entries(GROUPS).map(([id, title]) => (
              <option value={id}>{title}</option>
            ))}
          </select>
        </label>
        <span class="count">
          {filter ? `${integer(shown.length)} of ` : ''}
          {counted(rows.length, kind.noun)}
        </span>
        <span class="note">
          {over ? `Rates are over ${over}.` : 'Rates need a second sample.'}
          {isHovered || isFocused ? ' Order is held while you are in the table.' : ''}
        </span>
      </div>
      <table
        class={`figures show-${group} texts-${titles.length}`}
        aria-rowcount={shown.length + 1}
      >
        <caption class="unseen">{caption}</caption>
        <colgroup>
          {titles.map((_, index) => (
            <col class={index === 0 ? 'name' : 'other'} />
          ))}
          {COLUMNS.map(({ group }) => (
            <col class={group} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {titles.map((title, index) =>
              header(`text${index}`, title, false, index > 0 ? 'other' : ''),
            )}
            {COLUMNS.map(({ id, title, group }) => header(id, title, true, group))}
          </tr>
        </thead>
        {start > 0 && <Spacer rows={start} />}
        <tbody
          ref={body}
          onKeyDown={keys.onKeyDown}
          onPointerEnter={(event) => event.pointerType === 'mouse' && setHovered(true)}
          onPointerLeave={() => setHovered(false)}
          onFocusIn={() => setFocused(true)}
          onFocusOut={(event) => {
            if (!event.currentTarget.contains(event.relatedTarget as Node | null))
              setFocused(false);
          }}
        >
          {visible.map((row, index) => (
            <UsageRow
              key={row.key}
              row={row}
              index={start + index}
              isActive={row.key === active}
              titles={titles}
            />
          ))}
        </tbody>
        {end < shown.length && <Spacer rows={shown.length - end} />}
      </table>
      {shown.length === 0 && (
        <p class="empty">
          No {kind.noun[0]} matches “{filter}”.{' '}
          <button type="button" onClick={() => setTyped('')}>
            Clear the filter
          </button>
        </p>
      )}
    </div>
  );
}

/** The height of rows that are not in the document. */
function Spacer({ rows }: { rows: number }) {
  return (
    <tbody aria-hidden="true">
      <tr>
        <td class="spacer" style={{ height: `${rows * rowHeight()}px` }} />
      </tr>
    </tbody>
  );
}

interface RowProps {
  row: Row;
  index: number;
  isActive: boolean;
  titles: readonly string[];
}

function UsageRow({ row, index, isActive, titles }: RowProps) {
  const [name, ...others] = row.cells;
  const past = track(row.key);
  const version = `${past?.at.length}:${past?.at.at(-1)}`;
  const tabIndex = isActive ? 0 : -1;
  const text = ({ text, href }: Cell) =>
    href ? (
      <a href={href()} tabIndex={tabIndex} title={text}>
        {text}
      </a>
    ) : (
      <span title={text}>{text || UNKNOWN}</span>
    );
  return (
    <tr aria-rowindex={index + 2} data-index={index} class={row.stale ? 'stale' : ''}>
      <th scope="row" class="name">
        <a class="primary" href={name?.href?.()} tabIndex={tabIndex} title={name?.text}>
          {name?.text}
        </a>
        {row.stale && <span class="badge">stale since {clock(row.at)}</span>}
        {others.length > 0 && (
          <span class="below">
            {others
              .map((cell) => cell.text)
              .filter(Boolean)
              .join(' · ')}
          </span>
        )}
      </th>
      {others.map((cell, at) => (
        <td class="other" key={titles[at + 1]}>
          {text(cell)}
        </td>
      ))}
      {COLUMNS.map(({ id, group, text }) => (
        <td class={`number ${group}`} key={id}>
          {past && (id === 'cpu' || id === 'memory') && (
            <Sparkline at={past.at} values={past[id]} version={version} />
          )}
          <span class="value">{text(row[id])}</span>
        </td>
      ))}
    </tr>
  );
}
