import { randomUUID } from 'node:crypto'
import type { QueueAdapter } from './adapter.js'
import { show } from './check-options.js'
import { MAX_TIMER } from './clock.js'
import type { PayloadCodec } from './codec.js'
import { ConfigError, PayloadTooLargeError } from './errors.js'
import { findAdapter } from './find-adapter.js'
import { isStorableId } from './identity.js'
import type { RegisterOptions } from './monitor-types.js'
import { serializePayload } from './payload.js'
import type { NewTask } from './store/new-tasks.js'

export interface TaskRules {
  readonly adapters: readonly QueueAdapter[]
  readonly codec: PayloadCodec | undefined
  /** Largest payload in bytes of JSON. */
  readonly maxPayloadBytes: number
  /** Largest stored payload in bytes that the server takes. */
  readonly maxStoredBytes: number
}

/**
 * The row of a task to be registered.
 *
 * @throws ConfigError, PayloadError, PayloadTooLargeError
 */
export function newTask(options: RegisterOptions, rules: TaskRules): NewTask {
  const { id, queue, jobRef, payload, onCrash, onOverdue, maxRuntime, signal } = options
  checkChoice('onCrash', onCrash, ['requeue', 'quarantine'])
  checkChoice('onOverdue', onOverdue, ['report', 'abort', 'recover'])
  const isTime = typeof maxRuntime === 'number' && maxRuntime > 0 && maxRuntime <= MAX_TIMER
  if (maxRuntime !== undefined && !isTime) {
    throw new ConfigError(
      `maxRuntime must be a positive number of milliseconds, at most ${MAX_TIMER}: ${show(maxRuntime)}.`,
    )
  }
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new ConfigError(`signal must be an AbortSignal: ${show(signal)}.`)
  }
  return {
    id: id === undefined ? randomUUID() : checkId('id', id),
    queue: findAdapter(rules.adapters, queue).name,
    jobRef: jobRef === undefined ? null : checkId('jobRef', jobRef),
    payload: storedPayload(payload, rules),
    onCrash: onCrash ?? null,
  }
}

/**
 * A payload as it is stored.
 *
 * @throws PayloadError, PayloadTooLargeError, whatever the codec throws
 */
export function storedPayload(
  payload: unknown,
  { codec, maxPayloadBytes, maxStoredBytes }: Omit<TaskRules, 'adapters'>,
): string {
  const text = serializePayload(payload, maxPayloadBytes)
  const stored = codec === undefined ? text : codec.encode(text)
  const bytes = maxStoredBytes === Number.POSITIVE_INFINITY ? 0 : Buffer.byteLength(stored)
  if (bytes <= maxStoredBytes) return stored
  throw new PayloadTooLargeError(
    `The payload is ${bytes} bytes as stored, more than the server's max_allowed_packet has room for ` +
      `(${maxStoredBytes}). Store the data elsewhere, or raise max_allowed_packet.`,
  )
}

function checkId(name: string, value: unknown): string {
  if (isStorableId(value)) return value
  throw new ConfigError(
    `${name} must be a string of 1 to 191 characters that doesn't end with a space: ${JSON.stringify(value)}`,
  )
}

function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value as string)) return
  throw new ConfigError(`${name} must be ${choices.map((c) => `'${c}'`).join(' or ')}: ${show(value)}.`)
}
