import { Component, Suspense, useState, type ReactNode } from 'react';
import b from '../components/detail/BodyView.module.css';
import d from '../components/detail/Detail.module.css';
import { Icon } from '../components/Icon';
import type { LoadedPair } from '../lib/body-reader';
import { renderers, renderersOf, type Renderer } from '.';
import { Generic } from './generic/Generic';
import s from './ProtocolView.module.css';

/** The content of an exchange as its protocol reads; plainer ways are one click away. */
export function ProtocolView({ pair, list = renderers }: { pair: LoadedPair; list?: readonly Renderer[] }) {
  const choices = renderersOf(pair, list);
  const [name, setName] = useState<string | null>(null);
  const renderer = choices.find((r) => r.name === name) ?? (choices[0] as Renderer);
  // Where there is a protocol's own way to read, bytes in general are what it falls back to, and no choice.
  const offered = choices.filter((r) => r.name !== 'generic');
  const { View } = renderer;
  return (
    <>
      {offered.length > 1 && (
        <div className={s.bar}>
          <div className={b.modes} role="group" aria-label="How to read the exchange">
            {offered.map((r) => (
              <button key={r.name} type="button" aria-pressed={r === renderer} onClick={() => setName(r.name)}>
                {r.title}
              </button>
            ))}
          </div>
        </div>
      )}
      <Fallback key={`${pair.id} ${renderer.name}`} title={renderer.title} pair={pair}>
        <Suspense fallback={<p className={`${d.preview} muted late`}>Loading …</p>}>
          <View pair={pair} />
        </Suspense>
      </Fallback>
    </>
  );
}

interface FallbackProps {
  title: string;
  pair: LoadedPair;
  children: ReactNode;
}

/** A renderer that throws must not take the pane with it: the plain one stands in, and says so. */
class Fallback extends Component<FallbackProps, { error: string | null }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error.message : String(error) };
  }

  override render() {
    const { title, pair, children } = this.props;
    if (this.state.error === null) return children;
    return (
      <>
        <p className={s.failed} role="status">
          <span className="tone-attention">
            <Icon name="triangle" size={12} />
          </span>{' '}
          The view “{title}” cannot show this exchange ({String(this.state.error)}). Here are its bytes.
        </p>
        <Generic pair={pair} />
      </>
    );
  }
}
