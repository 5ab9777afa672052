import { useEffect, useMemo } from 'preact/hooks';
import { Chart, type Line } from './chart';
import { bytes, clock, cores, duration, rate } from './format';
import { Notice } from './notice';
import { pointsOf, summary, type Points } from './points';
import { usePoll } from './poll';
import type { Usage } from './records';
import { route, setQuery } from './route';
import { Store } from './store';

const WINDOWS = [900, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400];
const WINDOW = 3600;
/** A longer window is asked for in steps, so that it has about so many points. */
const POINTS = 720;
const RANGE_MIN_SECS = 30;

/** The longest window that the server answers. */
const longest = new Store(Infinity);

interface Props {
  /** The path of the series for a query (`window`, or `from` and `to`; `step`). */
  path: (query: Record<string, number>) => string;
  /** Of an answer with several entities. */
  select?: (record: Usage) => boolean;
  /** What to show where the server has no series. */
  missing?: string;
  /** A series of sums: its newest point may lack senders yet. */
  isSum?: boolean;
  /** Is given the points of the present, where they are whole. */
  onPoints?: (records: Usage[]) => void;
}

export function Series({ path, select, missing, isSum = false, onPoints }: Props) {
  const { query } = route.use();
  const max = longest.use();
  const wanted = Number(query.get('window')) || WINDOW;
  const length = Math.min(wanted, max);
  const [from, to] = [Number(query.get('from')), Number(query.get('to'))];
  const isPast = from > 0 && to > from;
  const span = isPast ? to - from : length;
  const step = Math.ceil(span / POINTS / 15) * 15;
  const steps: Record<string, number> = step > 15 ? { step } : {};
  const asked = path(isPast ? { from, to, ...steps } : { window: length, ...steps });
  const options = { everyMillis: step > 15 ? step * 1000 : 0, once: isPast, optional: true };
  const { data, error, at, retry } = usePoll<Usage[]>(asked, options);

  const refused = error?.status === 400 && /from 1 to (\d+)/.exec(error.message)?.[1];
  if (refused && Number(refused) < max) longest.set(Number(refused));

  const end = isPast ? to : Math.ceil((at || Date.now()) / 1000);
  const start = isPast ? from : end - length;
  const records = useMemo(() => {
    const all = Array.isArray(data) ? data : [];
    return select ? all.filter(select) : all;
  }, [data]);
  const points = useMemo(() => pointsOf(records, start, end, isSum), [records, start, end]);
  useEffect(() => {
    if (!isPast && step <= 15 && records.length > 0) onPoints?.(records);
  }, [records]);

  const show = (from: number, to: number) => {
    if (to >= Date.now() / 1000) setQuery({ from: undefined, to: undefined });
    else setQuery({ from: String(Math.floor(from)), to: String(Math.ceil(to)) }, true);
  };
  const zoom = (from: number, to: number) => {
    if (to - from < RANGE_MIN_SECS) return;
    setQuery({ from: String(Math.floor(from)), to: String(Math.ceil(to)) }, true);
  };
  if (error?.status === 404 && missing) return <p class="note">{missing}</p>;

  return (
    <section aria-labelledby="over-time">
      <div class="tools">
        <h2 id="over-time">Over time</h2>
        <label>
          Window{' '}
          <select
            value={isPast ? 'range' : String(length)}
            onChange={({ currentTarget }) =>
              setQuery({ window: currentTarget.value, from: undefined, to: undefined })
            }
          >
            {isPast && <option value="range">chosen range</option>}
            {!WINDOWS.includes(length) && <option value={length}>{duration(length)}</option>}
            {WINDOWS.map((seconds) => (
              <option value={seconds} disabled={seconds > max}>
                {duration(seconds)}
              </option>
            ))}
          </select>
        </label>
        <span class="buttons">
          <button type="button" onClick={() => show(start - span, end - span)}>
            Earlier
          </button>
          <button type="button" disabled={!isPast} onClick={() => show(start + span, end + span)}>
            Later
          </button>
          <button
            type="button"
            disabled={span < 2 * RANGE_MIN_SECS}
            onClick={() => zoom(start + span / 4, end - span / 4)}
          >
            Zoom in
          </button>
          <button
            type="button"
            disabled={!isPast}
            onClick={() => setQuery({ from: undefined, to: undefined })}
          >
            Live
          </button>
        </span>
        <span class="note">
          {clock(start * 1000)} to {clock(end * 1000)}
          {points.step > 0 && `, a point each ${duration(points.step)}`}
          {max !== Infinity && `. The server keeps ${duration(max)}`}
        </span>
      </div>
      {error && error.status !== 400 && <Notice error={error} retry={retry} />}
      {points.at.length === 0 ? (
        <p class="empty">{data || error ? 'No points in this window.' : 'Loading…'}</p>
      ) : (
        <Charts points={points} from={start} to={end} span={span} onZoom={zoom} />
      )}
    </section>
  );
}

