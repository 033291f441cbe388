import { createHash } from 'node:crypto'
import type { WorkerOptions } from 'bullmq'
import type { WorkerInternals } from './bullmq.js'

/** What its worker's options say of failed jobs: which are kept, and how many are counted in metrics. */
export type FailureSettings = Pick<WorkerOptions, 'removeOnFail' | 'metrics'>

export const failureSettings = ({ opts: { removeOnFail, metrics } }: WorkerInternals): FailureSettings => ({
  ...(removeOnFail === undefined ? {} : { removeOnFail }),
  ...(metrics === undefined ? {} : { metrics }),
})

/** What a task row holds of a job. */
export interface JobPayload {
  readonly kind: 'track' | 'handOff'
  /** The prefix of the queue's keys. */
  readonly keys: string
  readonly id: string
  readonly timestamp: number
  /** Of this fetch, the value of the job's lock. */
  readonly token: string
  /** How often the job had been fetched, this time included. Taken back, it knows more of that: `scripts/take.ts`. */
  readonly starts: number
  /** Which Redis it was begun on. */
  readonly server: string
  /** The job's hash in Redis, from before its processor began: name, data, all options, attempts, progress, parent. */
  readonly fields: Readonly<Record<string, string>>
  /** Rows of before have none. */
  readonly settings?: FailureSettings
}

/** What a task row holds that stands for all jobs of a worker. */
export interface GuardPayload {
  readonly kind: 'guard'
  readonly keys: string
  readonly workerId: string
  readonly settings?: FailureSettings
}

/** A run that is over, as recovery sees it. */
export type EndedRun = Omit<JobPayload, 'kind'> & { readonly kind: JobPayload['kind'] | 'guard' }

/** The longest identity that is kept as it is, in characters. */
const MAX_REF = 191

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

/**
 * The identity of a job: BullMQ gives ids again when Redis has lost its data, and queues share Redis, so the timestamp
 * and the prefix of its keys belong to it.
 */
export function jobRefOf({ keys, id, timestamp }: Pick<JobPayload, 'keys' | 'id' | 'timestamp'>): string {
  const ref = `${keys}${id}@${timestamp}`
  return ref.length <= MAX_REF && !ref.includes('\0') ? ref : `sha256:${digest(ref)}`
}

/** The id in such an identity, where that has it as it is. */
export function idIn(jobRef: string | null, keys: string): string | undefined {
  if (jobRef === null || !jobRef.startsWith(keys)) return undefined
  return jobRef.slice(keys.length, jobRef.lastIndexOf('@'))
}

/** The id that a job gets when another has its own. */
export const otherId = (id: string, recoveryId: string): string => `${id}~${digest(recoveryId).slice(0, 12)}`

/** The token under which one recovery holds a job: the same when it is repeated. */
export const recoveryToken = (recoveryId: string): string => `holdfast:${digest(recoveryId).slice(0, 32)}`
