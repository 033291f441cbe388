import { randomUUID } from 'node:crypto'
import type { QueueAdapter } from '../adapter.js'
import { show } from '../check-options.js'
import { MAX_TIMER } from '../clock.js'
import type { PayloadCodec } from '../codec.js'
import { ConfigError, PayloadError, PayloadTooLargeError } from '../errors.js'
import { findAdapter } from '../find-adapter.js'
import { isStorableId, isStorableText, STORABLE_ID } from '../identity.js'
import type { RegisterOptions } from '../monitor-types.js'
import type { MonitorConfig } from '../options.js'
import type { NewTask } from '../store/new-tasks.js'
import { serializePayload } from './payload.js'

export interface PayloadRules {
  readonly codec: PayloadCodec | undefined
  /** Largest payload in bytes of JSON. */
  readonly maxPayloadBytes: number
  /** Largest stored payload in bytes that the server takes. */
  readonly maxStoredBytes: number
}

/** What a task is, apart from its registration and payload. */
export type TaskIdentity = Omit<NewTask, 'nonce' | 'payload'>

/**
 * What a task to be registered is; its crash policy is its own or, by name, its monitor's: whoever recovers it may have
 * another.
 *
 * @throws ConfigError
 */
export function taskIdentity(
  options: RegisterOptions,
  adapters: readonly QueueAdapter[],
  config: Pick<MonitorConfig, 'onCrash'>,
): TaskIdentity {
  const { id, queue, jobRef, attempt = 0, onCrash, onOverdue, maxRuntime, signal } = options
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
  if (!Number.isSafeInteger(attempt) || attempt < 0) {
    throw new ConfigError(`attempt must be a whole number from 0 to 2^53 - 1: ${show(attempt)}.`)
  }
  return {
    attempt,
    id: id === undefined ? randomUUID() : checkId('id', id),
    queue: findAdapter(adapters, queue).name,
    jobRef: jobRef === undefined ? null : checkId('jobRef', jobRef),
    onCrash: onCrash ?? (typeof config.onCrash === 'string' ? config.onCrash : null),
  }
}

/**
 * A payload as it is stored.
 *
 * @throws PayloadError, PayloadTooLargeError, whatever the codec throws
 */
export function storedPayload(
  payload: unknown,
  { codec, maxPayloadBytes, maxStoredBytes }: PayloadRules,
): string {
  const text = serializePayload(payload, maxPayloadBytes)
  const stored = codec === undefined ? text : codec.encode(text)
  if (codec !== undefined && !isStorableText(stored)) {
    throw new PayloadError(
      'The codec encoded the payload to a text that databases store as another (a NUL or half a character).',
    )
  }
  const bytes = maxStoredBytes === Number.POSITIVE_INFINITY ? 0 : Buffer.byteLength(stored)
  if (bytes <= maxStoredBytes) return stored
  throw new PayloadTooLargeError(
    `The payload is ${bytes} bytes as stored, more than the server's max_allowed_packet has room for ` +
      `(${maxStoredBytes}). Store the data elsewhere, or raise max_allowed_packet.`,
  )
}

function checkId(name: string, value: unknown): string {
  if (isStorableId(value)) return value
  throw new ConfigError(`${name} must be ${STORABLE_ID}: ${show(value)}`)
}

function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value as string)) return
  throw new ConfigError(`${name} must be ${choices.map((c) => `'${c}'`).join(' or ')}: ${show(value)}.`)
}
