import type { QueueAdapter } from '@holdfast/core'
import type { Boss, BossDatabase, BossJob } from './boss.js'
import { checkHandOffOptions, checkOptions, checkTrackOptions } from './check-options.js'
import { HandOff, type HandOffHandler } from './hand-off.js'
import type { ExhaustedPolicy, HandOffOptions, TrackOptions } from './options.js'
import { ProtectedBoss } from './protected-boss.js'
import { recoverJobs } from './recovery/recover.js'
import type { AnyDatabase } from './run.js'
import { bossTables } from './tables.js'
import { type TrackHandler, track } from './track.js'

export interface PgBossAdapterOptions {
  /** Started before the monitor is. Processes whose adapter has the same name need one each, on the same schema. */
  readonly boss: Boss
  /** The Kysely that the monitor has: on pg-boss's own database. */
  readonly db: AnyDatabase
  /** What is written on every task row, with `@<schema>` behind it for any schema but `pgboss`. @default 'pg-boss' */
  readonly name?: string
  /** pg-boss's schema. @default 'pgboss' */
  readonly schema?: string
  /** What becomes of a job whose process died on its last attempt. @default 'fail' */
  readonly onExhausted?: ExhaustedPolicy
}

export interface PgBossAdapter extends QueueAdapter {
  /**
   * *Track*: wraps a handler, `boss.work(queue, adapter.track(handler))`. Its jobs stay active in pg-boss while it runs,
   * each has a row of its own, and gets `signal` and `task`.
   *
   * @throws ConfigError
   */
  // biome-ignore lint/suspicious/noExplicitAny: as pg-boss's own types have it
  track<Data = any, Result = any, Job extends BossJob<Data> = BossJob<Data>>(
    handler: TrackHandler<Job, Result>,
    options?: TrackOptions,
  ): (jobs: Job[], tx?: BossDatabase) => Promise<Result>
  /**
   * *Hand-off*: pg-boss sees a job as completed once it is registered, while the handler, which gets one job at a time,
   * goes on here, as many as `concurrency` at once. For patient work. A failure is retried by the job's own rules.
   *
   * @throws ConfigError
   */
  // biome-ignore lint/suspicious/noExplicitAny: as pg-boss's own types have it
  handOff<Data = any, Job extends BossJob<Data> = BossJob<Data>>(
    handler: HandOffHandler<Job>,
    options: HandOffOptions,
  ): (jobs: Job[]) => Promise<void>
}

/**
 * Connects pg-boss 10.4 and 12.
 *
 * @throws ConfigError naming every wrong option
 */
export function pgBossAdapter(options: PgBossAdapterOptions): PgBossAdapter {
  const { boss, db, name, schema, onExhausted } = checkOptions(options)
  const tables = bossTables(schema)
  const protectedBoss = new ProtectedBoss({ boss, db, tables, name, onExhausted })
  return Object.freeze<PgBossAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: true, preservesJobId: true, delay: true }),
    recover: (jobs, context) =>
      recoverJobs({ boss, tables, onExhausted, schema: protectedBoss.schema }, jobs, context),
    onStart: (monitor) => protectedBoss.start(monitor),
    onStop: () => protectedBoss.stop(),
    track(handler, trackOptions = {}) {
      checkTrackOptions(trackOptions)
      return async (jobs, tx) =>
        protectedBoss.hasGiven(jobs)
          ? handler(jobs as never, tx as never)
          : track(protectedBoss, handler, trackOptions, jobs, tx)
    },
    handOff(handler, handOffOptions) {
      checkHandOffOptions(handOffOptions)
      const handOff = new HandOff(protectedBoss, handler, handOffOptions)
      return (jobs) => (protectedBoss.hasGiven(jobs) ? handOff.within(jobs as never) : handOff.begin(jobs))
    },
  })
}
