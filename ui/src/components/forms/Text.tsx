import { CopyButton } from '../CopyButton';
import { Icon } from '../Icon';
import s from './forms.module.css';

/** Text to take along: a secret, a file's content, a command. */
export function TakeAlong({ text, what, file, label }: { text: string; what: string; file?: string; label: string }) {
  return (
    <div className={s.secret} role="group" aria-label={label}>
      <pre>{text}</pre>
      <CopyButton text={text} what={what} label="Copy" />
      {file && (
        // The analyzer does not keep it, so there is no address to fetch it from again.
        <a className="btn" href={`data:text/plain;charset=utf-8,${encodeURIComponent(text)}`} download={file}>
          <Icon name="download" />
          Save
        </a>
      )}
    </div>
  );
}
