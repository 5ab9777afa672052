import { useLayoutEffect, useState } from 'preact/hooks';

/** A value that components follow. */
export class Store<T> {
  #value: T;
  #listeners = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of this.#listeners) listener(value);
  }

  use(): T {
    const [value, follow] = useState<T>(this.#value);
    useLayoutEffect(() => {
      const listener = (next: T) => follow(() => next);
      this.#listeners.add(listener);
      listener(this.#value);
      return () => void this.#listeners.delete(listener);
    }, []);
    return value;
  }
}
