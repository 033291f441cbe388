import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { types } from 'node:util'
import { configError } from './check-options.js'
import { PayloadError } from './errors.js'

/** Turns the JSON text of a payload into the text the database keeps, and back. Both ways are synchronous. */
export interface PayloadCodec {
  /** `text` is the payload as JSON. `decode` of the result must return exactly `text`. */
  encode(text: string): string
  /** @throws PayloadError when `stored` can't be turned back */
  decode(stored: string): string
}

/** A key of `aesGcmCodec`. */
export interface AesKey {
  /** Stored in the clear beside every payload, to find the key again. Matches /^[A-Za-z0-9_.-]{1,64}$/. */
  readonly id: string
  /** 32 random bytes, or the base64 of them (`openssl rand -base64 32`). Copied: later changes have no effect. */
  readonly key: Uint8Array | string
}

/**
 * Encrypts payloads with AES-256-GCM and a random IV each. The first key encrypts, every key decrypts.
 *
 * To rotate without a payload any process can't read: append the new key everywhere, then put it first everywhere, and
 * drop the old one once nothing stored (quarantine included) names its id. Rotate before a key has encrypted 2³²
 * payloads, as random IVs may repeat beyond that.
 *
 * Stored is ASCII: `hf1:<key id>:<base64url of IV, ciphertext, tag>`, 4/3 the size of the payload's UTF-8 plus at most
 * 108 bytes. A text without the marker is decoded to itself, so that encryption can be switched on over a table in
 * use. Hence whoever can write to the table can still put a payload in the clear there, or an encrypted one in another
 * task's place; they can't read one, nor alter its contents unnoticed.
 *
 * @throws ConfigError naming every wrong key, never by its bytes
 */
export function aesGcmCodec(options: { readonly keys: readonly AesKey[] }): PayloadCodec {
  const keys = readKeys(options)
  const [[firstId, firstKey]] = [...keys] as [[string, KeyObject]]
  return Object.freeze<PayloadCodec>({
    encode: (text) => encrypt(text, firstId, firstKey),
    decode: (stored) => decrypt(stored, keys),
  })
}

const ALGORITHM = 'aes-256-gcm'
const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
const ID = /^[A-Za-z0-9_.-]{1,64}$/
/** No JSON begins with an h, so nothing stored before encryption was switched on is mistaken for encrypted. */
const MARKER = /^hf(\d+):/
const VERSION = '1'

/** Also what is authenticated beside the ciphertext: a payload can't be passed off as another key's or version's. */
const headerOf = (id: string): string => `hf${VERSION}:${id}:`

function encrypt(text: string, id: string, key: KeyObject): string {
  // JSON.stringify escapes them; a raw one has no UTF-8 and would silently come back as U+FFFD.
  if (/\p{Surrogate}/u.test(text)) {
    throw new PayloadError(
      "The payload's JSON text has a lone surrogate, which can't be stored: escape it (JSON.stringify does).",
    )
  }
  const header = headerOf(id)
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(header))
  const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
  return header + sealed.toString('base64url')
}

function decrypt(stored: string, keys: ReadonlyMap<string, KeyObject>): string {
  const marker = MARKER.exec(stored)
  if (!marker) return stored
  if (marker[1] !== VERSION) {
    throw new PayloadError(
      `The stored payload is encrypted in form ${quote(marker[0])}, which this version of Holdfast doesn't know. ` +
        'Update this process, then retry the task from quarantine.',
    )
  }
  const idEnd = stored.indexOf(':', marker[0].length)
  const id = stored.slice(marker[0].length, Math.max(idEnd, 0))
  if (!ID.test(id)) throw damaged(`its key id is missing or malformed: ${quote(stored.slice(0, 80))}`)
  const key = keys.get(id)
  if (!key) {
    throw new PayloadError(
      `The stored payload is encrypted with key ${quote(id)}, but this process only knows ` +
        `${[...keys.keys()].map(quote).join(', ')}. Add key ${quote(id)} to the end of the codec's keys, ` +
        'then retry the task from quarantine.',
    )
  }
  return open(stored.slice(idEnd + 1), id, key)
}

