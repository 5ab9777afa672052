import { paths, seriesPath } from '../api';
import { Cards, Facts, Labels, Sampled, useFigures, usePast, useSenders } from '../entity';
import { bytes, cores } from '../format';
import { Notice } from '../notice';
import { usePoll } from '../poll';
import type { DeploymentRecord, NamespaceRecord, PodRecord } from '../records';
import { link } from '../route';
import { deploymentKind, namespaceKind, podKind } from '../rows';
import { Series } from '../series';
import { Members } from './lists';

export function PodView({ names: [namespace = '', pod = ''] }: { names: string[] }) {
  const path = paths.pod(namespace, pod);
  const poll = usePoll<PodRecord[]>(path);
  // A name can be on two nodes for a moment: the newest counts.
  const record = poll.data?.reduce((a, b) => (a.timestamp < b.timestamp ? b : a));
  const key = podKind.keyOf(record ?? ({ namespace, pod_name: pod } as PodRecord));
  const past = usePast(key);
  const now = useFigures(podKind, key, record);
  const { node_name: node, deployment_name: deployment } = record ?? {};
  const workload = [record?.workload_kind, record?.workload_name].filter(Boolean).join(' ');
  return (
    <>
      <h1 tabIndex={-1}>
        <span class="kind">Pod</span> {pod}
      </h1>
      <Facts
        facts={[
          ['Namespace', <a href={link('namespace', namespace)}>{namespace}</a>],
          ['Node', node && <a href={link('node', node)}>{node}</a>],
          [
            'Deployment',
            deployment && <a href={link('deployment', namespace, deployment)}>{deployment}</a>,
          ],
          ['Workload', deployment ? '' : workload],
          ['QoS', record?.qos_class],
          ['UID', record?.pod_uid],
        ]}
      />
      {poll.error && <Notice error={poll.error} retry={poll.retry} />}
      {now && (
        <>
          <Sampled figures={now} />
          <Cards figures={now} track={key} />
          <Labels labels={record?.labels} />
        </>
      )}
      <Series path={(query) => seriesPath(path, query)} onPoints={past} />
      {record?.containers && <Containers containers={record.containers} />}
    </>
  );
}

function Containers({ containers }: { containers: NonNullable<PodRecord['containers']> }) {
  return (
    <>
      <h2>Containers</h2>
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Container</th>
            <th scope="col" class="number">
              CPU, cores
            </th>
            <th scope="col" class="number">
              Memory
            </th>
          </tr>
        </thead>
        <tbody>
          {containers.map((container) => (
            <tr key={container.name}>
              <th scope="row">{container.name}</th>
              <td class="number">{cores(container.cpu_nanocores / 1e9)}</td>
              <td class="number">{bytes(container.memory_bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

export function NamespaceView({ names: [namespace = ''] }: { names: string[] }) {
  const path = paths.namespace(namespace);
  useSenders();
  const poll = usePoll<NamespaceRecord>(path);
  const key = namespaceKind.keyOf({ namespace } as NamespaceRecord);
  const past = usePast(key);
  const now = useFigures(namespaceKind, key, poll.data);
  return (
    <>
      <h1 tabIndex={-1}>
        <span class="kind">Namespace</span> {namespace}
      </h1>
      {poll.error && <Notice error={poll.error} retry={poll.retry} />}
      {now && (
        <>
          <Sampled figures={now} />
          <Cards figures={now} track={key} />
        </>
      )}
      <Series isSum path={(query) => seriesPath(path, query)} onPoints={past} />
      <Members
        pods={paths.namespacePods(namespace)}
        deployments={paths.namespaceDeployments(namespace)}
      />
    </>
  );
}

export function DeploymentView({ names: [namespace = '', name = ''] }: { names: string[] }) {
  const path = paths.deployment(namespace, name);
  useSenders();
  const poll = usePoll<DeploymentRecord>(path);
  const key = deploymentKind.keyOf({ namespace, deployment_name: name } as DeploymentRecord);
  const past = usePast(key);
  const now = useFigures(deploymentKind, key, poll.data);
  return (
    <>
      <h1 tabIndex={-1}>
        <span class="kind">Deployment</span> {name}
      </h1>
      <Facts facts={[['Namespace', <a href={link('namespace', namespace)}>{namespace}</a>]]} />
      {poll.error && <Notice error={poll.error} retry={poll.retry} />}
      {now && (
        <>
          <Sampled figures={now} />
          <Cards figures={now} track={key} />
        </>
      )}
      <Series isSum path={(query) => seriesPath(path, query)} onPoints={past} />
      <Members pods={paths.deploymentPods(namespace, name)} />
    </>
  );
}
