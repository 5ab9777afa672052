import { Store } from './store';

const text = new Store('');

/** Has a screen reader say this. */
export function announce(message: string): void {
  text.set(message);
}

export function Announcer() {
  return (
    <div class="unseen" role="status" aria-live="polite" id="announcer">
      {text.use()}
    </div>
  );
}
