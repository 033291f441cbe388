import {
  ConfigError,
  JobTakenError,
  PayloadError,
  PayloadTooLargeError,
  type RegisterOptions,
  type TaskHandle,
} from '@holdfast/core'
import type { BossJob } from './boss.js'
import { MAX_RUNTIME } from './check-options.js'
import { giveBack } from './give-back.js'
import { type ActiveJob, activeJobs, presentJobs } from './job-sql.js'
import { patiently } from './patiently.js'
import { attemptOf, jobRefOf, type TaskPayload } from './payloads.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { inDatabase } from './run.js'

/** A job that pg-boss gave to this process, with a row of its own. */
export interface Delivery<Job extends BossJob = BossJob> {
  readonly kind: 'begun'
  readonly job: Job
  readonly active: ActiveJob
  readonly stored: TaskPayload
  readonly row: TaskHandle
}

/** What became of a job before its handler could begin. */
export type Beginning<Job extends BossJob = BossJob> =
  | Delivery<Job>
  /** It can't be protected, and that is its own fault. */
  | { readonly kind: 'refused'; readonly job: Job; readonly active: ActiveJob; readonly error: unknown }
  /** Not this process's any more: pg-boss must write no end of it. */
  | { readonly kind: 'lost'; readonly job: Job }

export type RowOptions = Pick<RegisterOptions, 'onCrash' | 'maxRuntime' | 'onOverdue'>

/** Milliseconds until pg-boss gives a job up. */
export const expiryOf = ({ expireInSeconds }: BossJob): number =>
  Math.min(Math.max(1, Number(expireInSeconds)) * 1_000, MAX_RUNTIME)

export interface BeginOptions {
  payloadOf(active: ActiveJob): TaskPayload
  readonly rows: RowOptions
}

/**
 * Registers jobs that pg-boss has delivered together, so that their handler may begin. Each by itself: one that kills its
 * processes waits until it has this one to itself, which the others must not wait for.
 */
export async function begin<Job extends BossJob>(
  protectedBoss: ProtectedBoss,
  running: Running,
  jobs: readonly Job[],
  options: BeginOptions,
): Promise<Promise<Beginning<Job>>[]> {
  const { db, tables } = protectedBoss.parts
  const { name } = jobs[0]!
  const patience = Math.max(...jobs.map(expiryOf))
  const ids = jobs.map(({ id }) => id)
  const found = await patiently(() => activeJobs(inDatabase(db), tables, name, ids), patience)
  if (running.closing.aborted) {
    await protectedBoss.leave(name)
    await giveBack(protectedBoss, running, found)
    return jobs.map(async (job): Promise<Beginning<Job>> => ({ kind: 'lost', job }))
  }
  if (found.length === 0) await checkTable(protectedBoss, name, ids)
  const activeOf = new Map(found.map((active) => [active.id, active]))
  return jobs.map(async (job): Promise<Beginning<Job>> => {
    const active = activeOf.get(job.id)
    const isOurs = active !== undefined && (job.retryCount ?? active.retryCount) === active.retryCount
    return isOurs ? register(protectedBoss, running, { job, active }, options) : { kind: 'lost', job }
  })
}

/** @throws ConfigError when there are no such jobs: pg-boss 10 would take them for completed */
async function checkTable({ parts }: ProtectedBoss, name: string, ids: readonly string[]): Promise<void> {
  const { db, tables } = parts
  if ((await presentJobs(inDatabase(db), tables, name, ids)).length > 0) return
  throw new ConfigError(
    `There is no job ${ids.join(', ')} of queue ${JSON.stringify(name)} in ${tables.jobName}: it was deleted, or pg-boss has ` +
      'another schema than the adapter. Give both the same: `pgBossAdapter({ schema })`.',
  )
}

/** Never rejects. */
async function register<Job extends BossJob>(
  protectedBoss: ProtectedBoss,
  running: Running,
  { job, active }: { readonly job: Job; readonly active: ActiveJob },
  { payloadOf, rows }: BeginOptions,
): Promise<Beginning<Job>> {
  const { monitor, closing } = running
  const stored = { ...payloadOf(active), onExhausted: protectedBoss.parts.onExhausted }
  const registration = {
    ...{ maxRuntime: expiryOf(job), ...rows },
    ...{ queue: protectedBoss.parts.name, payload: stored, signal: closing },
    ...{ jobRef: jobRefOf(active), attempt: attemptOf(active) },
  }
  try {
    const row = await patiently(() => monitor.register(registration), expiryOf(job), closing)
    return { kind: 'begun', job, active, stored, row }
  } catch (error) {
    if (PayloadError.is(error) || PayloadTooLargeError.is(error))
      return { kind: 'refused', job, active, error }
    // Fetched before by somebody who came late: the attempt that is active is that of another.
    if (JobTakenError.is(error)) return { kind: 'lost', job }
    if (!closing.aborted) protectedBoss.report(error)
    // Where that fails too, it is pg-boss's to expire.
    await giveBack(protectedBoss, running, [active]).catch(protectedBoss.report)
    return { kind: 'lost', job }
  }
}
