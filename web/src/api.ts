import { Store } from './store';

/** An answer that is no data. Status 0: the server could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfterSecs: number | null = null,
  ) {
    super(message);
  }

  /** No sample yet. */
  get isEarly(): boolean {
    return this.status === 503;
  }
}

const TOKEN = 'nodetally-token';

export type Access = 'open' | 'asked' | 'refused';

/** Whether the server wants a token, and the number of tokens that were tried. */
export const access = new Store<{ state: Access; tries: number }>({ state: 'open', tries: 0 });

export function tryToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
  access.set({ state: 'open', tries: access.get().tries + 1 });
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const token = sessionStorage.getItem(TOKEN);
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response: Response;
  try {
    response = await fetch(path, { headers, signal, cache: 'no-store' });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'The server cannot be reached.');
  }
  if (response.status === 401) {
    // An answer to an older token says nothing of the present one.
    if (token === sessionStorage.getItem(TOKEN)) {
      access.set({ state: token ? 'refused' : 'asked', tries: access.get().tries });
    }
    throw new ApiError(401, 'The server asks for a token.');
  }
  if (!response.ok) {
    const retryAfter = Number(response.headers.get('Retry-After') ?? NaN);
    throw new ApiError(
      response.status,
      await errorText(response),
      Number.isFinite(retryAfter) ? retryAfter : null,
    );
  }
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(response.status, 'The answer is no JSON.');
  }
}

async function errorText(response: Response): Promise<string> {
  const text = (await response.text().catch(() => '')).slice(0, 500);
  try {
    const { error } = JSON.parse(text);
    if (typeof error === 'string') return error;
  } catch {
    // Not JSON: a proxy's page, say.
  }
  return `The server answered ${response.status} ${response.statusText}`.trim();
}

const segment = encodeURIComponent;

/** Paths of the API; names are percent-encoded here and nowhere else. */
export const paths = {
  nodes: '/api/nodes',
  pods: '/api/pods',
  namespaces: '/api/namespaces',
  deployments: '/api/deployments',
  node: (node: string) => `/api/nodes/${segment(node)}`,
  nodePods: (node: string) => `/api/nodes/${segment(node)}/pods`,
  units: (node: string) => `/api/nodes/${segment(node)}/units`,
  processes: (node: string) => `/api/nodes/${segment(node)}/processes`,
  balance: (node: string) => `/api/nodes/${segment(node)}/balance`,
  pod: (ns: string, pod: string) => `/api/pods/${segment(pod)}?namespace=${segment(ns)}`,
  namespace: (ns: string) => `/api/namespaces/${segment(ns)}`,
  namespacePods: (ns: string) => `/api/namespaces/${segment(ns)}/pods`,
  namespaceDeployments: (ns: string) => `/api/namespaces/${segment(ns)}/deployments`,
  deployment: (ns: string, name: string) =>
    `/api/namespaces/${segment(ns)}/deployments/${segment(name)}`,
  deploymentPods: (ns: string, name: string) =>
    `/api/namespaces/${segment(ns)}/deployments/${segment(name)}/pods`,
};

/** `/api/nodes/a` and `/api/pods/p?namespace=n` as the path of their series. */
export function seriesPath(path: string, query: Record<string, number>): string {
  const [before = '', after] = path.split('?');
  const pairs = Object.entries(query).map(([key, value]) => `${key}=${value}`);
  return `${before}/timeseries?${[after, ...pairs].filter(Boolean).join('&')}`;
}

/** A list over time. */
export function listWindow(path: string, query: Record<string, number>): string {
  const pairs = Object.entries(query).map(([key, value]) => `${key}=${value}`);
  return `${path}${path.includes('?') ? '&' : '?'}${pairs.join('&')}`;
}
