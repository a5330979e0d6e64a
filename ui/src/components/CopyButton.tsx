import { useCopy } from '../lib/use-copy';
import { visibleText } from '../lib/visible';
import { Icon } from './Icon';

/** Copies a text; `what` finishes "Copy …" and "Copied …". */
export function CopyButton({ text, what, label }: { text: string; what: string; label?: string }) {
  // What is copied may be named by captured text; the text itself is copied as it is.
  const name = visibleText(what);
  const { copied, copy } = useCopy(name);
  return (
    <button
      type="button"
      className={label ? 'btn' : 'btn bare icon'}
      onClick={() => void copy(text)}
      aria-label={label ? undefined : `Copy ${name}`}
      title={`Copy ${name}`}
    >
      <Icon name={copied ? 'check' : 'copy'} />
      {label}
    </button>
  );
}
