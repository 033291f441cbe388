import { patience, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { acquireLock, ensureLock, holdsLock, releaseLock, renewLock } from '../src/store/locks.js'
import { openStore, type Store } from '../src/store/store.js'
import { Fixture } from './support/fixture.js'
import { addProcess } from './support/rows.js'
import { ago, HOUR, SECOND } from './support/sql.js'

describe('the GC lock', () => {
  let fixture: Fixture
  let store: Store
  const name = 'gc:test'
  const acquire = (holder: string, ttl = 60_000, interval = 0) =>
    acquireLock(store, { name, holder, ttl, interval })

  beforeEach(async () => {
    fixture = await Fixture.create()
    store = openStore(fixture.db, {})
    await ensureLock(store, name)
    const holders = ['a', 'b', ...Array.from({ length: 50 }, (_, n) => `p${n}`)]
    for (const id of holders) await addProcess(fixture.db, id, { leaseMs: HOUR })
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is refused while another holds it, and says how long', async () => {
    expect(await acquire('a')).toEqual({ term: 1, waitMs: 0 })
    const refused = await acquire('b')
    expect(refused.term).toBeUndefined()
    expect((await acquire('b', 60_000, 45_000)).waitMs).toBeGreaterThan(30_000)
    expect((await acquire('a')).term).toBeUndefined()
  })

  it.each([
    ['is gone', sql`delete from holdfast_processes where process_id = 'a'`],
    ['is dead', sql`update holdfast_processes set state = 'dead' where process_id = 'a'`],
    [
      'has no lease',
      sql`update holdfast_processes set lease_expires_at = ${ago(SECOND)} where process_id = 'a'`,
    ],
  ])('is taken from a holder that %s, long before it runs out', async (_, end) => {
    await acquire('a')
    expect((await acquire('b')).term).toBeUndefined()
    await end.execute(fixture.db)
    expect((await acquire('b')).term).toBe(2)
  })

  it('of fifty contenders at once goes to one, and the term only rises', async () => {
    for (let round = 1; round <= 20; round++) {
      const attempts = await Promise.all(Array.from({ length: 50 }, (_, n) => acquire(`p${n}`)))
      const winners = attempts.flatMap(({ term }, n) =>
        term === undefined ? [] : [{ holder: `p${n}`, term }],
      )
      expect(winners).toEqual([{ holder: expect.any(String), term: round }])
      await releaseLock(store, { name, ...winners[0]! })
    }
  })

  it('runs out, is taken over, and then neither renewed nor released by its former holder', async () => {
    const { term } = await acquire('a', 50)
    const old = { name, holder: 'a', term: term! }
    const taken = await until(async () => (await acquire('b')).term)
    expect(taken).toBe(2)
    expect(await holdsLock(store, old)).toBe(false)
    expect(await renewLock(store, { ...old, ttl: 60_000 })).toBe(false)
    await releaseLock(store, old)
    expect(await holdsLock(store, { name, holder: 'b', term: 2 })).toBe(true)
  })

  it('is refused while a sweep ended less than an interval ago', async () => {
    const { term } = await acquire('a')
    await releaseLock(store, { name, holder: 'a', term: term! })
    const refused = await acquire('b', 60_000, 60_000)
    expect(refused.term).toBeUndefined()
    expect(refused.waitMs).toBeGreaterThan(30_000)
    const { rows } =
      await sql`select holder, case when last_run_at is null then 'no' else 'yes' end as ran from holdfast_locks
      where name = ${name}`.execute(fixture.db)
    expect(rows).toEqual([{ holder: null, ran: 'yes' }])
    expect((await acquire('b', 60_000, 0)).term).toBe(2)
  })

  it('lets three processes sweep about once an interval between them, and a lone one no less', async () => {
    const sweeps = async (monitors: number, count: number): Promise<number> => {
      const own = await Fixture.create()
      let seen = 0
      for (let n = 0; n < monitors; n++) (await own.started()).on('sweep', () => seen++)
      await until(() => seen > 0)
      const started = performance.now()
      const base = seen
      await until(() => seen >= base + count)
      const perSweep = (performance.now() - started) / count
      await own[Symbol.asyncDispose]()
      return perSweep
    }
    const lone = await sweeps(1, 10)
    const three = await sweeps(3, 10)
    for (const perSweep of [lone, three]) {
      expect(perSweep).toBeGreaterThan(200 * 0.9)
      expect(perSweep).toBeLessThan(patience(200 * 2.5))
    }
  })
})
