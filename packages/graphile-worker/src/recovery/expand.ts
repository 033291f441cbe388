import type { Orphan, OrphanedJob, RecoveryContext } from '@holdfast/core'
import type { EndedJob } from '../job-sql.js'
import { type HandOffPayload, payloadOf, type TaskPayload } from '../payloads.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'
import { lockJobs } from './held-jobs.js'
import { unlockQueues } from './unlock.js'

/** A job behind an orphan. */
export interface JobDetail {
  readonly lockIds: readonly string[]
  readonly handOff?: HandOffPayload
  /** How its handler ended, if it did. */
  readonly end?: Pick<EndedJob, 'failure'>
}

export interface GraphileJob extends OrphanedJob {
  readonly jobRef: string
  readonly detail: JobDetail
}

/**
 * A guard row stands for whatever its locks hold; the other rows for one job each. A job with a row of its own, in this
 * batch or anywhere else, is left out of its guard's: so of a pool that marks starts, and of those that are tried again,
 * only jobs that had not begun are left. Own rows sort before their guard (a UUID before a lock id), and are mostly gone when it comes.
 */
export async function expandOrphans(
  run: Run,
  tables: GraphileTables,
  orphans: readonly Orphan[],
  context: RecoveryContext,
): Promise<GraphileJob[]> {
  const all = orphans.map((orphan) => ({ orphan, payload: payloadOf(orphan) }))
  const own = all.flatMap(({ orphan, payload }) => ownJob(orphan, payload) ?? [])
  const guards = all.flatMap(({ orphan, payload }) =>
    payload.kind === 'guard' && orphan.cause !== 'retry' ? [{ orphan, payload }] : [],
  )
  const lockIds = guards.flatMap(({ payload }) => payload.lockIds)
  const rows = await lockJobs(run, tables, { lockIds, jobIds: own.map(({ jobRef }) => jobRef) })
  // Also those without a job left: a zombie's completion can leave a queue locked by nobody's job.
  await unlockQueues(run, tables, lockIds)
  const held = rows.filter(({ lockedBy }) => isHeld(lockIds, lockedBy)).map(({ id }) => id)
  const withOwnRow = new Set([...own.map(({ jobRef }) => jobRef), ...(await context.registered(held))])

  const guarded = guards.flatMap(({ orphan, payload }) => {
    const ends = new Map(payload.ended?.map((job) => [job.id, job]))
    return rows
      .filter(({ id, lockedBy }) => isHeld(payload.lockIds, lockedBy) && !withOwnRow.has(id))
      .map(({ id, attempts }): GraphileJob => {
        const end = ends.get(id)
        const ended = end?.attempts === attempts ? { end } : {}
        const detail = { lockIds: payload.lockIds, ...ended }
        // One that is tried again has a row before it begins: without, it still waited for its turn among suspects.
        const started = 'end' in ended || (!payload.marksStarts && attempts <= 1)
        return { orphan, jobRef: id, started, detail }
      })
  })
  return [...own, ...guarded]
}

/** The job of a row that stands for one. That of a guard row that was quarantined is known by the row's jobRef. */
function ownJob(orphan: Orphan, payload: TaskPayload): GraphileJob | undefined {
  if (payload.kind === 'guard') {
    if (orphan.cause !== 'retry' || orphan.jobRef === null) return undefined
    return { orphan, jobRef: orphan.jobRef, detail: { lockIds: [] } }
  }
  const lockIds = [payload.lockId]
  const { failure } = payload
  const failed = failure === undefined ? {} : { end: { failure } }
  if (payload.kind === 'handOff') {
    // Renamed, when an earlier try of this recovery had added it anew.
    const jobRef = orphan.jobRef ?? payload.job.id
    return { orphan, jobRef, detail: { lockIds, handOff: payload, ...failed } }
  }
  return { orphan, jobRef: payload.jobId, detail: { lockIds, ...(payload.finished ? { end: {} } : failed) } }
}

export const isHeld = (lockIds: readonly string[], lockedBy: string | null): boolean =>
  lockedBy !== null && lockIds.includes(lockedBy)
