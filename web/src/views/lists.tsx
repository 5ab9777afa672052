import { useMemo } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import { paths } from '../api';
import { Cards, Tabs, useSenders } from '../entity';
import { duration, integer } from '../format';
import { forgetOthers, note } from '../history';
import { Notice } from '../notice';
import { usePoll, type Poll } from '../poll';
import {
  intervals,
  total,
  type DeploymentRecord,
  type NamespaceRecord,
  type NodeRecord,
  type PodRecord,
  type Usage,
} from '../records';
import { deploymentKind, namespaceKind, nodeKind, podKind, rowsOf, type Kind } from '../rows';
import { UsageTable } from '../table';

interface ListProps<R extends Usage> {
  kind: Kind<R>;
  list: string;
  poll: Poll<R[]>;
  caption: string;
  empty: ComponentChildren;
}

/** A list of the API as a table, or why there is none. */
export function List<R extends Usage>({ kind, list, poll, caption, empty }: ListProps<R>) {
  const { data, error, retry } = poll;
  return (
    <>
      {error && <Notice error={error} retry={retry} />}
      {data ? (
        <UsageTable kind={kind} records={data} list={list} caption={caption} empty={empty} />
      ) : (
        !error && <p class="empty">Loading {kind.noun[1]}…</p>
      )}
    </>
  );
}

const CLUSTER = 'cluster';

export function Nodes() {
  const poll = usePoll<NodeRecord[]>(paths.nodes);
  const { data } = poll;
  const summary = useMemo(() => {
    if (!data || data.length === 0) return null;
    forgetOthers('node/', new Set(data.map(nodeKind.keyOf)));
    const rows = rowsOf(nodeKind, data);
    const live = rows.filter((row) => !row.stale);
    const sum = total(live);
    if (sum) note(CLUSTER, sum.at, sum.cpu, sum.memory);
    return {
      sum,
      stale: rows.length - live.length,
      count: rows.length,
      over: intervals(live, duration),
    };
  }, [data]);
  return (
    <>
      <h1 tabIndex={-1}>Nodes</h1>
      {summary?.sum && (
        <Cards
          figures={summary.sum}
          track={CLUSTER}
          more={[
            [
              'Nodes',
              <>
                {integer(summary.count)}
                {summary.stale > 0 && <span class="badge">{integer(summary.stale)} stale</span>}
              </>,
            ],
          ]}
        />
      )}
      <List
        kind={nodeKind}
        list={paths.nodes}
        poll={poll}
        caption="Usage of nodes"
        empty={
          <>
            No node has posted yet. An agent sends to this address with an endpoint of the dialect{' '}
            <code>resource-api</code>.
          </>
        }
      />
    </>
  );
}

export function Pods() {
  const poll = usePoll<PodRecord[]>(paths.pods);
  useMemo(
    () => poll.data && forgetOthers('pod/', new Set(poll.data.map(podKind.keyOf))),
    [poll.data],
  );
  return (
    <>
      <h1 tabIndex={-1}>Pods</h1>
      <List
        kind={podKind}
        list={paths.pods}
        poll={poll}
        caption="Usage of pods"
        empty="No pod has posted lately."
      />
    </>
  );
}

export function Namespaces() {
  useSenders();
  const poll = usePoll<NamespaceRecord[]>(paths.namespaces);
  return (
    <>
      <h1 tabIndex={-1}>Namespaces</h1>
      <List
        kind={namespaceKind}
        list={paths.namespaces}
        poll={poll}
        caption="Usage of namespaces: the sums of their pods"
        empty="No pod has posted lately."
      />
    </>
  );
}

export function Deployments() {
  useSenders();
  const poll = usePoll<DeploymentRecord[]>(paths.deployments);
  return (
    <>
      <h1 tabIndex={-1}>Deployments</h1>
      <List
        kind={deploymentKind}
        list={paths.deployments}
        poll={poll}
        caption="Usage of Deployments: the sums of their pods"
        empty="No pod of a Deployment has posted lately."
      />
    </>
  );
}

/** The pods and Deployments of a namespace, or the pods of a Deployment. */
export function Members({ pods, deployments }: { pods: string; deployments?: string }) {
  const podPoll = usePoll<PodRecord[]>(pods, { optional: true });
  const deploymentPoll = usePoll<DeploymentRecord[]>(deployments ?? null, { optional: true });
  const tabs = [
    {
      id: 'pods',
      title: 'Pods',
      content: (
        <List kind={podKind} list={pods} poll={podPoll} caption="Usage of pods" empty="No pod." />
      ),
    },
  ];
  if (deployments && deploymentPoll.data?.length) {
    tabs.push({
      id: 'deployments',
      title: 'Deployments',
      content: (
        <List
          kind={deploymentKind}
          list={deployments}
          poll={deploymentPoll}
          caption="Usage of Deployments"
          empty="No Deployment."
        />
      ),
    });
  }
  return <Tabs tabs={tabs} label="Members" />;
}
