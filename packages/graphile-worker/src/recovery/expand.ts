import type { Orphan, OrphanedJob, RecoveryContext } from '@holdfast/core'
import { isLockTime, type LockTime } from '../fetched-job.js'
import type { EndedJob } from '../job-sql.js'
import { type HandOffPayload, payloadOf, type StartedPayload, type TaskPayload } from '../payloads.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'
import type { ExhaustedPolicies, ExhaustedPolicy } from '../task-options.js'
import { heldJobs, type JobRow } from './held-jobs.js'
import { freeQueues, heldBy } from './unlock.js'

/** A job behind an orphan. */
export interface JobDetail {
  readonly lockIds: readonly string[]
  /** When the job was locked, where its pool may live and fetch it again. */
  readonly locked?: Partial<LockTime>
  readonly handOff?: HandOffPayload
  /** How its handler ended, if it did. */
  readonly end?: Pick<EndedJob, 'failure'>
  /** Milliseconds for which its own handler, which gave it back, would have it wait. */
  readonly pauseMs?: number | undefined
  /** As it was for the process that took it. */
  readonly onExhausted?: ExhaustedPolicy | ExhaustedPolicies | undefined
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
  const rows = await heldJobs(run, tables, lockIds)
  // A zombie's completion can leave a queue locked by nobody's job.
  await freeQueues(run, tables, heldBy(lockIds))
  const registered = await context.registered(rows.map(({ id }) => id))
  const withOwnRow = new Set([...own.map(({ jobRef }) => jobRef), ...registered])

  const guarded = guards.flatMap(({ orphan, payload }) => {
    const ends = new Map(payload.ended?.map((job) => [job.id, job]))
    return rows
      .filter((row) => isHeld(payload, row) && !withOwnRow.has(row.id))
      .map((row): GraphileJob => {
        const { id, attempts } = row
        const end = ends.get(id)
        const ended = end !== undefined && isEndOf(end, row) ? { end } : {}
        const { lockIds, onExhausted } = payload
        const detail = { lockIds, onExhausted, ...ended }
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
  const { failure, onExhausted } = payload
  const failed = failure === undefined ? {} : { end: { failure } }
  if (payload.kind === 'handOff') {
    // Renamed, when an earlier try of this recovery had added it anew.
    const jobRef = orphan.jobRef ?? payload.job.id
    return { orphan, jobRef, detail: { lockIds, onExhausted, handOff: payload, ...failed } }
  }
  const end = payload.finished ? { end: {} } : failed
  return {
    orphan,
    jobRef: payload.jobId,
    detail: {
      ...{ lockIds, onExhausted, pauseMs: payload.pauseMs },
      ...{ ...end, ...lockTime(orphan, payload, 'end' in end) },
    },
  }
}

/**
 * What an end was written of, or a job that was taken from a living process, that process may have fetched again since.
 * What a dead one holds is taken from it in any case. Of a job that didn't end nobody knows how often its lock was renewed.
 */
function lockTime(
  { cause }: Orphan,
  { lockedAt, renewals }: StartedPayload,
  hasEnded: boolean,
): Pick<JobDetail, 'locked'> {
  if (lockedAt === undefined || (cause === 'crash' && !hasEnded)) return {}
  return { locked: { lockedAt, renewals: hasEnded ? (renewals ?? 0) : Number.POSITIVE_INFINITY } }
}

export const isHeld = (
  { lockIds, locked = {} }: Pick<JobDetail, 'lockIds' | 'locked'>,
  { lockedBy, lockedAt }: Pick<JobRow, 'lockedBy' | 'lockedAt'>,
): boolean => lockedBy !== null && lockIds.includes(lockedBy) && isLockTime(locked, lockedAt)

/** Whether it is this fetch of the job that ended. */
const isEndOf = (end: EndedJob, { attempts, lockedBy, lockedAt, superseded }: JobRow): boolean =>
  end.lockId === lockedBy && (end.attempts === attempts || superseded) && isLockTime(end, lockedAt)