function open(body: string, id: string, key: KeyObject): string {
  const sealed = Buffer.from(body, 'base64url')
  // Node skips what isn't base64url; only the text that encode wrote is taken.
  if (sealed.toString('base64url') !== body)
    throw damaged(`what follows key id ${quote(id)} is not base64url`)
  if (sealed.length < IV_BYTES + TAG_BYTES) {
    throw damaged(`what follows key id ${quote(id)} is cut off after ${sealed.length} bytes`)
  }
  const iv = sealed.subarray(0, IV_BYTES)
  const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(headerOf(id)))
    .setAuthTag(sealed.subarray(-TAG_BYTES))
  const opened = decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES))
  try {
    return Buffer.concat([opened, decipher.final()]).toString('utf8')
  } catch (cause) {
    throw new PayloadError(
      `The stored payload can't be decrypted with key ${quote(id)}: it was changed after it was stored, or another ` +
        `key had the id ${quote(id)} then. If so, configure that key and retry the task from quarantine.`,
      { cause },
    )
  }
}

function damaged(how: string): PayloadError {
  return new PayloadError(
    `The stored payload is marked as encrypted but damaged: ${how}. ` +
      'Restore the text as it was stored, then retry the task from quarantine.',
  )
}

/** Never empty; in the order given. */
function readKeys(options: unknown): ReadonlyMap<string, KeyObject> {
  const given = (options as { keys?: unknown } | null | undefined)?.keys
  if (!Array.isArray(given) || given.length === 0) {
    throw configError([
      `keys must be an array of at least one key ({ id, key }): this is ${showSafely(given)}`,
    ])
  }
  const problems: string[] = []
  const keys = new Map<string, KeyObject>()
  const places = new Map<string, number>()
  for (const [index, entry] of (given as (Partial<AesKey> | null | undefined)[]).entries()) {
    const { id, key } = entry ?? {}
    const place = `keys[${index}]`
    const bytes = bytesOf(key)
    if (!bytes) {
      const named = typeof id === 'string' ? ` (id ${showSafely(id)})` : ''
      problems.push(
        `${place}.key${named} must be ${KEY_BYTES} bytes or the base64 of them: this is ${describe(key)}`,
      )
    }
    if (typeof id !== 'string' || !ID.test(id)) {
      problems.push(`${place}.id must match ${ID}: ${showSafely(id)}`)
      continue
    }
    const before = places.get(id)
    if (before === undefined) {
      places.set(id, index)
    } else {
      const both = `keys[${before}] and ${place} both have the id ${showSafely(id)}`
      problems.push(`${both}: give each key its own`)
    }
    if (bytes) keys.set(id, createSecretKey(bytes))
  }
  if (problems.length > 0) throw configError(problems)
  return keys
}

function bytesOf(key: unknown): Uint8Array | undefined {
  // Not instanceof: under Jest a Buffer belongs to another realm's Uint8Array.
  if (types.isUint8Array(key)) return key.length === KEY_BYTES ? key : undefined
  if (typeof key !== 'string') return undefined
  const bytes = Buffer.from(key, 'base64')
  // Strict, as Node skips what isn't base64: a mistyped key would otherwise become a different one.
  return bytes.length === KEY_BYTES && bytes.toString('base64') === key ? bytes : undefined
}

/** What is given as a key may be one, so it is described, never shown. */
function describe(value: unknown): string {
  if (types.isUint8Array(value)) return `${value.length} bytes`
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'string') return `a string of ${value.length} characters`
  if (value === undefined || value === null) return String(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Texts of 32 characters or more are not quoted: a key put in the place of an id must not reach a log. */
function showSafely(value: unknown): string {
  return typeof value === 'string' && value.length < KEY_BYTES ? quote(value) : describe(value)
}

const quote = (text: string): string => JSON.stringify(text)
