import { Menu } from '@mantine/core';
import { setPrefs, usePrefs, type Prefs } from '../lib/prefs';
import { Icon } from './Icon';
import m from './menu.module.css';

type Choice<K extends keyof Prefs> = readonly [value: Prefs[K], label: string];

const zones: readonly Choice<'zone'>[] = [
  ['local', 'Local time'],
  ['utc', 'UTC'],
];
const densities: readonly Choice<'density'>[] = [
  ['compact', 'Compact'],
  ['default', 'Default'],
  ['roomy', 'Roomy'],
];
const sides: readonly Choice<'sides'>[] = [
  ['auto', 'As there is room'],
  ['columns', 'Side by side'],
  ['rows', 'One above the other'],
];

/** How things are shown, for this reader. */
export function ViewMenu() {
  return (
    <Menu position="bottom-end" offset={4} closeOnItemClick={false}>
      <Menu.Target>
        <button type="button" className="btn icon" style={{ height: 30, width: 30 }} aria-label="How to show it" title="How to show it">
          <Icon name="more" />
        </button>
      </Menu.Target>
      <Menu.Dropdown className={m.menu}>
        <Group label="Times" name="zone" choices={zones} />
        <Group label="Rows" name="density" choices={densities} />
        <Group label="Request and response" name="sides" choices={sides} />
      </Menu.Dropdown>
    </Menu>
  );
}

function Group<K extends 'zone' | 'density' | 'sides'>({ label, name, choices }: { label: string; name: K; choices: readonly Choice<K>[] }) {
  const prefs = usePrefs();
  return (
    <>
      <Menu.Label className={m.label}>{label}</Menu.Label>
      {choices.map(([value, text]) => (
        <Menu.Item
          key={value}
          className={m.item}
          role="menuitemradio"
          aria-checked={prefs[name] === value}
          rightSection={prefs[name] === value ? <Icon name="check" /> : null}
          onClick={() => setPrefs({ [name]: value })}
        >
          {text}
        </Menu.Item>
      ))}
    </>
  );
}
