import type { QueryKey } from '@tanstack/react-query';
import type { ReactNode } from 'react';

import { sendJson } from '../../api/client';
import { notice } from '../../lib/notice';
import { useAct } from '../../lib/use-act';
import { Dialog, Form } from './Dialog';

interface Props {
  /** What is done, and what the notice says when it was. */
  verb: string;
  done: string;
  /** What it is done to, fit to be shown. */
  name: string;
  /** The path, below the API, that is deleted, and what has to be asked again then. */
  path: string;
  stale: readonly QueryKey[];
  onClose: () => void;
  /** What it means. */
  children: ReactNode;
}

/** Asks once before something is gone for good. */
export function RemoveDialog({ verb, done, name, path, stale, onClose, children }: Props) {
  const act = useAct(() => sendJson('DELETE', path), {
    stale,
    done: () => {
      notice(`${done} ${name}`);
      onClose();
    },
  });
  const words = `${verb} ${name}`;
  return (
    <Dialog title={`${words}?`} onClose={onClose} size={420}>
      <Form label={words} action={words} danger busy={act.isPending} error={act.error} onSubmit={() => act.mutate(undefined)} onCancel={onClose}>
        <p>{children}</p>
      </Form>
    </Dialog>
  );
}
