import { listWindow, paths, seriesPath } from '../api';
import { Balance } from '../balance';
import { Cards, Facts, Labels, Sampled, Tabs, useFigures, usePast, type Tab } from '../entity';
import { Notice } from '../notice';
import { usePoll, type Poll } from '../poll';
import type {
  BalanceRecord,
  NodeRecord,
  PodRecord,
  ProcessRecord,
  UnitRecord,
  Usage,
} from '../records';
import { link } from '../route';
import { nodeKind, nodePodKind, processKind, unitKind, type Kind } from '../rows';
import { Series } from '../series';
import { List } from './lists';

const OPTIONAL = { optional: true };

export function NodeView({ names: [node = ''] }: { names: string[] }) {
  const poll = usePoll<NodeRecord>(paths.node(node));
  const pods = usePoll<PodRecord[]>(paths.nodePods(node), OPTIONAL);
  const units = usePoll<UnitRecord[]>(paths.units(node), OPTIONAL);
  const processes = usePoll<ProcessRecord[]>(paths.processes(node), OPTIONAL);
  const balance = usePoll<BalanceRecord>(paths.balance(node), OPTIONAL);
  const key = nodeKind.keyOf({ node_name: node } as NodeRecord);
  const past = usePast(key);
  const now = useFigures(nodeKind, key, poll.data);

  const tab = <R extends Usage>(
    id: string,
    kind: Kind<R>,
    list: string,
    found: Poll<R[]>,
  ): Tab[] => {
    const [, many] = kind.noun;
    // A server without this part answers 404: nothing is shown of it.
    if (!found.data && found.error?.status === 404) return [];
    const title = many.charAt(0).toUpperCase() + many.slice(1);
    const content = (
      <List
        kind={kind}
        list={list}
        poll={found}
        caption={`${title} of ${node}`}
        empty={`No ${many}.`}
      />
    );
    return [{ id, title: found.data ? `${title} (${found.data.length})` : title, content }];
  };

  return (
    <>
      <h1 tabIndex={-1}>
        <span class="kind">Node</span> {node}
      </h1>
      {poll.error && <Notice error={poll.error} retry={poll.retry} />}
      {now && (
        <>
          <Sampled figures={now} />
          <Cards figures={now} track={key} />
          <Labels labels={poll.data?.labels} />
        </>
      )}
      {balance.error && balance.error.status !== 404 && (
        <Notice error={balance.error} retry={balance.retry} />
      )}
      {balance.data && <Balance balance={balance.data} />}
      {poll.data && (
        <Series path={(query) => seriesPath(paths.node(node), query)} onPoints={past} />
      )}
      {poll.data && (
        <Tabs
          label="Lists of this node"
          tabs={[
            ...tab('pods', nodePodKind, paths.nodePods(node), pods),
            ...tab('units', unitKind, paths.units(node), units),
            ...tab('processes', processKind, paths.processes(node), processes),
          ]}
        />
      )}
    </>
  );
}

export function UnitView({ names: [node = '', unit = ''] }: { names: string[] }) {
  const list = paths.units(node);
  const poll = usePoll<UnitRecord[]>(list);
  const processes = usePoll<ProcessRecord[]>(paths.processes(node), OPTIONAL);
  const record = poll.data?.find((one) => one.unit === unit);
  const key = unitKind.keyOf({ node_name: node, unit } as UnitRecord);
  const past = usePast(key);
  const now = useFigures(unitKind, key, record);
  const own = processes.data?.filter(({ owner }) => owner === unit) ?? [];
  return (
    <>
      <h1 tabIndex={-1}>
        <span class="kind">Unit</span> {unit}
      </h1>
      <Facts facts={[['Node', <a href={link('node', node)}>{node}</a>]]} />
      {poll.error && <Notice error={poll.error} retry={poll.retry} />}
      {poll.data && !record && <p class="empty">This node has no unit of this name now.</p>}
      {now && (
        <>
          <Sampled figures={now} />
          <Cards figures={now} track={key} />
        </>
      )}
      <Series
        path={(query) => listWindow(list, query)}
        select={(one) => (one as UnitRecord).unit === unit}
        onPoints={past}
        missing="This server keeps no series of units."
      />
      {own.length > 0 && (
        <>
          <h2>Processes</h2>
          <List
            kind={processKind}
            list={paths.processes(node)}
            poll={{ ...processes, data: own }}
            caption={`Processes of ${unit}`}
            empty="No process."
          />
        </>
      )}
    </>
  );
}
