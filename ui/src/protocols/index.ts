import { lazy, type ComponentType, type LazyExoticComponent } from 'react';
import { Bodies } from '../components/detail/Bodies';
import type { LoadedPair } from '../lib/body-reader';
import { Generic } from './generic/Generic';
import { isGraphql } from './graphql/operations';
import { isEventStream } from './sse/frames';

export interface RendererProps {
  pair: LoadedPair;
}

/** How the exchanges of a protocol are read. */
export interface Renderer {
  name: string;
  title: string;
  /** Asked in the order of the list, with what a pair says of itself; must not throw for any pair. */
  matches: (pair: LoadedPair) => boolean;
  View: ComponentType<RendererProps> | LazyExoticComponent<ComponentType<RendererProps>>;
}

/**
 * All of them: the more special before the more general, and the last takes
 * everything. To add one: a folder beside these, and a line here.
 */
export const renderers: readonly Renderer[] = [
  { name: 'graphql', title: 'GraphQL', matches: isGraphql, View: lazy(() => import('./graphql/Graphql')) },
  { name: 'sse', title: 'Events', matches: isEventStream, View: lazy(() => import('./sse/Events')) },
  { name: 'http', title: 'Bodies', matches: (pair) => pair.protocol === 'http', View: Bodies },
  { name: 'opaque', title: 'Stream', matches: (pair) => pair.protocol === 'opaque', View: lazy(() => import('./opaque/Stream')) },
  { name: 'generic', title: 'Bytes', matches: () => true, View: Generic },
];

/** The most special renderer of a pair, and the plainer ones that it can be read with, too. */
export function renderersOf(pair: LoadedPair, list: readonly Renderer[] = renderers): Renderer[] {
  return list.filter((r) => r.name !== 'generic' && r.matches(pair)).concat(list.filter((r) => r.name === 'generic'));
}
