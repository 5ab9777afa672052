import { bytes, clock, cores, duration, percent } from './format';
import type { BalanceRecord, Parts } from './records';

interface Part {
  id: string;
  label: string;
  help: string;
}

const OWNERS: Part[] = [
  { id: 'pods', label: 'Pods', help: '' },
  { id: 'host_units', label: 'Units', help: 'services, other containers' },
  { id: 'kernel', label: 'Kernel', help: 'threads, uncharged memory' },
  { id: 'interrupts', label: 'Interrupts', help: 'can be an estimate' },
  { id: 'exited', label: 'Exited', help: 'ended, without a row' },
  { id: 'unattributed', label: 'Unattributed', help: 'no owner found' },
];

const MEMORY: Part[] = [
  { id: 'anonymous', label: 'Anonymous', help: 'heaps and stacks' },
  { id: 'page_cache', label: 'Page cache', help: 'files, mostly reclaimable' },
  { id: 'shared', label: 'Shared', help: 'tmpfs, /dev/shm' },
  { id: 'slab', label: 'Slab', help: 'kernel objects' },
  { id: 'slab_reclaimable', label: 'Slab, reclaimable', help: 'kernel objects' },
  { id: 'slab_unreclaimable', label: 'Slab, unreclaimable', help: 'kernel objects' },
  { id: 'kernel_stacks', label: 'Kernel stacks', help: '' },
  { id: 'page_tables', label: 'Page tables', help: '' },
  { id: 'per_cpu', label: 'Per-CPU', help: 'variables of the kernel' },
  { id: 'vmalloc', label: 'vmalloc', help: 'modules, BPF, large tables' },
  { id: 'huge_pages', label: 'Huge pages', help: 'pools, used or not' },
  { id: 'zswap', label: 'zswap', help: 'swapped pages, packed' },
  { id: 'zfs_arc', label: 'ZFS ARC', help: 'blocks that ZFS caches' },
  { id: 'cpu_lists', label: 'CPU lists', help: 'free pages on lists of CPUs' },
  { id: 'other', label: 'Other', help: 'drivers, balloons' },
];

/** The known parts in their order, then those of a newer server. */
function partsOf(known: Part[], values: Parts): (Part & { value: number })[] {
  const names = new Set(known.map(({ id }) => id));
  const others = Object.keys(values).filter(
    (id) => !names.has(id) && id !== 'node' && id !== 'uncertainty',
  );
  const all = [...known, ...others.map((id) => ({ id, label: id.replaceAll('_', ' '), help: '' }))];
  return all.flatMap((part) => {
    const value = values[part.id];
    return value === undefined ? [] : [{ ...part, value }];
  });
}

interface BarProps {
  title: string;
  parts: (Part & { value: number })[];
  whole: number;
  format: (value: number) => string;
  note?: string | undefined;
}

function Bar({ title, parts, whole, format, note }: BarProps) {
  const inBar = parts.filter(({ value }) => value > 0);
  const words = inBar.map(({ label, value }) => `${label} ${percent(value, whole)}`).join(', ');
  return (
    <section class="balance">
      <h3>
        {title}: {format(whole)}
      </h3>
      <div class="bar" role="img" aria-label={`${title}: ${words}`}>
        {inBar.map(({ id, label, value }) => (
          <span
            key={id}
            class={`part part-${id}`}
            title={`${label}: ${format(value)}, ${percent(value, whole)}`}
            style={{ flexGrow: String(value / Math.max(whole, 1e-9)) }}
          />
        ))}
      </div>
      <table class="plain legend">
        <caption class="unseen">Parts of {title}</caption>
        <tbody>
          {parts.map(({ id, label, help, value }) => (
            <tr key={id}>
              <th scope="row">
                <span class={`swatch part-${id}`} aria-hidden="true" /> {label}{' '}
                {help && <span class="help">{help}</span>}
              </th>
              <td class="number">{format(value)}</td>
              <td class="number">{percent(value, whole)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {note && <p class="note">{note}</p>}
    </section>
  );
}

export function Balance({ balance }: { balance: BalanceRecord }) {
  const { cpu_usec: cpu, memory_bytes: memory, memory_parts: where, interval_usec } = balance;
  const asCores = (usec: number) => cores(usec / Math.max(1, interval_usec));
  const uncertainty = cpu?.uncertainty;
  const sum = (parts: Parts) => Object.values(parts).reduce((all, value) => all + value, 0);
  return (
    <section aria-labelledby="balance">
      <div class="tools">
        <h2 id="balance">Balance</h2>
        <span class="note">
          Over {duration(Number((interval_usec / 1e6).toFixed(1)))}, to{' '}
          {clock(Date.parse(balance.timestamp))}.
        </span>
      </div>
      <div class="balances">
        {cpu && (
          <Bar
            title="CPU, cores"
            parts={partsOf(OWNERS, cpu)}
            whole={cpu.node ?? 0}
            format={asCores}
            note={
              uncertainty === undefined
                ? undefined
                : `The kernel’s meters leave ±${asCores(uncertainty)} cores open; unattributed can be negative.`
            }
          />
        )}
        {memory && (
          <Bar
            title="Memory in use"
            parts={partsOf(OWNERS, memory)}
            whole={memory.node ?? 0}
            format={bytes}
          />
        )}
        {where && (
          <Bar
            title="Where memory is"
            parts={partsOf(MEMORY, where)}
            whole={memory?.node ?? sum(where)}
            format={bytes}
          />
        )}
      </div>
    </section>
  );
}
