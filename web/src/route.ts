import { Store } from './store';

/** A view's address: `#/pod/<namespace>/<pod>?window=3600`, each name percent-encoded. */
export interface Route {
  view: string;
  names: string[];
  query: URLSearchParams;
}

/** How many names each view takes. */
const VIEWS: Record<string, number> = {
  nodes: 0,
  pods: 0,
  namespaces: 0,
  deployments: 0,
  node: 1,
  namespace: 1,
  pod: 2,
  deployment: 2,
  unit: 2,
};

export function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split(/\?(.*)/s);
  const [view = '', ...rest] = path.split('/');
  try {
    const route = {
      view: view || 'nodes',
      names: rest.map(decodeURIComponent),
      query: new URLSearchParams(query),
    };
    const isWhole = VIEWS[route.view] === route.names.length && route.names.every(Boolean);
    return isWhole ? route : { ...route, view: 'unknown' };
  } catch {
    return { view: 'unknown', names: [], query: new URLSearchParams() };
  }
}

export function link(view: string, ...names: string[]): string {
  return `#/${[view === 'nodes' ? '' : view, ...names.map(encodeURIComponent)].join('/')}`;
}

export const route = new Store<Route>(parse(location.hash));

/** Where each visited entry of the browser's history was scrolled to. */
const scrolled = new Map<number, number>();
let entry = 0;
let entries = 0;

/** The position to return to; 0 in an entry that is new. */
export function rememberedScroll(): number {
  return scrolled.get(entry) ?? 0;
}

function enter(): void {
  if (typeof history.state?.entry === 'number') {
    entry = history.state.entry;
  } else {
    entry = ++entries;
    history.replaceState({ entry }, '');
  }
  route.set(parse(location.hash));
}

export function followAddress(): void {
  history.scrollRestoration = 'manual';
  entries = Number(sessionStorage.getItem('entries') ?? 0);
  addEventListener('scroll', () => scrolled.set(entry, scrollY), { passive: true });
  addEventListener('pagehide', () => sessionStorage.setItem('entries', String(entries)));
  addEventListener('popstate', enter);
  enter();
}

/** Changes keys of the query; `undefined` removes one. `push` makes a new entry of the history. */
export function setQuery(changes: Record<string, string | undefined>, push = false): void {
  const { view, names, query } = route.get();
  const next = new URLSearchParams(query);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined || value === '') next.delete(key);
    else next.set(key, value);
  }
  const text = next.toString();
  const hash = link(view, ...names) + (text ? `?${text}` : '');
  if (push) {
    const y = scrollY;
    history.pushState({ entry: ++entries }, '', hash);
    entry = entries;
    scrolled.set(entry, y);
  } else {
    history.replaceState({ entry }, '', hash);
  }
  route.set(parse(hash));
}
