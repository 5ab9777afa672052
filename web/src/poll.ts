import { useEffect, useState } from 'preact/hooks';
import { access, ApiError, get } from './api';
import { median } from './records';
import { Store } from './store';

/** Milliseconds between two polls; follows the interval of the records. */
export const interval = new Store(15_000);
export const paused = new Store(false);
/** Of the last answers: when data came, and the error since. */
export const connection = new Store<{ okAt: number | null; error: ApiError | null }>({
  okAt: null,
  error: null,
});

/** Seconds between two posts of most senders. */
export const senders = new Store<number | null>(null);

/** Polls as often as most senders post, 5 s to 15 s. */
export function followSenders(seconds: (number | null)[]): void {
  const usual = median(seconds.filter((one) => one !== null));
  if (usual === null) return;
  senders.set(usual);
  interval.set(Math.min(15_000, Math.max(5_000, Math.round(usual) * 1000)));
}

export interface Poll<T> {
  data: T | undefined;
  error: ApiError | null;
  /** When the data came. */
  at: number;
  retry: () => void;
}

/** The last answers, so that going back shows them at once. */
const answers = new Map<string, { data: unknown; at: number }>();
const ANSWERS_MAX = 12;

function keep(path: string, data: unknown): void {
  answers.delete(path);
  answers.set(path, { data, at: Date.now() });
  const oldest = answers.keys().next();
  if (answers.size > ANSWERS_MAX && !oldest.done) answers.delete(oldest.value);
}

interface Options {
  /** At least so long between two polls. */
  everyMillis?: number;
  /** A part of the page that a server may not have: 404 is no fault of the connection. */
  optional?: boolean;
  once?: boolean;
}

/** Polls a path while the page is visible. `null` polls nothing. */
export function usePoll<T>(path: string | null, options: Options = {}): Poll<T> {
  const { everyMillis = 0, optional = false, once = false } = options;
  const { tries } = access.use();
  const [state, setState] = useState<{ path: string | null; error: ApiError | null; at: number }>({
    path,
    error: null,
    at: 0,
  });
  const [retries, setRetries] = useState(0);

  useEffect(() => {
    if (path === null) return;
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isRunning = false;
    let dueAt = Date.now();

    const schedule = (millis: number) => {
      dueAt = Date.now() + millis;
      clearTimeout(timer);
      timer = setTimeout(run, millis);
    };
    const run = async () => {
      if (isRunning || document.hidden || (paused.get() && answers.has(path))) return;
      isRunning = true;
      const start = Date.now();
      let wait = Infinity;
      try {
        const data = await get<T>(path, controller.signal);
        const spent = Date.now() - start;
        keep(path, data);
        connection.set({ okAt: Date.now(), error: null });
        setState({ path, error: null, at: Date.now() });
        // A long answer is asked for less often.
        if (!once) wait = Math.max(interval.get(), everyMillis, 4 * spent);
      } catch (error) {
        if (controller.signal.aborted || !(error instanceof ApiError)) return;
        setState({ path, error, at: Date.now() });
        const isGone = error.status === 404 || error.status === 400;
        if (optional ? error.status === 0 : !isGone) connection.set({ ...connection.get(), error });
        if (error.status !== 401 && !(optional && isGone)) {
          wait = (error.retryAfterSecs ?? interval.get() / 1000) * 1000;
          wait = Math.min(60_000, Math.max(1000, wait));
        }
      } finally {
        isRunning = false;
      }
      if (controller.signal.aborted) return;
      if (wait === Infinity) dueAt = Infinity;
      else schedule(wait);
    };
    const wake = () => {
      if (!document.hidden && !paused.get() && Date.now() >= dueAt) void run();
    };
    void run();
    document.addEventListener('visibilitychange', wake);
    addEventListener('resumed', wake);
    return () => {
      controller.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', wake);
      removeEventListener('resumed', wake);
    };
  }, [path, tries, retries, once, everyMillis]);

  const answer = path === null ? undefined : answers.get(path);
  return {
    data: answer?.data as T | undefined,
    error: state.path === path ? state.error : null,
    at: answer?.at ?? 0,
    retry: () => setRetries((count) => count + 1),
  };
}

export function setPaused(value: boolean): void {
  paused.set(value);
  if (!value) dispatchEvent(new Event('resumed'));
}
