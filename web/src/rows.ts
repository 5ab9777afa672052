/** Records of the API as rows of a table. */

import { paths } from './api';
import { secondsBefore } from './history';
import { senders } from './poll';
import {
  figures,
  type DeploymentRecord,
  type Figures,
  type NamespaceRecord,
  type NodeRecord,
  type PodRecord,
  type ProcessRecord,
  type UnitRecord,
  type Usage,
} from './records';
import { link } from './route';

export interface Cell {
  text: string;
  /** Made for rows on the screen only. */
  href?: () => string;
  /** Where it sorts otherwise than its text. */
  order?: number;
}

export interface Row extends Figures {
  key: string;
  cells: Cell[];
  /** The entity's path in the API, which its series lies under. */
  path?: () => string;
}

export interface Kind<R extends Usage> {
  /** Singular and plural. */
  noun: readonly [string, string];
  /** Of the text columns. */
  titles: readonly string[];
  keyOf: (record: R) => string;
  cells: (record: R) => Cell[];
  pathOf?: (record: R) => string;
  /** The sum of the last posts of pods: its bytes are over the senders' interval. */
  isSum?: boolean;
}

/** The interval of a record that does not say it. */
export function secondsOf<R extends Usage>(kind: Kind<R>, key: string, record: R): number | null {
  if (record.window_millis) return null;
  return kind.isSum ? senders.get() : secondsBefore(key, Date.parse(record.timestamp));
}

export function rowsOf<R extends Usage>(kind: Kind<R>, records: R[]): Row[] {
  return records.map((record) => {
    const key = kind.keyOf(record);
    const row: Row = {
      ...figures(record, secondsOf(kind, key, record)),
      key,
      cells: kind.cells(record),
    };
    const { pathOf } = kind;
    if (pathOf) row.path = () => pathOf(record);
    return row;
  });
}

/** No name holds a NUL. */
const key = (kind: string, ...names: string[]) => `${kind}/${names.join('\0')}`;

function nodeCell(node: string | undefined): Cell {
  return node ? { text: node, href: () => link('node', node) } : { text: '' };
}

export const nodeKind: Kind<NodeRecord> = {
  noun: ['node', 'nodes'],
  titles: ['Node'],
  keyOf: (node) => key('node', node.node_name),
  cells: (node) => [nodeCell(node.node_name)],
  pathOf: (node) => paths.node(node.node_name),
};

function workloadCell(pod: PodRecord): Cell {
  const { namespace, deployment_name: deployment } = pod;
  if (deployment)
    return { text: deployment, href: () => link('deployment', namespace, deployment) };
  return { text: [pod.workload_kind, pod.workload_name].filter(Boolean).join(' ') };
}

const podCell = (pod: PodRecord): Cell => ({
  text: pod.pod_name,
  href: () => link('pod', pod.namespace, pod.pod_name),
});

const namespaceCell = (namespace: string): Cell => ({
  text: namespace,
  href: () => link('namespace', namespace),
});

export const podKind: Kind<PodRecord> = {
  noun: ['pod', 'pods'],
  titles: ['Pod', 'Namespace', 'Node', 'Workload'],
  keyOf: (pod) => key('pod', pod.namespace, pod.pod_name, pod.node_name ?? ''),
  cells: (pod) => [
    podCell(pod),
    namespaceCell(pod.namespace),
    nodeCell(pod.node_name),
    workloadCell(pod),
  ],
  pathOf: (pod) => paths.pod(pod.namespace, pod.pod_name),
};

export const nodePodKind: Kind<PodRecord> = {
  ...podKind,
  titles: ['Pod', 'Namespace', 'Workload'],
  cells: (pod) => [podCell(pod), namespaceCell(pod.namespace), workloadCell(pod)],
};

export const namespaceKind: Kind<NamespaceRecord> = {
  noun: ['namespace', 'namespaces'],
  titles: ['Namespace'],
  keyOf: ({ namespace }) => key('namespace', namespace),
  cells: ({ namespace }) => [namespaceCell(namespace)],
  pathOf: ({ namespace }) => paths.namespace(namespace),
  isSum: true,
};

export const deploymentKind: Kind<DeploymentRecord> = {
  noun: ['deployment', 'deployments'],
  titles: ['Deployment', 'Namespace'],
  keyOf: (record) => key('deployment', record.namespace, record.deployment_name),
  cells: ({ namespace, deployment_name: name }) => [
    { text: name, href: () => link('deployment', namespace, name) },
    namespaceCell(namespace),
  ],
  pathOf: (record) => paths.deployment(record.namespace, record.deployment_name),
  isSum: true,
};

export const unitKind: Kind<UnitRecord> = {
  noun: ['unit', 'units'],
  titles: ['Unit'],
  keyOf: (unit) => key('unit', unit.node_name, unit.unit),
  cells: (unit) => [{ text: unit.unit, href: () => link('unit', unit.node_name, unit.unit) }],
};

export const processKind: Kind<ProcessRecord> = {
  noun: ['process', 'processes'],
  titles: ['Process', 'PID', 'Owner'],
  keyOf: (process) => key('process', process.node_name, String(process.pid), process.name),
  cells: (process) => [
    { text: process.name },
    { text: String(process.pid), order: process.pid },
    { text: process.owner ?? '' },
  ],
};
