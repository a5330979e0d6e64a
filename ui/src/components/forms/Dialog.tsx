import { Modal } from '@mantine/core';
import type { FormEvent, ReactNode } from 'react';
import h from '../Help.module.css';
import s from './forms.module.css';

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
  size?: number;
}

/** A dialog of the viewer: named, closed by Escape, the focus back where it was. */
export function Dialog({ title, onClose, children, size = 520 }: DialogProps) {
  return (
    <Modal opened onClose={onClose} title={title} size={size} centered closeButtonProps={{ 'aria-label': 'Close' }} classNames={{ content: h.content, header: h.header, title: h.title }}>
      {children}
    </Modal>
  );
}

interface FormProps {
  onSubmit: () => void;
  /** What the button says: what will happen. */
  action: string;
  busy: boolean;
  error: Error | null;
  disabled?: boolean;
  danger?: boolean;
  onCancel?: () => void;
  children: ReactNode;
  label: string;
}

/** A form that is sent by the API, says what went wrong, and is not sent twice. */
export function Form({ onSubmit, action, busy, error, disabled, danger, onCancel, children, label }: FormProps) {
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!busy && !disabled) onSubmit();
  };
  return (
    <form className={s.form} onSubmit={submit} aria-label={label} noValidate>
      {children}
      {error && (
        <p role="alert" className="tone-bad">
          {error.message}
        </p>
      )}
      <div className={s.actions}>
        <button type="submit" className={`btn ${danger ? s.danger : 'primary'}`} disabled={busy || disabled}>
          {busy ? 'One moment …' : action}
        </button>
        {onCancel && (
          <button type="button" className="btn" onClick={onCancel}>
            Cancel
          </button>
        )}
      </div>
    </form>
  );
}
