import { Link, Outlet } from '@tanstack/react-router';
import { useState } from 'react';
import type { Session } from '../api/types';
import { useNotice } from '../lib/notice';
import { useKeys } from '../lib/use-keys';
import { Banners } from './Banners';
import { Help } from './Help';
import { Icon } from './Icon';
import { PrivacyNotice } from './PrivacyNotice';
import s from './Shell.module.css';
import { StatusStrip } from './StatusStrip';
import { ThemeMenu } from './ThemeMenu';
import { UserMenu } from './UserMenu';

/** What is on every page: the way around, the state of the pipeline, and what must not be missed. */
export function Shell({ session }: { session: Session }) {
  const [help, setHelp] = useState(false);
  useKeys({ '?': () => setHelp(true) });
  return (
    <div className={s.shell}>
      <header className={s.header}>
        <Link to="/" className={s.brand} aria-label="Weir, to Traffic">
          <svg width="18" height="18" viewBox="0 0 16 16" aria-hidden="true">
            <path d="M1.500 5h5.500v6h7.500" fill="none" stroke="currentColor" strokeWidth="2.200" strokeLinejoin="round" strokeLinecap="round" />
          </svg>
          Weir
        </Link>
        <nav aria-label="Pages" className={s.nav}>
          <Link to="/" activeOptions={{ exact: true, includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
            Traffic
          </Link>
          <Link to="/endpoints" activeOptions={{ includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
            Endpoints
          </Link>
          <Link to="/errors" activeOptions={{ includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
            Errors
          </Link>
          <Link to="/map" activeOptions={{ includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
            Map
          </Link>
          <Link to="/ledger" activeOptions={{ includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
            Ledger
          </Link>
          <Link to="/proxies" className={s.tab} activeProps={{ className: s.active }}>
            Proxies
          </Link>
          <Link to="/doctor" className={s.tab} activeProps={{ className: s.active }}>
            Doctor
          </Link>
        </nav>
        <StatusStrip />
        <ThemeMenu />
        <UserMenu session={session} />
        <button type="button" className="btn bare icon" onClick={() => setHelp(true)} aria-label="Keys and query language" title="Keys and query language (?)">
          <Icon name="help" />
        </button>
      </header>
      <Banners />
      <PrivacyNotice session={session} />
      <Outlet />
      <Help opened={help} onClose={() => setHelp(false)} />
      <Notice />
    </div>
  );
}

function Notice() {
  const text = useNotice();
  return (
    <div role="status" className={text ? s.notice : 'sr'}>
      {text}
    </div>
  );
}
