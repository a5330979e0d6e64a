import { Menu } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { call } from '../../api/client';
import { bytesQuery, fetchCurl } from '../../api/queries';
import type { LoadedPair } from '../../lib/body-reader';
import { textOf } from '../../lib/body';
import { copyText } from '../../lib/clipboard';
import { copyAs, copyNotes, type CopyForm } from '../../lib/copy-as';
import { notice } from '../../lib/notice';
import { Icon } from '../Icon';
import m from '../menu.module.css';
import s from './Detail.module.css';

type Form = 'curl' | 'raw' | CopyForm;

const forms: readonly (readonly [Form, string])[] = [
  ['curl', 'curl'],
  ['fetch', 'fetch (JavaScript)'],
  ['go', 'Go'],
  ['python', 'Python'],
  ['raw', 'Raw request'],
  ['json', 'JSON, as the API has it'],
];

/** Takes the request along, in the form of one's choice. */
export function CopyMenu({ pair, may }: { pair: LoadedPair | undefined; may: boolean }) {
  const client = useQueryClient();
  const notes = pair ? copyNotes(pair) : [];
  const textFor = async (form: Form, of: LoadedPair): Promise<string> => {
    if (form === 'curl') return fetchCurl(of.id);
    if (form === 'json') return JSON.stringify(JSON.parse(await (await call(`pairs/${encodeURIComponent(of.id)}`)).text()), null, 2);
    if (form === 'raw') {
      const { bytes, state } = await client.fetchQuery(bytesQuery(of.id, 'request', 'raw', false, true));
      const text = bytes && textOf(bytes, state === 'truncated');
      if (text === null) throw new Error('The request is not text: download it on the Raw tab.');
      return text;
    }
    if (of.left_out?.request) throw new Error('The body is too large for a line of code: copy the curl command, or download the body.');
    const text = copyAs(of, form);
    if (text === null) throw new Error('There is no request to copy.');
    return text;
  };
  const copy = async (form: Form, name: string) => {
    if (!pair) return;
    try {
      const done = await copyText(await textFor(form, pair));
      notice(done ? [`Copied as ${name}.`, ...(form === 'json' ? [] : notes)].join(' ') : 'The browser did not allow copying');
    } catch (error) {
      notice(error instanceof Error ? error.message : 'It could not be copied');
    }
  };
  return (
    <Menu position="bottom-end" offset={4} withInitialFocusPlaceholder={false} menuItemTabIndex={0}>
      <Menu.Target>
        <button type="button" className="btn bare" disabled={!may || !pair} title={may ? 'Copy the request as …' : 'Copying requests needs role investigator'}>
          <Icon name="copy" />
          Copy
          <Icon name="chevron" size={12} />
        </button>
      </Menu.Target>
      <Menu.Dropdown className={m.menu}>
        {notes.length > 0 && <Menu.Label className={`${m.label} ${s.copied}`}>{notes.join(' ')}</Menu.Label>}
        {forms.map(([form, name]) => (
          <Menu.Item key={form} className={m.item} rightSection={form === 'curl' ? <kbd>c</kbd> : null} onClick={() => void copy(form, name)}>
            {name}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
