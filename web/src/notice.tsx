import type { ApiError } from './api';

/** An error in the page, with what happens next. */
export function Notice({ error, retry }: { error: ApiError; retry: () => void }) {
  return (
    <p class={error.isEarly ? 'notice early' : 'notice'} role="alert">
      {error.isEarly ? 'No sample yet. The page asks again.' : error.message}{' '}
      <button type="button" onClick={retry}>
        Retry now
      </button>
    </p>
  );
}
