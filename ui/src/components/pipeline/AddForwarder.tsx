import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { sendForText } from '../../api/client';
import { keysQuery } from '../../api/manage';
import { infoQuery } from '../../api/queries';
import { useAct } from '../../lib/use-act';
import { visibleText } from '../../lib/visible';
import { Dialog, Form } from '../forms/Dialog';
import { Field } from '../forms/Field';
import f from '../forms/forms.module.css';
import { TakeAlong } from '../forms/Text';

/** Of an address that means this machine alone, the port; null of others. */
export function loopbackPort(address: string): string | null {
  return /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]):(\d+)$/.exec(address)?.[1] ?? null;
}

/** Writes forwarder.list: where the analyzer is, a fresh token, the key of tokens, and the standard rules. */
export function AddForwarder({ onClose }: { onClose: () => void }) {
  const { data: info } = useQuery(infoQuery);
  const [name, setName] = useState('');
  const [addr, setAddr] = useState<string | null>(null);
  const [cluster, setCluster] = useState('');
  const where = addr ?? info?.ingest_addr ?? '';
  const act = useAct(() => sendForText('forwarder-list', { name: name.trim(), analyzer_addr: where.trim(), cluster: cluster.trim() || name.trim() }), { stale: [keysQuery.queryKey] });
  if (act.data !== undefined) {
    return (
      <Dialog title="Add a forwarder" onClose={onClose} size={640}>
        <div className={f.made}>
          <p>
            Save this as <code>forwarder.list</code>, readable for its owner alone. <b>The token in it is shown this once</b>; Keys can revoke it.
          </p>
          <TakeAlong text={act.data} what="forwarder.list" file="forwarder.list" label="forwarder.list" />
          <p>Then start the forwarder with it. In Docker, with the image that your build made:</p>
          <TakeAlong
            text={'docker run --detach --rm \\\n  --env-file=forwarder.list \\\n  --publish 8888:8888/tcp \\\n  weir/forwarder'}
            what="the command"
            label="With Docker"
          />
          <p>Or as a program:</p>
          <TakeAlong text={'set -a; . ./forwarder.list; set +a; forwarder'} what="the command" label="As a program" />
          <p className="muted">It appears under Forwarders as soon as it connects.</p>
        </div>
      </Dialog>
    );
  }
  const port = loopbackPort(where);
  return (
    <Dialog title="Add a forwarder" onClose={onClose}>
      <Form label="Add a forwarder" action="Write forwarder.list" busy={act.isPending} error={act.error} disabled={name.trim() === ''} onSubmit={() => act.mutate(undefined)} onCancel={onClose}>
        <Field label="Name" value={name} onChange={setName} hint="Of its token, and of its cluster where that has no other name." autoComplete="off" data-autofocus />
        <Field
          label="Address of this analyzer, as the forwarder sees it"
          value={where}
          onChange={setAddr}
          hint={
            port
              ? `${where} is this machine alone, and inside a container the container. From elsewhere: the machine’s name and port ${port}, with INGEST_ADDR listening there.`
              : 'host:port of INGEST_ADDR.'
          }
        />
        <Field label="Cluster" value={cluster} onChange={setCluster} hint="CLUSTER_NAME; empty: the name above." placeholder={visibleText(name)} />
        <p className="muted">Its rules of redaction will be standard, and its tokens those of the other forwarders.</p>
      </Form>
    </Dialog>
  );
}
