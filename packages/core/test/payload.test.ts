import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parsePayload, serializePayload } from '../src/task/payload.js'
import { Fixture } from './support/fixture.js'
import { taskRows } from './support/table-queue.js'

const circular: { self?: unknown } = {}
circular.self = circular

const sparse = [1]
sparse[2] = 3

const unstorable: readonly [name: string, payload: unknown, path: string][] = [
  ['a BigInt', { a: [1n] }, 'payload.a[0]'],
  ['a Date', { at: new Date(0) }, 'payload.at'],
  ['a Map', { m: new Map() }, 'payload.m'],
  ['a Buffer', { b: Buffer.from('x') }, 'payload.b'],
  ['undefined', { a: { b: undefined } }, 'payload.a.b'],
  ['undefined itself', undefined, 'payload'],
  ['a hole in an array', { a: sparse }, 'payload.a[1]'],
  ['-0', { z: -0 }, 'payload.z'],
  ['NaN', { n: Number.NaN }, 'payload.n'],
  ['Infinity', [Number.POSITIVE_INFINITY], 'payload[0]'],
  ['a function', { f: () => 1 }, 'payload.f'],
  ['a symbol', { s: Symbol('x') }, 'payload.s'],
  ['a circle', circular, 'payload.self'],
  ['an object with toJSON', { t: { toJSON: () => 'x' } }, 'payload.t'],
]

describe('a payload', () => {
  it.each(unstorable)('with %s is refused with its path', (_, payload, path) => {
    expect(() => serializePayload(payload, 1_000)).toThrow(
      expect.objectContaining({ code: 'HOLDFAST_PAYLOAD', message: expect.stringContaining(`${path} is `) }),
    )
  })

  it.each([
    null,
    true,
    0,
    '',
    'ü \u0000 \ud800 \u2028',
    [],
    {},
    Object.create(null),
    { a: [{ b: 1e300 }, 'x', null], __proto__: null },
  ])('of plain JSON comes back the same: %j', (payload) => {
    expect(parsePayload(serializePayload(payload, 1_000))).toEqual(payload)
  })

  it('may hold the same object twice', () => {
    const shared = { x: 1 }
    expect(parsePayload(serializePayload([shared, shared], 100))).toEqual([shared, shared])
  })

  it('larger than the limit in bytes is refused with both numbers', () => {
    expect(() => serializePayload('ü'.repeat(60), 100)).toThrow(
      expect.objectContaining({
        code: 'HOLDFAST_PAYLOAD_TOO_LARGE',
        message: expect.stringMatching(/122 bytes.*100/),
      }),
    )
  })
})

describe('a payload that cannot be stored', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is refused before the work starts, and leaves no row', async () => {
    const monitor = await fixture.started({ maxPayloadBytes: 50 })
    let started = false
    for (const payload of [1n, { big: 'x'.repeat(100) }]) {
      const running = monitor.run({ payload }, async () => {
        started = true
      })
      await expect(running).rejects.toMatchObject({ code: /^HOLDFAST_PAYLOAD/ })
    }
    expect(started).toBe(false)
    expect(await taskRows(fixture.db)).toEqual([])
    expect(monitor.health().inFlight).toBe(0)
  })

  it('round-trips through the database byte for byte, also where text columns are touchy', async () => {
    const monitor = await fixture.started()
    const payload = { nul: '\u0000', lone: '\ud800', emoji: '🙂', quote: '\\"\'', long: 'x'.repeat(70_000) }
    const task = await monitor.register({ payload, jobRef: 'odd' })
    await task.release()
    // At once, but by a sweep where that is prevented.
    const job = await until(async () => (await fixture.db.selectFrom('jobs').selectAll().execute())[0])
    expect(JSON.parse(job.body)).toEqual(payload)
  })
})
