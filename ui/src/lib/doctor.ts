import type { Doctor, DoctorCheck } from '../api/types';

/** Worst first. */
const order: readonly DoctorCheck['status'][] = ['failure', 'warning', 'skipped', 'ok'];

/** Checks by what they came to, worst first; within a group as they were made. */
export function groupsOf(checks: readonly DoctorCheck[]): { status: DoctorCheck['status']; checks: DoctorCheck[] }[] {
  return order.map((status) => ({ status, checks: checks.filter((c) => c.status === status) })).filter((g) => g.checks.length > 0);
}

/** The checks as lines, as the command line prints them. */
export function doctorText(report: Doctor): string {
  const n = (status: DoctorCheck['status']) => report.checks.filter((c) => c.status === status).length;
  const lines = report.checks.flatMap((c) => [
    `${c.status.padEnd(7)}  ${c.title}${c.where ? ` (${c.where})` : ''}: ${c.found}`,
    ...(c.cause ? [`         Why  ${c.cause}`] : []),
    ...(c.fix ? [`         Do   ${c.fix}`] : []),
  ]);
  const known = n('skipped') > 0 ? `, ${n('skipped')} to know` : '';
  return `${lines.join('\n')}\n\n${n('ok')} well, ${n('warning')} warnings, ${n('failure')} failures${known}.\n`;
}
