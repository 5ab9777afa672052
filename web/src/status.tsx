import { useEffect, useState } from 'preact/hooks';
import { announce } from './announce';
import { clock, duration } from './format';
import { connection, interval, paused, setPaused } from './poll';

/** So many intervals without an answer are stale. */
const STALE_INTERVALS = 2.5;

/** Whether what is shown is of now. */
export function Status() {
  const { okAt, error } = connection.use();
  const every = interval.use();
  const isPaused = paused.use();
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);

  const isLate = okAt !== null && now - okAt > STALE_INTERVALS * every;
  const isStale = !isPaused && okAt !== null && (error !== null || isLate);
  useEffect(() => {
    if (okAt === null) return;
    announce(isStale ? `Stale since ${clock(okAt)}. ${error?.message ?? ''}` : 'Live again');
  }, [isStale]);

  let state = 'live';
  let text = `Live, ${duration(every / 1000)}`;
  if (okAt === null) [state, text] = error ? ['stale', 'No data'] : ['wait', 'Loading'];
  else if (isPaused) [state, text] = ['wait', `Paused at ${clock(okAt)}`];
  else if (isStale) [state, text] = ['stale', `Stale since ${clock(okAt)}`];
  return (
    <div class={`status ${state}`}>
      <span class="dot" aria-hidden="true" />
      <span title={error?.message ?? (okAt === null ? '' : `Last answer ${clock(okAt)}`)}>
        {text}
      </span>
      <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
        {isPaused ? 'Resume' : 'Pause'}
      </button>
    </div>
  );
}
