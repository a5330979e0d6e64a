import type { Doctor, DoctorCheck } from '../api/types';

/** Worst first. */
const order: readonly DoctorCheck['status'][] = ['failure', 'warning', 'ok', 'skipped'];

/** Checks by what they came to, worst first; within a group as they were made. */
export function groupsOf(checks: readonly DoctorCheck[]): { status: DoctorCheck['status']; checks: DoctorCheck[] }[] {
  return order.map((status) => ({ status, checks: checks.filter((c) => c.status === status) })).filter((g) => g.checks.length > 0);
}

/** The checks as lines, for an issue or a chat. */
export function doctorText(report: Doctor): string {
  const lines = groupsOf(report.checks).flatMap(({ checks }) =>
    checks.flatMap((c) => [
      `${c.status}: ${c.title}${c.where ? ` (${c.where})` : ''}: ${c.found}`,
      ...(c.cause ? [`  cause: ${c.cause}`] : []),
      ...(c.fix ? [`  fix: ${c.fix}`] : []),
    ]),
  );
  return `${report.time} ${report.status}\n${lines.join('\n')}\n`;
}
