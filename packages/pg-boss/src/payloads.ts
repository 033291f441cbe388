import { createHash } from 'node:crypto'
import type { Orphan } from '@holdfast/core'
import type { ExhaustedPolicy } from './options.js'

/** One time that a job was fetched: these tell it from any other, since pg-boss counts each fetch and notes its time. */
export interface Attempt {
  /** Of the queue. */
  readonly name: string
  readonly id: string
  readonly retryCount: number
  /** The database's text of it. */
  readonly startedOn: string
}

/** Which attempt of its job it is, for `register()`: when it was fetched, by the database's clock in microseconds. */
export function attemptOf({ startedOn }: Attempt): number {
  const [, micros = ''] = /\.\d{3}(\d{1,3})/.exec(startedOn) ?? []
  return Date.parse(startedOn) * 1_000 + Number(micros.padEnd(3, '0'))
}

interface Taken extends Attempt {
  /** As it was for the process that took the job; rows of older versions don't say. */
  readonly onExhausted?: ExhaustedPolicy
  /** The work failed, and recovery is to say so: the job's own retry rules apply. */
  readonly failure?: Failure
}

/** A job whose handler began, and which is active in pg-boss. */
export interface TrackPayload extends Taken {
  readonly kind: 'track'
}

/** A job that is completed in pg-boss, or about to be, while the work goes on here. */
export interface HandOffPayload extends Taken {
  readonly kind: 'handOff'
  /** The JSON text of the job's row as the database wrote it: parsing would round big numbers. */
  readonly job: string
}

/** What a handler threw, as pg-boss's `output` takes it. */
export interface Failure {
  readonly name?: string
  readonly message: string
  readonly stack?: string
}

export type TaskPayload = TrackPayload | HandOffPayload

/** @throws Error when the row was not written by this adapter */
export function payloadOf({ fullId, payload }: Orphan): TaskPayload {
  const kind = (payload as Partial<TaskPayload> | null)?.kind
  if (kind === 'track' || kind === 'handOff') return payload as TaskPayload
  throw new Error(
    `Task ${fullId} was not registered by the pg-boss adapter; does another adapter have the same name?`,
  )
}

/** The longest identity that is kept as it is, in characters. */
const MAX_REF = 191

/** The identity of a job: its id alone may be given in two queues. */
export function jobRefOf({ name, id }: Pick<Attempt, 'name' | 'id'>): string {
  const ref = `${name}/${id}`
  return ref.length <= MAX_REF ? ref : `sha256:${createHash('sha256').update(ref).digest('hex')}`
}

/** Longest texts of a failure that are kept, in characters: of 6 bytes each in JSON at most, they fit what a release may add. */
const MAX = { name: 100, message: 800, stack: 1_600 }

/** As jsonb takes it: no NUL, and no half of a pair of surrogates. */
export const storable = (value: unknown, max = MAX.message): string =>
  Buffer.from(String(value).slice(0, max)).toString().replaceAll('\0', '\ufffd')

/** Anything may be thrown, also what has no text. */
export function failureOf(error: unknown): Failure {
  try {
    const { name, message, stack } = (error ?? {}) as Partial<Error>
    if (typeof message !== 'string') return { message: storable(error) }
    return {
      ...(name === undefined ? {} : { name: storable(name, MAX.name) }),
      message: storable(message),
      ...(stack === undefined ? {} : { stack: storable(stack, MAX.stack) }),
    }
  } catch {
    return { message: 'What was thrown can not be shown.' }
  }
}

/** What `\0` and half of a pair of surrogates are in JSON. */
const NOT_STORABLE = /\\u(0000|d[89a-f]..)/i

/** What a handler threw, where pg-boss can read and write it; else what can be said of it. */
export function writable(error: unknown): unknown {
  try {
    const { name, message, stack } = (error ?? {}) as Partial<Error>
    if (!NOT_STORABLE.test(JSON.stringify([name, message, stack, error]))) return error
  } catch (cause) {
    // It holds itself, or a bigint: pg-boss has its own ways with these.
    if (cause instanceof TypeError) return error
  }
  return Object.assign(new Error(), failureOf(error))
}
