import { useQuery } from '@tanstack/react-query';
import { doctorQuery } from '../api/queries';
import type { Doctor as Report, DoctorCheck } from '../api/types';
import { CopyButton } from '../components/CopyButton';
import { Icon, type IconName } from '../components/Icon';
import { formatAgo, formatCount, plural } from '../lib/format';
import { doctorText, groupsOf } from '../lib/doctor';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Doctor.module.css';

const looks: Readonly<Record<DoctorCheck['status'], { icon: IconName; tone: string; title: (n: number) => string }>> = {
  failure: { icon: 'cross', tone: 'tone-bad', title: (n) => plural(n, 'failure') },
  warning: { icon: 'triangle', tone: 'tone-attention', title: (n) => plural(n, 'warning') },
  ok: { icon: 'check', tone: 'tone-ok', title: (n) => `${formatCount(n)} well` },
  skipped: { icon: 'info', tone: 'muted', title: (n) => `${formatCount(n)} to know` },
};

/** What is wrong, why, and what to do: the same as the command line says. */
export function Doctor() {
  useTitle('Doctor · Weir');
  const { data, error, isFetching, refetch } = useQuery(doctorQuery);
  const now = useNow(1000);
  return (
    <main className={s.page}>
      <h1 className="sr">Doctor</h1>
      <div className={s.bar}>
        {data && <Verdict report={data} />}
        {data && <span className="muted">checked {formatAgo(parseMs(data.time), now)}</span>}
        <span className={s.space} />
        <button type="button" className="btn" onClick={() => void refetch()} disabled={isFetching}>
          <Icon name="loop" size={12} /> Check again
        </button>
        {data && <CopyButton text={doctorText(data)} what="the checks as text" label="Copy as text" />}
      </div>
      {error && (
        <p className={s.note} role="alert">
          <span className="tone-bad">
            <Icon name="cross" size={12} />
          </span>{' '}
          {error.message} {data && 'Below is what it said last.'}
        </p>
      )}
      {!data && !error && <p className={`${s.note} muted late`}>Looking …</p>}
      {data &&
        groupsOf(data.checks).map(({ status, checks }) => (
          <section key={status} aria-labelledby={`checks-${status}`}>
            <h2 id={`checks-${status}`}>{looks[status].title(checks.length)}</h2>
            <ul className={s.checks}>
              {checks.map((check) => (
                <Check key={`${check.id} ${check.where} ${check.found}`} check={check} />
              ))}
            </ul>
          </section>
        ))}
    </main>
  );
}

function Verdict({ report }: { report: Report }) {
  const { icon, tone } = looks[report.status];
  const n = report.checks.filter((c) => c.status === report.status).length;
  const text = report.status === 'ok' ? 'All is well' : report.status === 'warning' ? `${plural(n, 'warning')}, nothing has failed` : `${plural(n, 'check has', 'checks have')} failed`;
  return (
    <b role="status" className={s.verdict} data-testid="doctor">
      <span className={tone}>
        <Icon name={icon} />
      </span>
      {text}
    </b>
  );
}

function Check({ check }: { check: DoctorCheck }) {
  const { icon, tone } = looks[check.status];
  return (
    <li data-check={check.id} data-status={check.status}>
      <span className={tone}>
        <Icon name={icon} size={12} label={check.status} />
      </span>
      <div className={s.what}>
        <b>{check.title}</b>
        {check.where && <span className="muted"> {visibleText(check.where)}</span>}
      </div>
      <div className={s.found}>
        <p>{visibleText(check.found)}</p>
        {check.cause && (
          <p>
            <span className="muted">Why:</span> {visibleText(check.cause)}
          </p>
        )}
        {check.fix && (
          <p>
            <span className="muted">Do:</span> {visibleText(check.fix)}
          </p>
        )}
      </div>
    </li>
  );
}
