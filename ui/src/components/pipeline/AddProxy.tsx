import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { sendForText } from '../../api/client';
import { keysQuery } from '../../api/manage';
import { proxiesQuery } from '../../api/queries';
import { dockerRun, readEnvLines } from '../../lib/env-lines';
import { useAct } from '../../lib/use-act';
import { Dialog, Form } from '../forms/Dialog';
import { Field } from '../forms/Field';
import f from '../forms/forms.module.css';
import { TakeAlong } from '../forms/Text';

/** A port, or nothing; NaN for anything else. */
export function portNumber(text: string): number {
  if (text.trim() === '') return 0;
  const port = /^\d{1,5}$/.test(text.trim()) ? Number(text) : Number.NaN;
  return port >= 1 && port <= 65_535 ? port : Number.NaN;
}

/** Writes the lines that start a proxy beside an application. */
export function AddProxy({ onClose }: { onClose: () => void }) {
  const { data } = useQuery(proxiesQuery);
  // Where a forwarder asks proxies for tokens, a proxy without one would be refused.
  const asked = data?.forwarders.some((d) => d.connected && !d.proxies_unauthenticated) ?? false;
  const [token, setToken] = useState<boolean | null>(null);
  const [app, setApp] = useState('');
  const [pod, setPod] = useState('');
  const [namespace, setNamespace] = useState('');
  const [forwarder, setForwarder] = useState('');
  const [port, setPort] = useState('4143');
  const [host, setHost] = useState('');
  const [upstream, setUpstream] = useState('');
  const ports = [portNumber(port), portNumber(upstream)] as const;
  const wrong = ports.some(Number.isNaN);
  const act = useAct(
    () =>
      sendForText('proxy-list', {
        app: app.trim(),
        pod: pod.trim(),
        namespace: namespace.trim(),
        forwarder_addr: forwarder.trim(),
        port: ports[0],
        upstream_host: host.trim(),
        upstream_port: ports[1],
        token: token ?? asked,
      }),
    { stale: [keysQuery.queryKey] },
  );
  if (act.data !== undefined) {
    const { variables, notes } = readEnvLines(act.data);
    return (
      <Dialog title="Add a proxy" onClose={onClose} size={640}>
        <div className={f.made}>
          <p>
            Run this beside the application, with the image that your build made.
            {(token ?? asked) && (
              <>
                {' '}
                <b>The token in it is shown this once</b>; Keys can revoke it.
              </>
            )}
          </p>
          <TakeAlong text={dockerRun(variables, ports[0] || 4143, 'weir/goproxy')} what="the command" label="With Docker" />
          {notes.length > 0 && <TakeAlong text={notes.join('\n')} what="what the forwarder needs" label="What the forwarder needs" />}
          <p>Or as variables of the program goproxy:</p>
          <TakeAlong text={variables.map(([name, value]) => `${name}=${value}`).join('\n')} what="the variables" file="goproxy.list" label="Lines for the proxy" />
          <p className="muted">It appears under Proxies as soon as it has registered; its clients call its port instead of the application’s.</p>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title="Add a proxy" onClose={onClose}>
      <Form label="Add a proxy" action="Write the lines" busy={act.isPending} error={act.error} disabled={app.trim() === '' || wrong} onSubmit={() => act.mutate(undefined)} onCancel={onClose}>
        <Field label="Application" value={app} onChange={setApp} hint="APP_LABEL, the same for all its instances." autoComplete="off" data-autofocus />
        <Field label="Instance" value={pod} onChange={setPod} hint="APP_POD_NAME, of this one alone. Empty: made from the application’s name." autoComplete="off" />
        <Field label="Namespace" value={namespace} onChange={setNamespace} autoComplete="off" />
        <Field label="Host of the application" value={host} onChange={setHost} hint="REVERSE_PROXY_HOST, as the proxy sees it: in a container, localhost is that container alone." autoComplete="off" />
        <Field label="Port of the application" value={upstream} onChange={setUpstream} inputMode="numeric" placeholder="80" autoComplete="off" aria-invalid={Number.isNaN(ports[1])} />
        <Field label="Port to listen on" value={port} onChange={setPort} inputMode="numeric" autoComplete="off" aria-invalid={Number.isNaN(ports[0])} />
        <Field label="Address of the forwarder, as the proxy sees it" value={forwarder} onChange={setForwarder} hint="host:port; forwarders listen on 8888." autoComplete="off" />
        <label>
          <input type="checkbox" checked={token ?? asked} onChange={(e) => setToken(e.target.checked)} /> With a token of its own
          <span className="muted"> {asked ? '(a forwarder that is connected asks for one)' : '(for a forwarder with PROXY_TOKENS_FILE)'}</span>
        </label>
        {wrong && (
          <p role="alert" className="tone-bad">
            A port is a number from 1 to 65535.
          </p>
        )}
      </Form>
    </Dialog>
  );
}
