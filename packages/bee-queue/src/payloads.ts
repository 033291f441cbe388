import { createHash } from 'node:crypto'
import type { BeeJobInternals, BeeQueueInternals } from './bee-queue.js'

/** bee-queue's own: whether a failure is told, and whether the job is removed. */
export interface FailureSettings {
  readonly sendEvents: boolean
  readonly removeOnFailure: boolean
}

export const failureSettings = ({ settings }: BeeQueueInternals): FailureSettings => ({
  sendEvents: Boolean(settings.sendEvents),
  removeOnFailure: Boolean(settings.removeOnFailure),
})

/** What a task row holds of a job. */
export interface JobPayload {
  readonly kind: 'track' | 'handOff'
  /** Of the queue's keys. */
  readonly prefix: string
  readonly id: string
  readonly timestamp: number
  /** Of the process that has begun it. */
  readonly token: string
  /** Which Redis it was begun on. */
  readonly server: string
  /** bee-queue's own text of the job, from before its handler began. */
  readonly job: string
  /** What its queue's settings say of failed jobs there. Rows of before go by those of whoever recovers. */
  readonly settings?: FailureSettings
}

/** What parts the id that a job gets when another has its own from that. */
export const otherId = (id: string, recoveryId: string): string =>
  `${id}~${createHash('sha256').update(recoveryId).digest('hex').slice(0, 12)}`

/** The longest identity that is kept as it is, in characters. */
const MAX_REF = 191

/**
 * The identity of a job: bee-queue gives ids again when Redis has lost its data, and queues share Redis, so the
 * timestamp and the prefix of its keys belong to it.
 */
export function jobRefOf({ prefix, id, timestamp }: Pick<JobPayload, 'prefix' | 'id' | 'timestamp'>): string {
  const ref = `${prefix}${id}@${timestamp}`
  if (ref.length <= MAX_REF && !ref.includes('\0')) return ref
  return `sha256:${createHash('sha256').update(ref).digest('hex')}`
}

export const timestampOf = (job: BeeJobInternals): number => Number(job.options.timestamp)

/** The text of a job as Redis had it, if that is the job which bee-queue read; else as bee-queue would write it. */
export function textOf(job: BeeJobInternals, stored: unknown): string {
  if (typeof stored !== 'string') return job.toData()
  const { options } = JSON.parse(stored) as { options?: { timestamp?: unknown } }
  return Number(options?.timestamp) === timestampOf(job) ? stored : job.toData()
}
