import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type AesKey, aesGcmCodec } from '../src/codec.js'
import { ConfigError, PayloadError } from '../src/errors.js'

const a: AesKey = { id: 'a', key: randomBytes(32) }
const b: AesKey = { id: 'b', key: randomBytes(32).toString('base64') }
const codec = aesGcmCodec({ keys: [a, b] })
const secret = '{"card":"4111 1111 1111 1111"}'

function thrownBy(action: () => unknown): Error {
  try {
    action()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

function refusal(stored: string): string {
  const error = thrownBy(() => codec.decode(stored))
  expect(PayloadError.is(error)).toBe(true)
  return error.message
}

// biome-ignore lint/suspicious/noExplicitAny: wrong options are the point
function configRefusal(options: any): string {
  const error = thrownBy(() => aesGcmCodec(options))
  expect(ConfigError.is(error)).toBe(true)
  return error.message
}

/** The stored text with its sealed bytes changed. */
function reseal(stored: string, change: (bytes: Buffer) => Buffer): string {
  const start = stored.lastIndexOf(':') + 1
  return stored.slice(0, start) + change(Buffer.from(stored.slice(start), 'base64url')).toString('base64url')
}

/** The stored text with one bit of the sealed bytes flipped; a negative `index` counts from the end. */
function flip(stored: string, index: number): string {
  return reseal(stored, (bytes) => {
    const at = index < 0 ? bytes.length + index : index
    bytes[at] = bytes[at]! ^ 1
    return bytes
  })
}

describe('a payload encrypted with AES-GCM', () => {
  it.each([
    ['JSON', secret],
    ['unicode', JSON.stringify({ 'ключ\0': 'é 漢字 👩‍👩‍👧 \u2028 \uffff' })],
    ['escapes of lone surrogates', JSON.stringify({ '\ud800': 'x\udfff' })],
    ['nothing', ''],
    ['what looks encrypted', 'hf1:a:AAAA'],
    ['1 MiB', JSON.stringify('é'.repeat(524_287))],
  ])('comes back the same: %s', (_, text) => {
    const stored = codec.encode(text)
    expect(codec.decode(stored) === text).toBe(true)
    expect(/^hf1:a:[A-Za-z0-9_-]+$/.test(stored)).toBe(true)
  })

  it('is not readable in what is stored', () => {
    const body = codec.encode(secret).split(':')[2]!
    expect(Buffer.from(body, 'base64url').includes('4111')).toBe(false)
  })

  it('is at most 4/3 of its bytes plus 108 long, as documented', () => {
    const id = 'k'.repeat(64)
    for (const bytes of [0, 1, 2, 3, 1_000]) {
      const { length } = aesGcmCodec({ keys: [{ id, key: a.key }] }).encode('x'.repeat(bytes))
      expect(length).toBeLessThanOrEqual((bytes * 4) / 3 + 108)
    }
  })

  it('is encrypted differently each time', () => {
    const stored = Array.from({ length: 100 }, () => codec.encode(secret))
    const ivs = stored.map((text) => text.slice('hf1:a:'.length, 'hf1:a:'.length + 16))
    expect(new Set(ivs).size).toBe(100)
  })

  it('is refused with a raw lone surrogate, which would come back changed', () => {
    const error = thrownBy(() => codec.encode('"\ud800"'))
    expect(PayloadError.is(error)).toBe(true)
    expect(error.message).toContain('lone surrogate')
  })
})

describe('rotating keys', () => {
  const old = aesGcmCodec({ keys: [a] })
  const appended = aesGcmCodec({ keys: [a, b] })
  const rotated = aesGcmCodec({ keys: [b, a] })

  it('reads what the old key encrypted and writes with the new one', () => {
    expect(rotated.decode(old.encode(secret))).toBe(secret)
    expect(rotated.encode(secret)).toMatch(/^hf1:b:/)
  })

  it('lets a process that does not encrypt with the new key yet read it', () => {
    expect(appended.encode(secret)).toMatch(/^hf1:a:/)
    expect(appended.decode(rotated.encode(secret))).toBe(secret)
  })

  it('refuses a payload whose key is gone, naming it, the known ones and the way out', () => {
    const stored = aesGcmCodec({ keys: [{ id: '2023', key: randomBytes(32) }] }).encode(secret)
    const message = refusal(stored)
    for (const part of [
      'key "2023"',
      'only knows "a", "b"',
      'Add key "2023"',
      'retry the task from quarantine',
    ]) {
      expect(message).toContain(part)
    }
  })

  it('refuses a payload when another key has its id', () => {
    const message = refusal(aesGcmCodec({ keys: [{ id: 'a', key: randomBytes(32) }] }).encode(secret))
    expect(message).toContain('another key had the id "a"')
  })

  it('takes bytes and their base64 for the same key', () => {
    const bytes = randomBytes(32)
    const asBytes = aesGcmCodec({ keys: [{ id: 'k', key: new Uint8Array(bytes) }] })
    const asText = aesGcmCodec({ keys: [{ id: 'k', key: bytes.toString('base64') }] })
    expect(asText.decode(asBytes.encode(secret))).toBe(secret)
  })

  it('keeps its own copy of a key', () => {
    const key = randomBytes(32)
    const keeps = aesGcmCodec({ keys: [{ id: 'k', key }] })
    const stored = keeps.encode(secret)
    key.fill(0)
    expect(keeps.decode(stored)).toBe(secret)
  })
})

describe('a stored text that was changed', () => {
  const stored = codec.encode(secret)

  it.each([
    ['in its IV', flip(stored, 0)],
    ['in its ciphertext', flip(stored, 12)],
    ['at the end of its ciphertext', flip(stored, -17)],
    ['in its tag', flip(stored, -16)],
    ['at the end of its tag', flip(stored, -1)],
    ['to name another known key', stored.replace('hf1:a:', 'hf1:b:')],
    ['by cutting its last byte off', reseal(stored, (bytes) => bytes.subarray(0, -1))],
    ['by replacing it with an earlier IV', codec.encode('{}').slice(0, 22) + stored.slice(22)],
  ])('%s is refused', (_, forged) => {
    expect(forged).not.toBe(stored)
    expect(refusal(forged)).toMatch(/can't be decrypted with key "[ab]"/)
  })

  // Both keys are the same here, so only the authenticated header can tell.
  it('to name another id of the same key is refused', () => {
    const twins = aesGcmCodec({ keys: [a, { id: 'twin', key: a.key }] })
    const forged = twins.encode(secret).replace('hf1:a:', 'hf1:twin:')
    expect(PayloadError.is(thrownBy(() => twins.decode(forged)))).toBe(true)
  })

  it.each([
    ['a space in it', `${stored.slice(0, 30)} ${stored.slice(30)}`, 'not base64url'],
    ['padding', `${stored}=`, 'not base64url'],
    ['a newline after it', `${stored}\n`, 'not base64url'],
    ['another part', `${stored}:x`, 'not base64url'],
    ['nothing sealed', 'hf1:a:', 'cut off after 0 bytes'],
    [
      'less than an IV and a tag',
      `hf1:a:${Buffer.alloc(27).toString('base64url')}`,
      'cut off after 27 bytes',
    ],
    ['no key id', 'hf1::AAAA', 'key id is missing or malformed'],
    ['no end of the key id', 'hf1:a', 'key id is missing or malformed'],
    ['a malformed key id', 'hf1:a b:AAAA', 'key id is missing or malformed'],
    ['a later version', stored.replace('hf1:', 'hf2:'), 'form "hf2:"'],
    ['a key id every object has', 'hf1:constructor:AAAA', 'key "constructor"'],
  ])('to have %s is refused', (_, forged, part) => {
    expect(refusal(forged)).toContain(part)
  })
})

describe('a stored text without the marker', () => {
  it.each([
    '{"a":1}',
    '[]',
    'null',
    '"hf1:a:AAAA"',
    ' hf1:a:AAAA',
    '',
    'hf',
    'hf:',
    'HF1:a:AAAA',
    '\nhf1:a:',
  ])('is decoded to itself: %j', (text) => {
    expect(codec.decode(text)).toBe(text)
  })
})

describe('the codec', () => {
  it('is frozen', () => {
    expect(Object.isFrozen(codec)).toBe(true)
  })

  it('does not reveal its keys', () => {
    expect(Object.keys(codec)).toEqual(['encode', 'decode'])
  })
})

describe('the options of the codec', () => {
  it.each([[undefined], [null], [{}], [{ keys: [] }], [{ keys: 'a' }], [{ keys: null }]])(
    'must have keys: %j',
    (options) => {
      expect(configRefusal(options)).toContain('keys must be an array of at least one key')
    },
  )

  it.each(['', 'a b', 'a:b', 'é', 'a\n', 7, null, undefined])('must not have the id %j', (id) => {
    const message = configRefusal({ keys: [{ id, key: a.key }] })
    expect(message).toContain('keys[0].id must match')
    expect(message).toContain(typeof id === 'string' ? JSON.stringify(id) : 'keys[0]')
  })

  it('take ids of 1 to 64 characters', () => {
    for (const id of ['-', 'x'.repeat(64), 'Ab_9.-']) {
      expect(aesGcmCodec({ keys: [{ id, key: a.key }] }).encode('')).toContain(`hf1:${id}:`)
    }
    expect(configRefusal({ keys: [{ id: 'x'.repeat(65), key: a.key }] })).toContain(
      'a string of 65 characters',
    )
  })

  it.each([
    ['31 bytes', randomBytes(31), '31 bytes'],
    ['33 bytes', randomBytes(33), '33 bytes'],
    ['no bytes', new Uint8Array(), '0 bytes'],
    ['the base64 of 16 bytes', randomBytes(16).toString('base64'), 'a string of 24 characters'],
    ['hex', randomBytes(32).toString('hex'), 'a string of 64 characters'],
    ['base64 and a newline', `${randomBytes(32).toString('base64')}\n`, 'a string of 45 characters'],
    ['base64 with stray bits at its end', `${'A'.repeat(42)}B=`, 'a string of 44 characters'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a list of numbers', [...randomBytes(32)], 'an array of 32'],
  ])('must not have as a key %s', (_, key, part) => {
    const message = configRefusal({ keys: [{ id: 'mine', key }] })
    expect(message).toContain('keys[0].key (id "mine") must be 32 bytes or the base64 of them')
    expect(message).toContain(`this is ${part}`)
  })

  it('are refused all at once', () => {
    const message = configRefusal({
      keys: [a, { id: 'a', key: randomBytes(5) }, { id: 'no:', key: b.key }, null, { id: 'a', key: b.key }],
    })
    for (const part of [
      '6 options are wrong',
      'keys[0] and keys[1] both have the id "a"',
      'keys[0] and keys[4] both have the id "a"',
      'keys[1].key (id "a")',
      'keys[2].id',
      'keys[3].id',
      'keys[3].key',
    ]) {
      expect(message).toContain(part)
    }
  })
})

describe('no message, stack or cause', () => {
  const bytes = randomBytes(32)
  const encodings = (['base64', 'base64url', 'hex', 'latin1'] as const).map((form) => bytes.toString(form))
  const forms = [...encodings, `${encodings[0]}\n`, `0x${encodings[2]}`]

  function expectNothingOf(error: Error): void {
    const text = `${error.message}\n${error.stack}\n${error.cause}`
    for (const form of encodings) {
      expect(text).not.toContain(form)
      expect(text).not.toContain(form.slice(0, 12))
    }
    expect(text).not.toContain([...bytes.subarray(0, 4)].join(','))
  }

  it.each(forms.map((form) => [form.length, form] as const))(
    'has a key of %i characters in any place of the options',
    (_, form) => {
      for (const keys of [
        [{ id: 'k', key: `${form}x` }],
        [{ id: form, key: 'main' }],
        [{ id: form, key: form.slice(1) }],
        [
          { id: form, key: bytes },
          { id: form, key: bytes },
        ],
        form,
        [form],
        { [form]: 'main' },
      ]) {
        // biome-ignore lint/suspicious/noExplicitAny: wrong options are the point
        expectNothingOf(thrownBy(() => aesGcmCodec({ keys } as any)))
      }
    },
  )

  it('has the bytes of a key', () => {
    for (const keys of [
      [{ id: bytes, key: 'main' }],
      [{ id: 'k', key: Buffer.concat([bytes, bytes]) }],
      [{ id: 'k', key: [...bytes] }],
      bytes,
      [bytes],
    ]) {
      // biome-ignore lint/suspicious/noExplicitAny: wrong options are the point
      expectNothingOf(thrownBy(() => aesGcmCodec({ keys } as any)))
    }
  })

  it('has a key or the payload when decoding fails', () => {
    const own = aesGcmCodec({ keys: [{ id: 'k', key: bytes }] })
    const stored = own.encode(secret)
    for (const forged of [flip(stored, 15), stored.replace(':k:', ':l:'), `${stored}=`, 'hf1:k:', 'hf9:k:']) {
      const error = thrownBy(() => own.decode(forged))
      expectNothingOf(error)
      expect(error.message).not.toContain('4111')
    }
  })
})
