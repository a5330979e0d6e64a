/** The viewer's own few icons, drawn on 16 × 16 with a 1.5 line. */
const paths = {
  dot: <circle cx="8" cy="8" r="3.5" fill="currentColor" stroke="none" />,
  ring: <circle cx="8" cy="8" r="3.5" />,
  arrow: <path d="M3 8h9M8.5 4.5 12 8l-3.5 3.5" />,
  triangle: <path d="M8 3 14 13H2Z" fill="currentColor" strokeLinejoin="round" />,
  cross: <path d="m4 4 8 8m0-8-8 8" strokeWidth="2" />,
  dash: <path d="M4 8h8" />,
  shield: <path d="M8 2 3 4v4c0 3 2.2 5 5 6 2.800-1 5-3 5-6V4Z" />,
  'eye-off': <path d="M2 8s2.200-4 6-4 6 4 6 4-2.200 4-6 4-6-4-6-4Zm1 5L13 3" />,
  loop: <path d="M13 8a5 5 0 1 1-1.500-3.500M13 2v3h-3" />,
  scissors: <path d="M6 6 13 12.500M6 10l7-6.500M6 5a2 2 0 1 1-4 0 2 2 0 0 1 4 0Zm0 6a2 2 0 1 1-4 0 2 2 0 0 1 4 0Z" />,
  broken: <path d="M2 8h4l1.500-3M14 8h-4l-1.500 3" />,
  partial: <path d="M8 2.500v11M8 3a5 5 0 0 1 0 10M3 8h1m1 0h1" />,
  fork: <path d="M8 14V9L3.500 3.500M8 9l4.500-5.500M3 6V3h3m4 0h3v3" />,
  info: <path d="M8 7.500V11M8 4.900v.2M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z" />,
  lock: <path d="M4 7.500h8V13H4Zm1.500 0V5a2.500 2.500 0 0 1 5 0v2.500" />,
  pause: <path d="M5.500 3.500v9m5-9v9" strokeWidth="2" />,
  play: <path d="M5 3.500v9l7-4.500Z" fill="currentColor" strokeLinejoin="round" />,
  search: <path d="m10.500 10.500 3 3M11.500 7a4.500 4.500 0 1 1-9 0 4.500 4.500 0 0 1 9 0Z" />,
  clock: <path d="M8 4.500V8l2.500 1.500M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z" />,
  chevron: <path d="m4.500 6.500 3.500 3.500 3.500-3.500" />,
  'chevron-right': <path d="m6.500 4.500 3.500 3.500-3.500 3.500" />,
  up: <path d="m4.500 9.500 3.500-3.500 3.500 3.500" />,
  copy: <path d="M5.500 5.500h7v8h-7ZM3.500 10.500v-8h7" />,
  check: <path d="m3 8.500 3.500 3.500L13 4.500" />,
  link: <path d="M6.500 9.500a3 3 0 0 0 4.200 0l2-2a3 3 0 0 0-4.200-4.200l-.8.8M9.500 6.500a3 3 0 0 0-4.200 0l-2 2a3 3 0 0 0 4.200 4.200l.8-.8" />,
  download: <path d="M8 2.500v7M5 7l3 3 3-3M3 13h10" />,
  sun: <path d="M8 1.500v1.500m0 10v1.500M1.500 8H3m10 0h1.500M3.400 3.400l1 1m7.200 7.200 1 1m0-9.200-1 1m-7.200 7.200-1 1M11 8a3 3 0 1 1-6 0 3 3 0 0 1 6 0Z" />,
  moon: <path d="M13 9.500A5.500 5.500 0 0 1 6.500 3a5.500 5.500 0 1 0 6.500 6.500Z" />,
  screen: <path d="M2 3.500h12v8H2Zm4 10h4" />,
  more: <path d="M3.500 8h.01M8 8h.01m4.490 0h.01" strokeWidth="2.500" />,
  help: <path d="M6 6a2 2 0 1 1 2.800 1.900c-.5.2-.8.6-.8 1.100v.3M8 11.400v.2M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z" />,
  columns: <path d="M2.500 3h11v10h-11ZM8 3v10" />,
  rows: <path d="M2.500 3h11v10h-11Zm0 5h11" />,
  plug: <path d="M6 2v3m4-3v3M4.500 5h7v2.500a3.500 3.500 0 0 1-7 0ZM8 11v3" />,
  tilde: <path d="M2.500 9.500c1.500-3.500 3.500-3.500 5.500-1.500s4 2 5.500-1.500" />,
  user: <path d="M10.500 5.500a2.500 2.500 0 1 1-5 0 2.500 2.500 0 0 1 5 0ZM3 13.500c.5-2.500 2.500-4 5-4s4.500 1.500 5 4" />,
  filter: <path d="M2.500 3.500h11L9.500 8.500v4l-3 1v-5Z" strokeLinejoin="round" />,
};

export type IconName = keyof typeof paths;

export function Icon({ name, size = 14, label }: { name: IconName; size?: number; label?: string }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      role={label ? 'img' : undefined}
      aria-label={label}
      aria-hidden={label ? undefined : true}
      focusable="false"
      style={{ flex: 'none' }}
    >
      {paths[name]}
    </svg>
  );
}
