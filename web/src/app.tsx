import type { ComponentType } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { Announcer } from './announce';
import { access } from './api';
import { link, rememberedScroll, route } from './route';
import { Status } from './status';
import { nextTheme, theme } from './theme';
import { TokenForm } from './token';
import { Deployments, Namespaces, Nodes, Pods } from './views/lists';
import { NodeView, UnitView } from './views/node';
import { DeploymentView, NamespaceView, PodView } from './views/workloads';

const LISTS = ['nodes', 'pods', 'namespaces', 'deployments'];

const VIEWS: Record<string, ComponentType<{ names: string[] }>> = {
  nodes: Nodes,
  pods: Pods,
  namespaces: Namespaces,
  deployments: Deployments,
  node: NodeView,
  unit: UnitView,
  pod: PodView,
  namespace: NamespaceView,
  deployment: DeploymentView,
};

/** The list that a view belongs to. */
const PARENTS: Record<string, string> = {
  node: 'nodes',
  unit: 'nodes',
  pod: 'pods',
  namespace: 'namespaces',
  deployment: 'deployments',
};

function Unknown() {
  return (
    <>
      <h1 tabIndex={-1}>No such view</h1>
      <p>
        <a href={link('nodes')}>To the nodes</a>
      </p>
    </>
  );
}

export function App() {
  const { view, names } = route.use();
  const wantsToken = access.use().state !== 'open';
  const View = VIEWS[view] ?? Unknown;
  const place = JSON.stringify([view, names]);
  const isFirst = useRef(true);

  useLayoutEffect(() => {
    document.title = [...names.toReversed(), view, 'nodetally'].join(' – ');
    if (!isFirst.current) document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true });
    isFirst.current = false;
    scrollTo(0, rememberedScroll());
  }, [place]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
      const filter = document.getElementById('filter');
      if (!filter) return;
      event.preventDefault();
      filter.focus();
      filter.scrollIntoView({ block: 'nearest' });
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>('h1')?.focus();
        }}
      >
        Skip to content
      </a>
      <header>
        <a class="brand" href={link('nodes')}>
          nodetally
        </a>
        <nav aria-label="Lists">
          {LISTS.map((list) => (
            <a
              href={link(list)}
              aria-current={list === view ? 'page' : list === PARENTS[view] ? 'true' : undefined}
            >
              {list.charAt(0).toUpperCase() + list.slice(1)}
            </a>
          ))}
        </nav>
        <Status />
        <button
          type="button"
          class="theme"
          onClick={nextTheme}
          aria-label={`Theme: ${theme.use()}`}
        >
          <span class="wide-only">Theme: </span>
          {theme.use()}
        </button>
      </header>
      <main id="main">{wantsToken ? <TokenForm /> : <View key={place} names={names} />}</main>
      <footer>
        <span>
          <kbd>/</kbd> filter
        </span>
        <span>
          <kbd>↑</kbd> <kbd>↓</kbd> rows
        </span>
        <span>
          <kbd>Enter</kbd> open
        </span>
        <span>
          <kbd>Esc</kbd> clear
        </span>
        <span>Times are local. Bytes are in powers of 1024.</span>
      </footer>
      <Announcer />
    </>
  );
}
