import type { Orphan, OrphanedJob, RecoveryContext } from '@holdfast/core'
import { type QueueInternals, runScript } from './bullmq.js'
import { type EndedRun, type GuardPayload, idIn, type JobPayload, jobRefOf } from './payloads.js'
import { queueOf } from './recover.js'
import { HELD } from './scripts/held.js'

type Held = readonly [id: string, timestamp: string, token: string, starts: string]

/** A guard row stands for what its worker has locked, but for jobs that have a row of their own. */
export async function expandOrphans(
  queues: readonly QueueInternals[],
  orphans: readonly Orphan[],
  context: RecoveryContext,
): Promise<OrphanedJob[]> {
  const expanded = await Promise.all(
    orphans.map(async (orphan): Promise<readonly OrphanedJob[]> => {
      const payload = orphan.payload as JobPayload | GuardPayload
      const { keys } = payload
      const id = idIn(orphan.jobRef, keys)
      if (payload.kind !== 'guard') {
        // Under another id, when an earlier recovery had to give it one.
        return [{ orphan, jobRef: orphan.jobRef, detail: { ...payload, id: id ?? payload.id } }]
      }
      if (orphan.cause === 'retry') return [retried(orphan, keys, id)]
      const { workerId, settings } = payload
      const [server, held] = (await runScript(queueOf(queues, keys), HELD, workerId)) as [string, Held[]]
      return held.map(([id, timestamp, token, starts]) => {
        const job = {
          keys,
          id,
          timestamp: Number(timestamp),
          token,
          starts: Number(starts),
          server,
          fields: {},
        }
        const detail: EndedRun = { kind: 'guard', ...job, ...(settings && { settings }) }
        return { orphan, jobRef: jobRefOf(job), detail }
      })
    }),
  )
  const isOwn = ({ detail }: OrphanedJob): boolean => (detail as EndedRun).kind !== 'guard'
  const jobs = expanded.flat()
  const guarded = jobs.filter((job) => !isOwn(job)).map(({ jobRef }) => jobRef!)
  if (guarded.length === 0) return jobs
  const registered = await context.registered(guarded)
  return jobs.filter((job) => isOwn(job) || !registered.has(job.jobRef!))
}

/** The one job that was quarantined of a guard row's. */
function retried(orphan: Orphan, keys: string, id: string | undefined): OrphanedJob {
  const { jobRef } = orphan
  if (jobRef === null || id === undefined) {
    throw new Error(
      `The id of job ${JSON.stringify(jobRef)} is too long to be told from it: retry it in BullMQ.`,
    )
  }
  const timestamp = Number(jobRef.slice(jobRef.lastIndexOf('@') + 1))
  const detail: EndedRun = {
    kind: 'guard',
    keys,
    id,
    timestamp,
    token: '',
    starts: 0,
    server: '',
    fields: {},
  }
  return { orphan, jobRef, detail }
}
