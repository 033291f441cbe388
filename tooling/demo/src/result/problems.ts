import type { Verdict } from './verdict.js'

/** What is wrong with a run, in words; nothing when every promise was kept. */
export function problemsOf(verdict: Verdict): string[] {
  const { remains } = verdict
  return [
    ...about(verdict.lost, 'lost: it never finished', 'lost: they never finished'),
    ...about(verdict.notRecovered, 'in flight in the killed worker and not recovered'),
    ...about(verdict.recoveredTwice, 'recovered twice, or started once too often'),
    ...about(verdict.recoveredForNothing, 'recovered though the killed worker did not hold it'),
    ...about(verdict.finishedTwice, 'finished twice, in workers that were alive'),
    ...(remains.jobs > 0 ? [`${remains.jobs} jobs are left in graphile-worker`] : []),
    ...(remains.tasks > 0 ? [`${remains.tasks} tasks are left in Holdfast`] : []),
    ...(remains.quarantined > 0 ? [`${remains.quarantined} jobs stand in quarantine`] : []),
  ]
}

const SHOWN = 8

function about(jobs: readonly (number | null)[], one: string, many = one): string[] {
  if (jobs.length === 0) return []
  const named = jobs.slice(0, SHOWN).map((job) => job ?? 'unknown')
  const more = jobs.length > SHOWN ? ` and ${jobs.length - SHOWN} more` : ''
  return [jobs.length === 1 ? `job ${named[0]}: ${one}` : `jobs ${named.join(', ')}${more}: ${many}`]
}
