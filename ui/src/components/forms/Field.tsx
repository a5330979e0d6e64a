import { useId, useState, type InputHTMLAttributes, type ReactNode } from 'react';
import type { Role, Scope } from '../../api/types';
import { namesOf, roleMeans, roles } from '../../lib/roles';
import s from './forms.module.css';

interface FieldProps extends Omit<InputHTMLAttributes<HTMLInputElement>, 'onChange' | 'value'> {
  label: string;
  value: string;
  onChange: (value: string) => void;
  hint?: ReactNode;
}

/** One line of text, under its name, with what it is for. */
export function Field({ label, value, onChange, hint, type = 'text', ...rest }: FieldProps) {
  const id = useId();
  return (
    <div className={s.field}>
      <label htmlFor={id}>{label}</label>
      <input {...rest} id={id} type={type} value={value} onChange={(e) => onChange(e.target.value)} aria-describedby={hint ? `${id}-hint` : undefined} spellCheck={false} autoCapitalize="none" />
      {hint && (
        <p id={`${id}-hint`} className={s.hint}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** Shorter ones the analyzer does not take. */
export const shortestPassword = 12;

/** A password, which can be looked at before it is sent. */
export function PasswordField({ label, value, onChange, fresh }: { label: string; value: string; onChange: (value: string) => void; fresh?: boolean }) {
  const [shown, setShown] = useState(false);
  const id = useId();
  return (
    <div className={s.field}>
      <label htmlFor={id}>{label}</label>
      <span className={s.password}>
        <input
          id={id}
          type={shown ? 'text' : 'password'}
          value={value}
          onChange={(e) => onChange(e.target.value)}
          autoComplete={fresh ? 'new-password' : 'current-password'}
          aria-describedby={fresh ? `${id}-hint` : undefined}
          spellCheck={false}
          autoCapitalize="none"
        />
        <button type="button" className="btn" aria-pressed={shown} aria-label={`Show ${label.toLowerCase()}`} onClick={() => setShown(!shown)}>
          show
        </button>
      </span>
      {fresh && (
        <p id={`${id}-hint`} className={s.hint}>
          At least {shortestPassword} characters; a few words are easier to keep than signs.
        </p>
      )}
    </div>
  );
}

/** Which role, each with what it adds. */
export function RoleField({ value, onChange, upTo = 'admin' }: { value: Role; onChange: (role: Role) => void; upTo?: Role }) {
  const offered = roles.slice(0, roles.indexOf(upTo) + 1);
  return (
    <fieldset className={s.choices}>
      <legend>Role</legend>
      {offered.map((role, i) => (
        <label key={role}>
          <input type="radio" name="role" value={role} checked={role === value} onChange={() => onChange(role)} />
          <span>
            <b>{role}</b>{' '}
            <span className="muted">
              {i > 0 && 'and '}
              {roleMeans[role]}
            </span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

export interface ScopeText {
  apps: string;
  namespaces: string;
  clusters: string;
}

export const noScope: ScopeText = { apps: '', namespaces: '', clusters: '' };

export function scopeToText(scope: Scope): ScopeText {
  return { apps: scope.apps.join(', '), namespaces: scope.namespaces.join(', '), clusters: scope.clusters.join(', ') };
}

export function textToScope(text: ScopeText): Scope {
  return { apps: namesOf(text.apps), namespaces: namesOf(text.namespaces), clusters: namesOf(text.clusters) };
}

/** Which pairs somebody sees: by app, namespace and cluster. */
export function ScopeField({ value, onChange }: { value: ScopeText; onChange: (value: ScopeText) => void }) {
  return (
    <fieldset className={s.scope}>
      <legend>Sees only</legend>
      <p className={s.hint}>Names with commas between them. What stays empty is no bound.</p>
      <Field label="Apps" value={value.apps} onChange={(apps) => onChange({ ...value, apps })} />
      <Field label="Namespaces" value={value.namespaces} onChange={(namespaces) => onChange({ ...value, namespaces })} />
      <Field label="Clusters" value={value.clusters} onChange={(clusters) => onChange({ ...value, clusters })} />
    </fieldset>
  );
}
