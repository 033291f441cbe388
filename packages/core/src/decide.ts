import type { Decision, OrphanedJob } from './adapter.js'
import { jittered } from './clock.js'
import type { MonitorConfig } from './options.js'

/** Whether this recovery counts as a crash of the job. */
export const isCrash = ({ orphan, started }: OrphanedJob): boolean =>
  orphan.cause === 'crash' && started !== false

/** Longest pause before a job that keeps crashing runs again, in ms. */
const MAX_BACKOFF = 60_000

/**
 * What becomes of a job after its `crashes`-th crash: at once the first time, since most jobs only were in bad company;
 * later with a growing pause, so that a killer can't take the fleet down in a row; over the cap not at all.
 */
export function decide(job: OrphanedJob, crashes: number, config: MonitorConfig): Decision {
  if (!isCrash(job)) return { kind: 'requeue' }
  const { maxRecoveries } = config
  if (crashes > maxRecoveries) {
    return {
      kind: 'quarantine',
      reason: `in flight in ${crashes} dying processes, more than maxRecoveries (${maxRecoveries}) allows`,
    }
  }
  if (crashes <= 1) return { kind: 'requeue' }
  return {
    kind: 'requeue',
    notBefore: Math.round(jittered(Math.min(MAX_BACKOFF, 1_000 * 2 ** (crashes - 1)))),
  }
}
