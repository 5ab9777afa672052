// Generated entities, and the read API's answers about them.

/** Names that must stay text. */
export const EVIL = [
  '<img src=x onerror=document.title="evil">',
  'a/b%2F..?c#d&e=f',
  '"quoted" \'name\' <b>ü</b> \u202Ertl',
];

const INTERVAL = 15;

/** 0 to 1, the same for the same words. */
function chance(...words) {
  let hash = 2166136261;
  for (const char of words.join('\0')) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0x5bd1e995);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}

/** One name for an entity, whatever else a record of it says. */
function nameOf({ node_name, namespace, pod_name, deployment_name, unit, pid }) {
  if (pod_name !== undefined) return `${namespace}/${pod_name}`;
  if (namespace !== undefined) return `${namespace} ${deployment_name}`;
  return [node_name, unit, pid].join(' ');
}

function usage(names, at, scale) {
  const name = nameOf(names);
  const slow = Math.sin(at / 700 + 6 * chance(name)) + Math.sin(at / 97 + 6 * chance(name, 1));
  const cpu = Math.max(0.01, scale * (chance(name, 'c') + 0.25 * slow + 0.2 * chance(name, at)));
  const bytes = (what, most) => Math.round(most * chance(name, what) * chance(name, what, at) ** 3);
  return {
    timestamp: new Date(at * 1000).toISOString().replace('.000', ''),
    cpu_millicores: Math.round(cpu * 1000),
    memory_bytes: Math.round(scale * 2 ** 31 * (0.4 + chance(name, 'm') + 0.05 * slow)),
    disk_io: { read_bytes: bytes('r', scale * 4e7), write_bytes: bytes('w', scale * 9e7) },
    network_io: { bytes_sent: bytes('s', scale * 5e7), bytes_recv: bytes('v', scale * 3e7) },
  };
}

/** The state of a mock; tests change it while it runs. */
export function makeState({ nodes = 40, pods = 400, evil = false } = {}) {
  const state = {
    /** Status that every read answers instead, with the headers and text. */
    fail: null,
    token: null,
    hasParts: true,
    /** As today's receivers, which ignore `window` of a list. */
    hasListWindow: true,
    windowMax: 90 * 86_400,
    /** Seconds added to the clock: a new sample. */
    skew: 0,
    stale: new Set(),
    asked: [],
    nodes: [],
    pods: [],
  };
  for (let i = 0; i < nodes; i++) state.nodes.push(`worker-${String(i + 1).padStart(4, '0')}`);
  const apps = ['api', 'web', 'cart', 'search', 'queue', 'cache', 'auth', 'mailer'];
  for (let i = 0; i < pods; i++) {
    const app = apps[i % apps.length];
    const namespace = ['shop', 'payments', 'media', 'monitoring', 'kube-system'][i % 5];
    const suffix = Math.floor(chance('pod', i) * 36 ** 5)
      .toString(36)
      .padStart(5, '0');
    state.pods.push({
      namespace,
      pod_name: `${app}-${(i % 97).toString(16)}f9c-${suffix}`,
      node_name: state.nodes[i % Math.max(1, nodes)],
      deployment_name: app,
    });
  }
  if (evil) {
    for (const name of EVIL) {
      state.nodes.push(name);
      state.pods.push({ namespace: name, pod_name: name, node_name: name, deployment_name: name });
    }
  }
  return state;
}

const nodeScale = ({ node_name }) => 2 + 6 * chance(node_name, 'size');

const UNITS = [
  'system.slice/containerd.service',
  'system.slice/kubelet.service',
  'system.slice/sshd.service',
  'system.slice/systemd-journald.service',
  'system.slice/node-exporter.service',
  'user.slice/user-1000.slice',
  'system.slice/chronyd.service',
  'init.scope',
];

const PROCESSES = [
  ['containerd', UNITS[0]],
  ['containerd-shim', UNITS[0]],
  ['kubelet', UNITS[1]],
  ['sshd', UNITS[2]],
  ['systemd-journald', UNITS[3]],
  ['kworker/2:1', 'kernel'],
  ['ksoftirqd/0', 'kernel'],
];

function balance(node, at) {
  const now = usage({ node_name: node }, at, nodeScale({ node_name: node }));
  const cpu = now.cpu_millicores * 15_000;
  const memory = now.memory_bytes;
  const share = (whole, part) => Math.round(whole * part);
  const split = (whole, names) => {
    const parts = Object.fromEntries(names.map(([name, part]) => [name, share(whole, part)]));
    const rest = whole - Object.values(parts).reduce((a, b) => a + b, 0);
    return { node: whole, ...parts, unattributed: rest };
  };
  return {
    node_name: node,
    timestamp: now.timestamp,
    interval_usec: INTERVAL * 1e6,
    cpu_usec: {
      ...split(cpu, [
        ['pods', 0.71],
        ['host_units', 0.12],
        ['kernel', 0.06],
        ['interrupts', 0.03],
        ['exited', 0.06],
      ]),
      uncertainty: 80_000,
    },
    memory_bytes: split(memory, [
      ['pods', 0.63],
      ['host_units', 0.2],
      ['kernel', 0.12],
      ['exited', 0],
    ]),
    memory_parts: {
      anonymous: share(memory, 0.46),
      page_cache: share(memory, 0.35),
      shared: share(memory, 0.02),
      slab_reclaimable: share(memory, 0.08),
      slab_unreclaimable: share(memory, 0.03),
      kernel_stacks: share(memory, 0.008),
      page_tables: share(memory, 0.012),
      per_cpu: share(memory, 0.01),
      vmalloc: share(memory, 0.005),
      other: share(memory, 0.025),
    },
  };
}

