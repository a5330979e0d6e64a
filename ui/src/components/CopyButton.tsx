import { useCopy } from '../lib/use-copy';
import { Icon } from './Icon';

/** Copies a text; `what` finishes "Copy …" and "Copied …". */
export function CopyButton({ text, what, label }: { text: string; what: string; label?: string }) {
  const { copied, copy } = useCopy(what);
  return (
    <button
      type="button"
      className={label ? 'btn' : 'btn bare icon'}
      onClick={() => void copy(text)}
      aria-label={label ? undefined : `Copy ${what}`}
      title={`Copy ${what}`}
    >
      <Icon name={copied ? 'check' : 'copy'} />
      {label}
    </button>
  );
}
