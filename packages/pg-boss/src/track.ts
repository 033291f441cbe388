import { LeaseExpiredError, TaskLostError, TaskOverdueError } from '@holdfast/core'
import type { BossDatabase, BossJob } from './boss.js'
import { begin, type Delivery } from './delivery.js'
import { letGo } from './let-go.js'
import type { TrackOptions } from './options.js'
import { OwnRow } from './own-row.js'
import { perJobEnds } from './per-job-ends.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { type Ended, settle } from './settle.js'
import { runInBoss } from './through-boss.js'
import { type TrackedJob, trackedJob } from './tracked-job.js'

/** @param tx given by a worker of pg-boss 12 that is `transactional` */
export type TrackHandler<Job extends BossJob, Result> = (
  jobs: TrackedJob<Job>[],
  tx: BossDatabase,
) => Promise<Result> | Result

type Outcome<Result> = { readonly result: Result } | { readonly error: unknown }

/** Runs a handler on jobs that stay active in pg-boss meanwhile. */
export async function track<Job extends BossJob, Result>(
  protectedBoss: ProtectedBoss,
  handler: TrackHandler<Job, Result>,
  { perJobResults, ...rows }: TrackOptions,
  jobs: readonly Job[],
  tx?: BossDatabase,
): Promise<Result> {
  const running = await protectedBoss.running(jobs[0]!.name)
  const beginnings = await begin(protectedBoss, running, jobs, {
    rows,
    payloadOf: ({ job: _, ...attempt }) => ({ kind: 'track', ...attempt }),
  })
  const deliveries = beginnings.filter((beginning) => beginning.kind === 'begun')
  const refused = beginnings.filter((beginning) => beginning.kind === 'refused')
  const lost: BossJob[] = beginnings.flatMap((beginning) =>
    beginning.kind === 'lost' ? [beginning.job] : [],
  )
  if (tx !== undefined) {
    if (deliveries.length === jobs.length) return runInBoss(handler as never, deliveries, tx)
    await Promise.all(deliveries.map(({ row }) => row.complete()))
    throw refused[0]?.error ?? lostError(lost)
  }
  const ended: Ended[] = refused.map(({ job, active, error }) => ({
    job,
    active,
    end: { kind: 'failed', error },
  }))
  const owned = deliveries.map((delivery) => ({
    ...delivery,
    own: new OwnRow(protectedBoss, running, delivery),
  }))
  const outcome =
    owned.length === 0
      ? undefined
      : await run(() =>
          handler(
            owned.map(({ job, own }) => trackedJob(job, own.handle)),
            undefined as never,
          ),
        )
  const left = owned.filter(({ own }) => !own.completed)
  if (outcome !== undefined && 'error' in outcome) {
    const end = { kind: 'failed', error: outcome.error } as const
    for (const delivery of left) {
      if (await isCutShort(delivery)) lost.push(delivery.job)
      else ended.push({ ...delivery, end })
    }
  } else if (outcome !== undefined) {
    const { result } = outcome
    const end = { kind: 'completed', output: jobs.length === 1 ? result : undefined } as const
    const ends = perJobResults ? perJobEnds(jobs, result) : undefined
    for (const delivery of left) ended.push({ ...delivery, end: ends?.get(delivery.job.id) ?? end })
  }
  lost.push(...(await settle(protectedBoss, running, ended)))
  return tell(protectedBoss, running, outcome, lost)
}

async function run<Result>(handler: () => Promise<Result> | Result): Promise<Outcome<Result>> {
  try {
    return { result: await handler() }
  } catch (error) {
    return { error }
  }
}

/** A handler that was told to end, and threw, has not failed: its job goes on elsewhere. */
async function isCutShort({ row }: Delivery): Promise<boolean> {
  const { aborted, reason } = row.signal
  if (!aborted || TaskOverdueError.is(reason)) return false
  if (row.open && LeaseExpiredError.is(reason)) {
    await row.release().catch((error) => {
      if (!TaskLostError.is(error)) throw error
    })
  }
  return true
}

/** Tells pg-boss what is written already. A failure is told to 12 alone: 10 would write it by id, of whoever has the job. */
async function tell<Result>(
  protectedBoss: ProtectedBoss,
  running: Running,
  outcome: Outcome<Result> | undefined,
  lost: readonly BossJob[],
): Promise<Result> {
  await letGo(protectedBoss, running, lost)
  if (!running.schema.fences) return undefined as never
  if (outcome !== undefined && 'error' in outcome) throw outcome.error
  if (lost.length > 0) throw lostError(lost)
  return outcome?.result as Result
}

const lostError = (jobs: readonly BossJob[]): TaskLostError =>
  new TaskLostError(
    `No longer this worker's, so that nothing of what they did counts: ${jobs.map(({ id }) => id).join(', ')}.`,
  )
