import type { Orphan, OrphanedJob, RecoveryContext } from '@holdfast/core'
import { type HandOffPayload, payloadOf, type TaskPayload } from '../payloads.js'
import type { GraphileTables } from '../tables.js'
import { type JobRow, lockJobs } from './held-jobs.js'
import { unlockQueues } from './unlock.js'

/** A job behind an orphan, and what graphile-worker has of it: no row when it is gone from there. */
export interface JobDetail {
  readonly lockIds: readonly string[]
  readonly row: JobRow | undefined
  readonly handOff?: HandOffPayload
  /** The handler threw. */
  readonly failure?: string | undefined
  /** The handler ended well. */
  readonly finished?: boolean
}

export interface GraphileJob extends OrphanedJob {
  readonly jobRef: string
  readonly detail: JobDetail
}

/**
 * A guard row stands for whatever its locks hold; the other rows for one job each. A job with a row of its own, in this
 * batch or anywhere else, is left out of its guard's: so of a pool that marks starts only jobs that had not begun are
 * left. Own rows sort before their guard (a UUID before a lock id), and are mostly gone when it comes.
 */
export async function expandOrphans(
  tables: GraphileTables,
  orphans: readonly Orphan[],
  context: RecoveryContext,
): Promise<GraphileJob[]> {
  const all = orphans.map((orphan) => ({ orphan, payload: payloadOf(orphan) }))
  const tasks = all.filter((task) => !isRetried(task))
  const retried = all.filter(isRetried)
  const lockIds = tasks.flatMap(({ payload }) => (payload.kind === 'guard' ? payload.lockIds : []))
  const jobIds = tasks.flatMap(({ payload }) => {
    if (payload.kind === 'guard') return []
    return [payload.kind === 'started' ? payload.jobId : payload.job.id]
  })
  const retriedIds = retried.flatMap(({ orphan }) => orphan.jobRef ?? [])
  const rows = await lockJobs(context, tables, { lockIds, jobIds: [...jobIds, ...retriedIds] })
  // Also those without a job left: a zombie's completion can leave a queue locked by nobody's job.
  await unlockQueues(context, tables, lockIds)
  const byId = new Map(rows.map((row) => [row.id, row]))
  const held = rows.filter(({ lockedBy }) => isHeld(lockIds, lockedBy)).map(({ id }) => id)
  const withOwnRow = new Set([...jobIds, ...(await context.registered(held))])

  const again = retriedIds.map(
    (jobRef, index): GraphileJob => ({
      orphan: retried[index]!.orphan,
      jobRef,
      detail: { lockIds: [], row: byId.get(jobRef) },
    }),
  )
  return tasks
    .flatMap(({ orphan, payload }): GraphileJob[] => {
      if (payload.kind === 'guard') {
        const jobs = rows.filter(
          ({ id, lockedBy }) => isHeld(payload.lockIds, lockedBy) && !withOwnRow.has(id),
        )
        return jobs.map((row) => ({
          orphan,
          jobRef: row.id,
          started: !payload.marksStarts,
          detail: { lockIds: payload.lockIds, row, finished: payload.finished?.includes(row.id) ?? false },
        }))
      }
      if (payload.kind === 'started') {
        const row = byId.get(payload.jobId)
        return [
          {
            orphan,
            jobRef: payload.jobId,
            detail: { lockIds: [payload.lockId], row, failure: payload.failure },
          },
        ]
      }
      const row = byId.get(payload.job.id)
      return [
        {
          orphan,
          jobRef: payload.job.id,
          detail: { lockIds: [payload.lockId], row, handOff: payload, failure: payload.failure },
        },
      ]
    })
    .concat(again)
}

/** A job that a person took out of quarantine, and that graphile-worker still has: failed, in its place. */
const isRetried = ({ orphan, payload }: { orphan: Orphan; payload: TaskPayload }): boolean =>
  orphan.cause === 'retry' && payload.kind !== 'handOff'

export const isHeld = (lockIds: readonly string[], lockedBy: string | null): boolean =>
  lockedBy !== null && lockIds.includes(lockedBy)
