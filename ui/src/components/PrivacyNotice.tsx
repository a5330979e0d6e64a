import { useState } from 'react';
import type { Session } from '../api/types';
import { Dialog } from './forms/Dialog';
import s from './forms/forms.module.css';

const key = (name: string) => `weir.notice.${name}`;

function seen(name: string): boolean {
  try {
    return localStorage.getItem(key(name)) !== null;
  } catch {
    return false;
  }
}

/** Tells a user, at the first sign-in, what this place holds and what is written down about them. */
export function PrivacyNotice({ session }: { session: Session }) {
  const name = session.identity?.name ?? '';
  const [open, setOpen] = useState(session.notice && !seen(name));
  if (!open) return null;
  const close = () => {
    try {
      localStorage.setItem(key(name), new Date().toISOString());
    } catch {
      // Where nothing can be kept, the notice comes again with the next page load.
    }
    setOpen(false);
  };
  return (
    <Dialog title="Before you look" onClose={close}>
      <div className={s.made}>
        <p>
          Weir holds traffic of real people and systems. Redaction takes out the secrets and personal data that its rules know; what they do not know
          is here as it was sent. Look only at what your work needs.
        </p>
        <p>
          <b>What is recorded about you:</b> when and from which address you sign in, whose headers and bodies you open, what you export, and every change of
          users, keys and stored pairs. It goes into an audit log that admins can read and nobody can change.
        </p>
        <p className="muted">This browser keeps your choice of colours and widths, and a cookie for the session. Nothing is loaded from elsewhere.</p>
        <div className={s.actions}>
          <button type="button" className="btn primary" onClick={close} data-autofocus>
            I understand
          </button>
        </div>
      </div>
    </Dialog>
  );
}
