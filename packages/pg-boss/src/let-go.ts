import { setTimeout as delay } from 'node:timers/promises'
import { TaskLostError } from '@holdfast/core'
import type { BossJob } from './boss.js'
import { expiryOf } from './delivery.js'
import { activeJobs, holdOff } from './job-sql.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { inDatabase, type Run } from './run.js'
import type { BossTables } from './tables.js'

/** Milliseconds between looks. */
export const LOOK = 250

/**
 * Resolves when pg-boss may write its end of jobs that are no longer this run's: it then changes nothing. No later than
 * when the jobs expire for this worker, since pg-boss fails them then whatever is done here.
 *
 * @param most milliseconds
 */
export async function letGo(
  { parts: { db, tables }, report }: ProtectedBoss,
  { schema }: Running,
  jobs: readonly BossJob[],
  most = Number.POSITIVE_INFINITY,
): Promise<void> {
  if (jobs.length === 0) return
  const isReachable = schema.fences ? isStillThis : isActive
  const deadline = performance.now() + Math.min(most, Math.max(...jobs.map(expiryOf)))
  for (let looks = 0; performance.now() < deadline; looks++) {
    try {
      if (!(await isReachable(inDatabase(db), tables, jobs))) return
    } catch (error) {
      if (looks === 0) report(error)
    }
    await delay(LOOK)
  }
}

/** What pg-boss is told of such jobs, once it changes nothing. */
export const lostError = (jobs: readonly BossJob[]): TaskLostError => {
  const ids = jobs.map(({ id }) => id).join(', ')
  return new TaskLostError(`No longer this worker's, so that nothing of what was done counts: ${ids}.`)
}

/** 12 ends a job only while it is the attempt that its worker fetched: until recovery has taken that. */
export async function isStillThis(run: Run, tables: BossTables, jobs: readonly BossJob[]): Promise<boolean> {
  const attempts = new Map(jobs.map(({ id, retryCount }) => [id, retryCount]))
  const active = await activeJobs(run, tables, jobs[0]!.name, [...attempts.keys()])
  return active.some(({ id, retryCount }) => attempts.get(id) === retryCount)
}

/** 10 completes by id alone, whatever is active: so also while another works on it, or may begin any moment. */
async function isActive(run: Run, tables: BossTables, jobs: readonly BossJob[]): Promise<boolean> {
  const ids = jobs.map(({ id }) => id)
  return (await holdOff(run, tables, jobs[0]!.name, ids)) > 0
}
