import { inspect } from 'node:util'
import type { Decision, Orphan, OrphanedJob } from '../adapter.js'
import { jittered } from '../clock.js'
import { ConfigError } from '../errors.js'

/** What becomes of a job that crashed, by name or in full. */
export type CrashDecision = 'requeue' | 'quarantine' | Decision

/**
 * What becomes of a job that was in flight in a dying process: by name, or decided case by case. `orphan.jobRef` is the
 * job's; `crashes` counts this crash. Asked only while the job is within `maxRecoveries`. When it throws, the task is
 * kept and asked for again later.
 */
export type CrashPolicy =
  | 'requeue'
  | 'quarantine'
  | ((orphan: Orphan, crashes: number) => CrashDecision | Promise<CrashDecision>)

/** Whether this recovery counts as a crash of the job. */
export const isCrash = ({ orphan, started }: OrphanedJob): boolean =>
  (orphan.cause === 'crash' || orphan.cause === 'overdue') && started !== false

/** Longest pause before a job that keeps crashing runs again, in ms. */
export const MAX_BACKOFF = 60_000

export interface DecideConfig {
  readonly maxRecoveries: number
  readonly recoveryBackoff: number
  readonly onCrash: CrashPolicy
}

/**
 * What becomes of a job after its `crashes`-th crash. Over the cap it never runs again by itself; within it, the task's
 * own policy counts before the monitor's. A job that runs again does so at once after its first crash, since most were
 * only in bad company; later with a growing pause, so that a killer can't take the fleet down in a row.
 */
export async function decide(job: OrphanedJob, crashes: number, config: DecideConfig): Promise<Decision> {
  if (!isCrash(job)) return { kind: 'requeue' }
  const { maxRecoveries, recoveryBackoff } = config
  if (crashes > maxRecoveries) {
    return {
      kind: 'quarantine',
      reason: `in flight in ${crashes} dying processes, more than maxRecoveries (${maxRecoveries}) allows`,
    }
  }
  const policy = job.orphan.onCrash ?? config.onCrash
  const answer =
    typeof policy === 'function' ? await policy({ ...job.orphan, jobRef: job.jobRef }, crashes) : policy
  const decision = typeof answer === 'string' ? named(answer) : answer
  check(decision)
  if (decision.kind === 'quarantine') return { kind: 'quarantine', reason: decision.reason }
  if (decision.notBefore !== undefined) return { kind: 'requeue', notBefore: decision.notBefore }
  if (crashes <= 1) return { kind: 'requeue' }
  const pause = Math.min(MAX_BACKOFF, recoveryBackoff * 2 ** (crashes - 1))
  return { kind: 'requeue', notBefore: Math.round(jittered(pause)), backoff: true }
}

function named(name: string): Decision {
  if (name === 'quarantine') return { kind: 'quarantine', reason: "its crash policy is 'quarantine'" }
  return { kind: name as 'requeue' }
}

/** A year: far more, and a database's clock can't count so far. */
const MAX_PAUSE = 365 * 24 * 3_600_000

const isPause = (ms: unknown): boolean => typeof ms === 'number' && ms >= 0 && ms <= MAX_PAUSE

function check(decision: unknown): asserts decision is Decision {
  const { kind, reason, notBefore } = (decision ?? {}) as Partial<Record<string, unknown>>
  if (kind === 'quarantine' && typeof reason === 'string' && reason !== '') return
  if (kind === 'requeue' && (notBefore === undefined || isPause(notBefore))) return
  throw new ConfigError(
    `onCrash must answer 'requeue', 'quarantine', { kind: 'requeue', notBefore?: ms } (up to a year) or ` +
      `{ kind: 'quarantine', reason }: ${inspect(decision)}.`,
  )
}
