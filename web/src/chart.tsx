import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { clock, UNKNOWN } from './format';
import { colour, isDark } from './theme';

export interface Line {
  label: string;
  colour: string;
  values: (number | null)[];
  isPeak?: boolean;
}

interface Props {
  title: string;
  /** The chart in words. */
  text: string;
  at: number[];
  lines: Line[];
  from: number;
  to: number;
  format: (value: number | null) => string;
  /** Steps of the axis in powers of two, as bytes are counted. */
  isBytes: boolean;
  onZoom: (from: number, to: number) => void;
}

const HEIGHT_PX = 170;
const BINARY = Array.from({ length: 60 }, (_, power) => 2 ** power);

const two = (value: number) => String(value).padStart(2, '0');

function tick(seconds: number, step: number): string {
  const date = new Date(seconds * 1000);
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (step >= 86_400 || time === '00:00') return day;
  return step < 60 ? `${time}:${two(date.getSeconds())}` : time;
}

function options(props: () => Props, width: number): uPlot.Options {
  const { lines, format, isBytes } = props();
  const axis = {
    stroke: colour('dim'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT_PX,
    scales: {
      x: { range: () => [props().from, props().to] },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
    },
    axes: [
      {
        ...axis,
        size: 26,
        space: 70,
        values: (_, at, __, ___, step) => at.map((t) => tick(t, step)),
      },
      {
        ...axis,
        size: 78,
        space: 34,
        ...(isBytes ? { incrs: BINARY } : {}),
        values: (_, ticks) => ticks.map((value) => format(value)),
      },
    ],
    series: [
      { label: 'Time', value: (_, at) => (at === null ? UNKNOWN : clock(at * 1000)) },
      ...lines.map(({ label, colour: name, isPeak }) => ({
        label,
        stroke: colour(name),
        width: isPeak ? 1 : 1.5,
        points: { show: false },
        value: (_: uPlot, value: number | null) => format(value),
      })),
    ],
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false },
      sync: { key: 'time', filters: { pub: (type) => type !== 'mousedown' && type !== 'mouseup' } },
    },
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 8) return;
          const [from, to] = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')];
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          props().onZoom(from, to);
        },
      ],
    },
  };
}

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const dark = isDark.use();
  const data = () =>
    [latest.current.at, ...latest.current.lines.map((line) => line.values)] as uPlot.AlignedData;
  const names = props.lines.map((line) => line.label).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const drawn = new uPlot(
      options(() => latest.current, element.clientWidth),
      data(),
      element,
    );
    plot.current = drawn;
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0) drawn.setSize({ width: element.clientWidth, height: HEIGHT_PX });
    });
    resized.observe(element);
    return () => {
      resized.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [dark, names]);
  useEffect(() => plot.current?.setData(data()), [props.at, props.from, props.to]);

  return (
    <figure class="chart">
      <figcaption>{props.title}</figcaption>
      <div ref={box} role="img" aria-label={props.text} />
    </figure>
  );
}