/** The answer of the read API: `[status, body, headers]`. */
export function answer(state, path, query) {
  const now = Math.floor(Date.now() / 1000) + state.skew;
  const at = Math.floor(now / INTERVAL) * INTERVAL;
  const missing = (what) => [404, { error: `${what} is not known` }];
  const window = query.get('window');
  if (window !== null && !(Number(window) >= 1 && Number(window) <= state.windowMax)) {
    const text = `window must be a whole number of seconds from 1 to ${state.windowMax}, not \`${window}\``;
    return [400, { error: text }];
  }
  const step = Math.max(INTERVAL, Number(query.get('step')) || INTERVAL);
  const times = () => {
    const to = Math.min(at, Number(query.get('to')) || at);
    const from = Number(query.get('from')) || to - (Number(window) || state.windowMax);
    const list = [];
    for (let t = Math.ceil(from / step) * step; t <= to && list.length < 20_000; t += step)
      list.push(t);
    return list;
  };
  const peaked = (names, t, scale) => {
    const one = usage(names, t, scale);
    if (step === INTERVAL) return one;
    const peak = {
      cpu_millicores: Math.round(one.cpu_millicores * 1.4 + 50),
      memory_bytes: Math.round(one.memory_bytes * 1.1),
    };
    return { ...one, peak };
  };
  const series = (names, scale) => [
    200,
    times().map((t) => ({ ...names, ...peaked(names, t, scale) })),
  ];
  const list = (entities, scale, extras = {}) => {
    if (window !== null && state.hasListWindow) {
      return [200, entities.flatMap((names) => series(names, scale(names))[1])];
    }
    const rows = entities.map((names) => ({
      ...names,
      ...usage(names, at, scale(names)),
      ...extras,
    }));
    for (const row of rows) {
      if (!row.pod_name && state.stale.has(row.node_name)) {
        Object.assign(row, { stale: true, timestamp: new Date((at - 600) * 1000).toISOString() });
      }
    }
    return [200, rows];
  };
  const extras = { window_millis: INTERVAL * 1000 };
  const podScale = ({ pod_name }) => 0.2 + chance(pod_name, 'size') ** 4;
  const groups = (of) => [
    ...new Map(state.pods.map((pod) => [JSON.stringify(of(pod)), of(pod)])).values(),
  ];
  const namespaces = groups(({ namespace }) => ({ namespace }));
  const deployments = groups(({ namespace, deployment_name }) => ({ namespace, deployment_name }));

  const isSeries = path.endsWith('/timeseries') || window !== null;
  const [kind, ...names] = path
    .replace('/api/', '')
    .replace(/\/timeseries$/, '')
    .split('/')
    .map(decodeURIComponent);
  const [first, sub, name, members] = names;
  if (kind === 'nodes') {
    const nodes = state.nodes.map((node_name) => ({ node_name }));
    if (first === undefined) return list(nodes, nodeScale, extras);
    if (!state.nodes.includes(first)) return missing(`node ${first}`);
    const node = { node_name: first };
    if (sub === undefined) {
      return isSeries
        ? series(node, nodeScale(node))
        : [
            200,
            {
              ...list([node], nodeScale, extras)[1][0],
              labels: { 'topology.kubernetes.io/zone': 'zone-a', 'kubernetes.io/arch': 'amd64' },
            },
          ];
    }
    if (sub === 'pods')
      return list(
        state.pods.filter((pod) => pod.node_name === first),
        podScale,
        extras,
      );
    if (!state.hasParts) return missing(sub);
    if (sub === 'units')
      return list(
        UNITS.map((unit) => ({ node_name: first, unit })),
        () => 0.3,
        extras,
      );
    if (sub === 'processes')
      return list(
        PROCESSES.map(([name, owner], i) => ({ node_name: first, pid: 900 + i * 37, name, owner })),
        () => 0.1,
        extras,
      );
    if (sub === 'balance') return [200, balance(first, at)];
  }
  if (kind === 'pods') {
    const namespace = query.get('namespace');
    const pods = state.pods.filter((pod) => namespace === null || pod.namespace === namespace);
    if (first === undefined) return list(pods, podScale, extras);
    const found = pods.filter((pod) => pod.pod_name === first);
    if (found.length === 0) return missing(`pod ${first}`);
    if (isSeries) return series({ namespace, pod_name: first }, podScale(found[0]));
    const containers = ['main', 'proxy'].map((name) => ({
      name,
      cpu_nanocores: 12_000_000,
      memory_bytes: 34e6,
    }));
    return list(found, podScale, {
      ...extras,
      qos_class: 'Burstable',
      labels: { app: found[0].deployment_name },
      containers,
    });
  }
  if (kind === 'deployments') return list(deployments, () => 3);
  if (kind === 'namespaces') {
    if (first === undefined) return list(namespaces, () => 6);
    if (!namespaces.some(({ namespace }) => namespace === first))
      return missing(`namespace ${first}`);
    const pods = state.pods.filter((pod) => pod.namespace === first);
    const own = deployments.filter(({ namespace }) => namespace === first);
    if (sub === undefined)
      return isSeries
        ? series({ namespace: first }, 6)
        : [200, list([{ namespace: first }], () => 6)[1][0]];
    if (sub === 'pods') return list(pods, podScale, extras);
    if (sub === 'deployments' && name === undefined) return list(own, () => 3);
    const deployment = own.find(({ deployment_name }) => deployment_name === name);
    if (!deployment) return missing(`deployment ${name}`);
    if (members === 'pods')
      return list(
        pods.filter((pod) => pod.deployment_name === name),
        podScale,
        extras,
      );
    return isSeries ? series(deployment, 3) : [200, list([deployment], () => 3)[1][0]];
  }
  return missing(path);
}