interface ChartsProps {
  points: Points;
  from: number;
  to: number;
  span: number;
  onZoom: (from: number, to: number) => void;
}

function Charts({ points, from, to, span, onZoom }: ChartsProps) {
  const p = points;
  const peaks = (values: (number | null)[]): Line[] =>
    p.hasPeaks ? [{ label: 'Peak of step', colour: 'peak', values, isPeak: true }] : [];
  const charts = [
    {
      title: 'CPU, cores',
      format: cores,
      lines: [...peaks(p.cpuPeak), { label: 'CPU', colour: 'c1', values: p.cpu }],
    },
    {
      title: 'Memory',
      format: bytes,
      lines: [...peaks(p.memoryPeak), { label: 'Memory', colour: 'c2', values: p.memory }],
    },
    {
      title: 'Disk /s',
      format: rate,
      lines: [
        { label: 'Disk read', colour: 'c1', values: p.read },
        { label: 'Disk written', colour: 'c3', values: p.written },
      ],
    },
    {
      title: 'Network /s',
      format: rate,
      lines: [
        { label: 'Net sent', colour: 'c1', values: p.sent },
        { label: 'Net received', colour: 'c3', values: p.received },
      ],
    },
  ];
  const rows = charts.flatMap(({ format, lines }) => {
    const own = lines.filter((line: Line) => !line.isPeak);
    const peak = lines.find((line: Line) => line.isPeak)?.values;
    return own.map(({ label, values }) => ({ label, format, sum: summary(p, values, peak) }));
  });
  const words = (labels: string[]) =>
    rows
      .filter(({ label, sum }) => labels.includes(label) && sum)
      .map(
        ({ label, format, sum }) =>
          sum && `${label}: mean ${format(sum.mean)}, peak ${format(sum.peak)}`,
      )
      .join('; ');

  return (
    <>
      <div class="charts">
        {charts.map(({ title, format, lines }) => (
          <Chart
            key={title}
            title={title}
            text={`${title} over ${duration(span)}. ${words(lines.map(({ label }) => label))}`}
            at={p.at}
            lines={lines}
            from={from}
            to={to}
            format={format}
            isBytes={format !== cores}
            onZoom={onZoom}
          />
        ))}
      </div>
      <div class="wide" role="region" aria-label="Lowest, mean and highest" tabIndex={0}>
        <table class="plain">
          <caption class="unseen">Lowest, mean and highest values of the window</caption>
          <thead>
            <tr>
              <th scope="col">Figure</th>
              {['Min', 'Mean', 'Peak', 'Peak at', 'Last'].map((title) => (
                <th scope="col" class="number">
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ label, format, sum }) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                <td class="number">{format(sum?.min ?? null)}</td>
                <td class="number">{format(sum?.mean ?? null)}</td>
                <td class="number">
                  <strong>{format(sum?.peak ?? null)}</strong>
                </td>
                <td class="number">{sum ? clock(sum.peakAt * 1000) : ''}</td>
                <td class="number">{format(sum?.last ?? null)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
