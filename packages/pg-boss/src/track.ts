import type { BossDatabase, BossJob } from './boss.js'
import { type Beginning, begin, type Delivery } from './delivery.js'
import { letGo, lostError } from './let-go.js'
import type { TrackOptions } from './options.js'
import { isCutShort, type Outcome, outcomeOf, tellAfterEnd } from './outcome.js'
import { OwnRow } from './own-row.js'
import { perJobEnds } from './per-job-ends.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { rounds } from './rounds.js'
import { type Ended, type NotEnded, settle } from './settle.js'
import { runInBoss } from './through-boss.js'
import { type TrackedJob, trackedJob } from './tracked-job.js'

/** @param tx given by a worker of pg-boss 12 that is `transactional` */
export type TrackHandler<Job extends BossJob, Result> = (
  jobs: TrackedJob<Job>[],
  tx: BossDatabase,
) => Promise<Result> | Result

/** Runs a handler on jobs that stay active in pg-boss meanwhile. */
export async function track<Job extends BossJob, Result>(
  protectedBoss: ProtectedBoss,
  handler: TrackHandler<Job, Result>,
  { perJobResults = false, ...rows }: TrackOptions,
  jobs: readonly Job[],
  tx?: BossDatabase,
): Promise<Result> {
  const running = await protectedBoss.running(jobs[0]!.name)
  const beginnings = await begin(protectedBoss, running, jobs, {
    rows,
    payloadOf: ({ job: _, ...attempt }) => ({ kind: 'track', ...attempt }),
  })
  if (tx !== undefined) return runInBoss(protectedBoss, running, handler as never, beginnings, tx)
  const outcomes: (Outcome | undefined)[] = []
  const lost: BossJob[] = []
  const endedBefore: BossJob[] = []
  const failed: BossJob[] = []
  for await (const round of rounds(beginnings)) {
    const done = await work(protectedBoss, running, handler, round, {
      perJobResults,
      alone: jobs.length === 1,
    })
    outcomes.push(done.outcome)
    lost.push(...done.lost)
    endedBefore.push(...done.endedBefore)
    failed.push(...done.failed)
  }
  // 10 completes all of them, by id: not one that has failed and runs again by now.
  if (!running.schema.fences) await letGo(protectedBoss, running, failed)
  return tell(protectedBoss, running, outcomes, { lost, endedBefore })
}

interface Done extends NotEnded {
  readonly outcome: Outcome | undefined
  /** By their own retry rules they may run again any moment. */
  readonly failed: BossJob[]
}

/** Runs the handler on jobs that begin together, and ends them. */
async function work<Job extends BossJob, Result>(
  protectedBoss: ProtectedBoss,
  running: Running,
  handler: TrackHandler<Job, Result>,
  beginnings: readonly Beginning<Job>[],
  { perJobResults, alone }: { readonly perJobResults: boolean; readonly alone: boolean },
): Promise<Done> {
  const lost: BossJob[] = []
  const ended: Ended[] = []
  const owned: (Delivery<Job> & { readonly own: OwnRow })[] = []
  for (const beginning of beginnings) {
    const { kind, job } = beginning
    if (kind === 'lost') lost.push(job)
    else if (kind === 'refused') {
      ended.push({ job, active: beginning.active, end: { kind: 'failed', error: beginning.error } })
    } else owned.push({ ...beginning, own: new OwnRow(protectedBoss, running, beginning) })
  }
  const tracked = owned.map(({ job, own }) => trackedJob(job, own.handle))
  const outcome =
    tracked.length === 0 ? undefined : await outcomeOf(() => handler(tracked, undefined as never), owned)
  const notEnded: NotEnded[] = [await settle(protectedBoss, running, ended)]
  const failed: BossJob[] = []
  // One whose transaction is open still must not keep the others' ends.
  const decided = owned.map(async (delivery) => ({ delivery, became: await delivery.own.settle() }))
  for await (const round of rounds(decided)) {
    const left = round.flatMap(({ delivery, became }) => (became === 'open' ? [delivery] : []))
    const gone = round.filter(({ became }) => became === 'lost' || became === 'released')
    lost.push(...gone.map(({ delivery }) => delivery.job))
    const ends = await endsOf(left)
    failed.push(...ends.filter(({ end }) => end.kind === 'failed').map(({ job }) => job))
    const settled = await settle(protectedBoss, running, ends)
    notEnded.push(settled)
    if (outcome !== undefined && 'error' in outcome) {
      for (const { delivery, became } of round)
        if (became === 'completed' || became === 'released')
          tellAfterEnd(protectedBoss, delivery.job, became, outcome.error)
      for (const job of settled.endedBefore) tellAfterEnd(protectedBoss, job, 'completed', outcome.error)
    }
  }
  return {
    ...{ outcome, failed },
    lost: [...lost, ...notEnded.flatMap(({ lost }) => lost)],
    endedBefore: notEnded.flatMap(({ endedBefore }) => endedBefore),
  }

  async function endsOf(left: readonly (typeof owned)[number][]): Promise<Ended[]> {
    if (outcome === undefined) return []
    if ('error' in outcome) {
      const end = { kind: 'failed', error: outcome.error } as const
      const ends: Ended[] = []
      for (const delivery of left) {
        if (await isCutShort(protectedBoss, delivery)) lost.push(delivery.job)
        else ends.push({ ...delivery, end })
      }
      return ends
    }
    const { result } = outcome
    const end = { kind: 'completed', output: alone ? result : undefined } as const
    const ends = perJobResults ? perJobEnds(tracked, result) : undefined
    return left.map((delivery) => ({ ...delivery, end: ends?.get(delivery.job.id) ?? end }))
  }
}

/** Tells pg-boss what is written already. A failure is told to 12 alone: 10 would write it by id, of whoever has the job. */
async function tell<Result>(
  protectedBoss: ProtectedBoss,
  running: Running,
  outcomes: readonly (Outcome | undefined)[],
  { lost, endedBefore }: NotEnded,
): Promise<Result> {
  await letGo(protectedBoss, running, [...lost, ...endedBefore])
  if (!running.schema.fences) return undefined as never
  const results: unknown[] = []
  for (const outcome of outcomes) {
    if (outcome === undefined) continue
    if ('error' in outcome) throw outcome.error
    results.push(outcome.result)
  }
  if (lost.length > 0) throw lostError(lost)
  // What a batch answers that began in parts, pg-boss only looks through: it is written.
  return (results.length > 1 ? results.flat() : results[0]) as Result
}
