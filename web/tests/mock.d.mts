type Answer = [status: number, body: unknown, headers?: Record<string, string>];

export interface State {
  fail: 'hang up' | Answer | null;
  token: string | null;
  hasParts: boolean;
  hasListWindow: boolean;
  windowMax: number;
  skew: number;
  stale: Set<string>;
  asked: string[];
  nodes: string[];
  pods: { namespace: string; pod_name: string; node_name: string; deployment_name: string }[];
}

export const EVIL: string[];
export function makeState(size?: { nodes?: number; pods?: number; evil?: boolean }): State;
export function start(
  state: State,
  options?: { port?: number; api?: string },
): Promise<{ url: string; stop: () => void }>;
