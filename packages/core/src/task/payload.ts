import type { PayloadCodec } from '../codec.js'
import { PayloadError, PayloadTooLargeError } from '../errors.js'

/**
 * The payload as JSON text that parses back to an equal value. What JSON would drop, round or change is refused with
 * its path rather than stored differently.
 *
 * @throws PayloadError, PayloadTooLargeError (size in bytes of UTF-8)
 */
export function serializePayload(payload: unknown, maxBytes: number): string {
  check(payload, 'payload', new Set())
  const text = JSON.stringify(payload)
  const bytes = Buffer.byteLength(text)
  if (bytes > maxBytes) {
    throw new PayloadTooLargeError(
      `The payload is ${bytes} bytes as JSON, more than maxPayloadBytes (${maxBytes}). ` +
        'Store the data elsewhere and put a reference into the payload, or raise maxPayloadBytes.',
    )
  }
  return text
}

/** @throws whatever the codec throws, PayloadError when the text is not JSON */
export function readPayload(stored: string, codec: PayloadCodec | undefined): unknown {
  return parsePayload(codec === undefined ? stored : codec.decode(stored))
}

/** @throws PayloadError when the stored text is not JSON. */
export function parsePayload(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PayloadError(`The stored payload is not JSON: ${quote(text.slice(0, 80))}`, { cause })
  }
}

function check(value: unknown, path: string, above: Set<object>): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return
    case 'number':
      if (!Number.isFinite(value) || Object.is(value, -0)) {
        throw refuse(path, Object.is(value, -0) ? '-0' : String(value), 'JSON has no such number')
      }
      return
    case 'object':
      if (value !== null) checkObject(value, path, above)
      return
    case 'undefined':
      throw refuse(path, 'undefined', 'leave it out or use null')
    default:
      throw refuse(path, `a ${typeof value}`, 'JSON has no such type')
  }
}

function checkObject(value: object, path: string, above: Set<object>): void {
  if (above.has(value)) throw refuse(path, 'circular', 'JSON has no references')
  const isArray = Array.isArray(value)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (!isArray && prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    const type = value.constructor?.name ?? 'class instance'
    throw refuse(path, `a ${type}`, 'it would not come back as one; convert it to plain JSON first')
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    throw refuse(path, 'an object with toJSON', 'it would be stored as something else')
  }
  if (Object.getOwnPropertySymbols(value).length > 0)
    throw refuse(path, 'an object with symbols as keys', 'JSON has none')
  if (isArray && Object.keys(value).length > value.length) {
    throw refuse(path, 'an array with other keys than numbers', 'JSON would drop them')
  }
  above.add(value)
  // Object.keys skips the holes of a sparse array, which JSON turns into null.
  const entries = isArray ? Array.from(value, (item, index) => [index, item] as const) : Object.entries(value)
  for (const [key, item] of entries) check(item, isArray ? `${path}[${key}]` : `${path}.${key}`, above)
  above.delete(value)
}

function refuse(path: string, what: string, why: string): PayloadError {
  return new PayloadError(`${path} is ${what} and can't be stored: ${why}.`)
}

const quote = (text: string): string => JSON.stringify(text)
