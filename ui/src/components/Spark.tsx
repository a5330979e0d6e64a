import s from './Spark.module.css';

/** Counts over time, to be taken in at a glance; the numbers stand beside it. */
export function Spark({ steps, tone, title }: { steps: readonly number[]; tone: 'bad' | 'attention'; title: string }) {
  const most = steps.reduce((a, b) => Math.max(a, b), 1);
  return (
    <svg className={s.spark} data-tone={tone} viewBox={`0 0 ${Math.max(1, steps.length)} 1`} preserveAspectRatio="none" aria-hidden="true">
      <title>{title}</title>
      <path
        d={steps
          .map((n, i) => {
            const h = n === 0 ? 0 : Math.max(0.12, n / most);
            return h === 0 ? '' : `M${i} 1V${1 - h}h.86V1Z`;
          })
          .join('')}
      />
    </svg>
  );
}
