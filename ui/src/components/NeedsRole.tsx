import type { ReactNode } from 'react';
import type { Role } from '../api/types';
import { roleMeans, withArticle } from '../lib/roles';
import { useIdentity } from '../lib/session';
import { visibleText } from '../lib/visible';
import { Icon } from './Icon';
import s from './NeedsRole.module.css';

interface Props {
  least: Role;
  /** Begins the sentence that ends "… needs role X". */
  what: ReactNode;
}

/** Says what is here for others, and who may see it: nothing is missing in silence. */
export function NeedsRole({ least, what }: Props) {
  const identity = useIdentity();
  return (
    <div className={s.needs} role="note" data-needs={least}>
      <Icon name="lock" />
      <div>
        <p>
          <b>
            {what} needs role {least}.
          </b>{' '}
          {identity && `You are signed in as ${visibleText(identity.name)}, ${withArticle(identity.role)}.`}
        </p>
        <p className="muted">
          {least} adds {roleMeans[least]}. An admin gives roles under Users.
        </p>
      </div>
    </div>
  );
}
