import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { acquireLock, ensureLock, holdsLock, releaseLock, renewLock } from '../../src/store/locks.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess } from '../support/rows.js'
import { ago, dialect, HOUR, SECOND } from '../support/sql.js'

const name = 'gc:table'
const attempt = { name, holder: 'p', ttl: HOUR, interval: SECOND }

describe('locks in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(async () => {
    await on.clear()
    await addProcess(on.db, 'p')
    await addProcess(on.db, 'other')
  })
  afterAll(() => on[Symbol.asyncDispose]())

  const lockRow = async () => {
    const { rows } = await sql<Record<string, unknown>>`
      select holder, term, -${dialect.msSince(sql.ref('expires_at'))} as remaining,
        ${dialect.msSince(sql.ref('last_run_at'))} as ran
      from holdfast_locks where name = ${name}`.execute(on.db)
    const [row, ...more] = rows
    expect(more).toEqual([])
    return row && { ...row, term: Number(row.term), remaining: Number(row.remaining), ran: row.ran }
  }

  it('ensureLock makes a lock that is free, and leaves one that is there as it is', async () => {
    await on.golden('ensure-lock', (store) => ensureLock(store, name))
    expect(await lockRow()).toMatchObject({ holder: null, term: 0, ran: null })
    await acquireLock(on.store, attempt)
    await ensureLock(on.store, name)
    expect(await lockRow()).toMatchObject({ holder: 'p', term: 1 })
  })

  it('acquireLock takes a free lock under a new term', async () => {
    await ensureLock(on.store, name)
    const taken = await on.golden('acquire-lock', (store) => acquireLock(store, attempt))
    expect(taken).toEqual({ term: 1, waitMs: 0 })
    const { remaining, ...row } = (await lockRow())!
    expect(row).toMatchObject({ holder: 'p', term: 1 })
    expect(remaining).toBeGreaterThan(HOUR - 60_000)
  })

  it('acquireLock makes a lock that is missing, for the next attempt', async () => {
    const missed = await on.golden('acquire-lock-missing', (store) => acquireLock(store, attempt))
    expect(missed).toEqual({ term: undefined, waitMs: 0 })
    expect(await acquireLock(on.store, attempt)).toEqual({ term: 1, waitMs: 0 })
  })

  it('acquireLock is refused while a living process holds the lock, and told when to come back', async () => {
    await ensureLock(on.store, name)
    await acquireLock(on.store, { ...attempt, holder: 'other' })
    const refused = await acquireLock(on.store, attempt)
    expect(refused).toEqual({ term: undefined, waitMs: SECOND })
    await sql`update holdfast_locks set expires_at = ${ago(1)}`.execute(on.db)
    expect(await acquireLock(on.store, attempt)).toEqual({ term: 2, waitMs: 0 })
  })

  it('acquireLock takes the lock of a dead process at once', async () => {
    await ensureLock(on.store, name)
    await acquireLock(on.store, { ...attempt, holder: 'other' })
    await sql`update holdfast_processes set state = 'dead' where process_id = 'other'`.execute(on.db)
    expect(await acquireLock(on.store, attempt)).toEqual({ term: 2, waitMs: 0 })
  })

  it('releaseLock keeps others from sweeping again too soon', async () => {
    await ensureLock(on.store, name)
    await acquireLock(on.store, { ...attempt, interval: HOUR })
    const held = { name, holder: 'p', term: 1 }
    expect(await releaseLock(on.store, { ...held, holder: 'P' })).toBe(false)
    expect(await on.golden('release-lock', (store) => releaseLock(store, held))).toBe(true)
    expect(await releaseLock(on.store, held)).toBe(false)
    expect(await lockRow()).toMatchObject({ holder: null, term: 1 })
    const { term, waitMs } = await acquireLock(on.store, { ...attempt, holder: 'other', interval: HOUR })
    expect(term).toBeUndefined()
    expect(waitMs).toBeGreaterThan(HOUR - 60_000)
    await sql`update holdfast_locks set last_run_at = ${ago(HOUR)}`.execute(on.db)
    expect(await acquireLock(on.store, { ...attempt, interval: HOUR })).toEqual({ term: 2, waitMs: 0 })
  })

  it('renewLock and holdsLock know the present term alone', async () => {
    await ensureLock(on.store, name)
    await acquireLock(on.store, { ...attempt, ttl: SECOND })
    const held = { name, holder: 'p', term: 1 }
    expect(await on.golden('renew-lock', (store) => renewLock(store, { ...held, ttl: HOUR }))).toBe(true)
    expect((await lockRow())!.remaining).toBeGreaterThan(HOUR - 60_000)
    expect(await renewLock(on.store, { ...held, term: 2, ttl: 2 * HOUR })).toBe(false)
    expect((await lockRow())!.remaining).toBeLessThanOrEqual(HOUR)
    expect(await on.golden('holds-lock', (store) => holdsLock(store, held))).toBe(true)
    expect(await holdsLock(on.store, { ...held, term: 0 })).toBe(false)
    expect(await holdsLock(on.store, { ...held, holder: 'other' })).toBe(false)
  })
})
