import { Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { Icon, type IconName } from './Icon';
import m from './menu.module.css';

const choices: readonly { value: 'light' | 'dark' | 'auto'; label: string; icon: IconName }[] = [
  { value: 'light', label: 'Light', icon: 'sun' },
  { value: 'dark', label: 'Dark', icon: 'moon' },
  { value: 'auto', label: 'As the system', icon: 'screen' },
];

export function ThemeMenu() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const computed = useComputedColorScheme('light');
  return (
    <Menu position="bottom-end" offset={4}>
      <Menu.Target>
        <button type="button" className="btn bare icon" aria-label="Colours" title="Colours">
          <Icon name={computed === 'dark' ? 'moon' : 'sun'} />
        </button>
      </Menu.Target>
      <Menu.Dropdown className={m.menu}>
        {choices.map((c) => (
          <Menu.Item
            key={c.value}
            className={m.item}
            role="menuitemradio"
            aria-checked={colorScheme === c.value}
            leftSection={<Icon name={c.icon} />}
            rightSection={colorScheme === c.value ? <Icon name="check" /> : null}
            onClick={() => setColorScheme(c.value)}
          >
            {c.label}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
