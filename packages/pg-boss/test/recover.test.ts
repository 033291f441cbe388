import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'
import { Recovering, rowOf } from './support/recovering.js'

let fixture: Fixture
let recovering: Recovering
beforeAll(async () => {
  fixture = await Fixture.create()
  recovering = await Recovering.of(fixture)
})
afterEach(() => fixture.empty(['dead']))
afterAll(async () => {
  await recovering[Symbol.asyncDispose]()
  await fixture[Symbol.asyncDispose]()
})

/** What JSON in JavaScript would lose. */
const DATA = '{"big": 12345678901234567890.123456789, "deep": {"z": [1, null, "ü\\u0001"]}}'

async function withData(id: string): Promise<void> {
  await sql`update pgboss.job set data = ${DATA}::jsonb, priority = 7 where id = ${id}::uuid`.execute(
    fixture.db,
  )
}

describe('a tracked job of a dead process', () => {
  it('is tried again at once, as it was', async () => {
    const id = await fixture.add({}, { retryDelay: 60, priority: 3 })
    await withData(id)
    const payload = await recovering.fetch()
    const before = await rowOf(fixture, id)
    expect(await recovering.recover([payload])).toEqual([{ kind: 'requeued', jobRef: `q/${id}` }])
    expect(await rowOf(fixture, id)).toBe(before)
    const output = { message: 'Worker process died while running this job' }
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', due: true, retry_count: 0, output })
    expect(await recovering.recover([payload])).toEqual([{ kind: 'alreadyThere' }])
  })

  it('waits as it is told, and no shorter than its own pause from its second crash on', async () => {
    const dueIn = async (id: string): Promise<number> => {
      const { rows } = await sql<{ ms: number }>`
        select extract(epoch from start_after - now())::float8 * 1000 as ms from pgboss.job where id = ${id}::uuid`.execute(
        fixture.db,
      )
      return Math.round(rows[0]!.ms / 1000)
    }
    const wait = async (
      options: object,
      decision: { notBefore: number; backoff?: boolean },
    ): Promise<number> => {
      const id = await fixture.add({}, options)
      await recovering.recover([await recovering.fetch()], { decision: { kind: 'requeue', ...decision } })
      return dueIn(id)
    }
    expect(await wait({ retryDelay: 60 }, { notBefore: 5_000 })).toBe(5)
    expect(await wait({ retryDelay: 60 }, { notBefore: 5_000, backoff: true })).toBe(60)
    expect(await wait({ retryDelay: 60, retryBackoff: true }, { notBefore: 90_000, backoff: true })).toBe(90)
  })

  it('that was given back has its attempt back', async () => {
    const id = await fixture.add({}, { retryLimit: 1 })
    await recovering.recover([await recovering.fetch()], { cause: 'release' })
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', retry_limit: 2, output: null })
    expect(await recovering.fetch()).toMatchObject({ id, retryCount: 1 })
  })

  it.each(['release', 'crash', 'overdue'] as const)(
    'that may be tried once never begins twice (%s)',
    async (cause) => {
      const id = await fixture.add({}, { retryLimit: 0 })
      const [outcome] = await recovering.recover([await recovering.fetch()], { cause })
      expect(outcome).toMatchObject({
        kind: 'exhausted',
        reason: expect.stringMatching(/on its last attempt \(1 of 1\)/),
      })
      expect(await fixture.job(id)).toMatchObject({
        state: 'failed',
        output: { message: expect.any(String) },
      })
    },
  )

  it('is left alone when it has ended, is run by others, or is gone', async () => {
    const ids: string[] = []
    const payloads = []
    for (let n = 0; n < 6; n++) {
      ids.push(await fixture.add({}, { retryLimit: n === 2 ? 0 : 2 }))
      payloads.push(await recovering.fetch())
    }
    const [completed, cancelled, failed, retried, again, gone] = ids as [
      string,
      string,
      string,
      string,
      string,
      string,
    ]
    await fixture.boss.complete('q', completed)
    await fixture.boss.cancel('q', cancelled)
    await fixture.boss.fail('q', failed)
    await fixture.boss.fail('q', again)
    await recovering.fetch()
    await fixture.boss.fail('q', retried)
    await fixture.boss.deleteJob('q', gone)
    const before = await fixture.jobs()
    const outcomes = await recovering.recover(payloads)
    expect(outcomes.map(({ kind }) => kind)).toEqual([
      ...['finished', 'finished', 'finished', 'alreadyThere', 'alreadyThere', 'finished'],
    ])
    expect(await fixture.jobs()).toEqual(before)
  })

  it('which another transaction has locked is kept for later, and the others go on', async () => {
    const locked = await fixture.add()
    const payloads = [await recovering.fetch()]
    await fixture.add()
    payloads.push(await recovering.fetch())
    const outcomes = await fixture.db.transaction().execute(async (trx) => {
      await sql`select from pgboss.job where id = ${locked}::uuid for update`.execute(trx)
      return recovering.recover(payloads)
    })
    expect(outcomes).toMatchObject([
      {
        kind: 'failed',
        error: { message: `Job ${locked} of queue "q" is locked by another transaction just now.` },
      },
      { kind: 'requeued' },
    ])
  })
})

describe('a handed-off job of a dead process', () => {
  it('is put back as it was, though pg-boss has completed it', async () => {
    const id = await fixture.add()
    await withData(id)
    const payload = await recovering.handOff()
    const before = await rowOf(fixture, id)
    expect(await recovering.recover([payload])).toEqual([{ kind: 'requeued', jobRef: `q/${id}` }])
    expect(await rowOf(fixture, id)).toBe(before)
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', due: true })
    expect(await recovering.fetch()).toMatchObject({ id, retryCount: 1 })
  })

  it('is put back though it has left the table, and is kept long enough to run', async () => {
    const id = await fixture.add({}, { singletonSeconds: 3_600 })
    await withData(id)
    const payload = await recovering.handOff()
    const before = await rowOf(fixture, id)
    if (isTen) {
      await sql`update pgboss.job set completed_on = now() - interval '1 month', keep_until = now() - interval '1 day'`.execute(
        fixture.db,
      )
      await fixture.boss.maintain!()
      expect(await fixture.boss.getJobById('q', id, { includeArchive: true })).toMatchObject({
        state: 'completed',
      })
    } else {
      await fixture.boss.deleteJob('q', id)
    }
    expect(await fixture.jobs()).toEqual([])
    expect(await recovering.recover([payload])).toEqual([{ kind: 'requeued', jobRef: `q/${id}` }])
    expect(await rowOf(fixture, id)).toBe(before.replace(/"singleton_on": "[^"]*"/, '"singleton_on": null'))
    const { rows } = await sql<{ kept: boolean }>`
      select keep_until > now() + interval '23 hours' as kept from pgboss.job`.execute(fixture.db)
    expect(rows).toEqual([{ kept: true }])
    if (isTen) expect((await sql`select from pgboss.archive`.execute(fixture.db)).rows).toEqual([])
  })

  it('that was not yet completed in pg-boss is put back in its place', async () => {
    const id = await fixture.add()
    const payload = await recovering.fetch('handOff')
    expect(await recovering.recover([payload])).toEqual([{ kind: 'requeued', jobRef: `q/${id}` }])
    expect(await fixture.job(id)).toMatchObject({ state: 'retry' })
  })

  it('that pg-boss gave to others before is left to those', async () => {
    await fixture.add()
    const payload = await recovering.fetch('handOff')
    await fixture.boss.fail('q', payload.id)
    const again = await recovering.handOff()
    expect(again.id).toBe(payload.id)
    expect(await recovering.recover([payload])).toEqual([{ kind: 'finished' }])
    expect(await fixture.job(payload.id)).toMatchObject({ state: 'completed' })
  })

  it('whose handler threw is retried by its own rules, or failed with its dead letter', async () => {
    await fixture.boss.createQueue('dead', { name: 'dead' })
    const retried = await fixture.add({}, { retryDelay: 100 })
    const first = await recovering.handOff()
    const last = await fixture.add({ of: 'it' }, { retryLimit: 0, deadLetter: 'dead' })
    const second = await recovering.handOff()
    const failure = { name: 'TypeError', message: 'broken', stack: 'TypeError: broken' }
    const outcomes = await recovering.recover(
      [first, second].map((payload) => ({ ...payload, failure }) as typeof payload),
      { cause: 'release' },
    )
    expect(outcomes.map(({ kind }) => kind)).toEqual(['requeued', 'finished'])
    expect(await fixture.job(retried)).toMatchObject({ state: 'retry', due: false, output: failure })
    expect(await fixture.job(last)).toMatchObject({ state: 'failed', output: failure })
    expect(await fixture.jobs('dead')).toMatchObject([{ state: 'created', data: { of: 'it' } }])
  })
})

describe('on its last attempt or over the cap', () => {
  it('a job fails as one whose retries are used up: dead letter, and the reason in its output', async () => {
    await fixture.boss.createQueue('dead', { name: 'dead' })
    const id = await fixture.add({ n: 1 }, { retryLimit: 5, deadLetter: 'dead' })
    const reason = 'in flight in 4 dying processes'
    const decision = { kind: 'quarantine', reason } as const
    const payload = await recovering.fetch()
    expect(await recovering.recover([payload], { decision })).toEqual([{ kind: 'quarantined' }])
    expect(await fixture.job(id)).toMatchObject({
      state: 'failed',
      retry_limit: 5,
      output: { message: reason },
    })
    expect(await fixture.jobs('dead')).toMatchObject([{ state: 'created', data: { n: 1 } }])
    // A person lets it run again.
    expect(await recovering.recover([payload], { cause: 'retry' })).toEqual([
      { kind: 'requeued', jobRef: `q/${id}` },
    ])
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', due: true, retry_limit: 5 })
  })

  it('a handed-off job does so too', async () => {
    const id = await fixture.add({}, { retryLimit: 1 })
    const payload = await recovering.handOff()
    const decision = { kind: 'quarantine', reason: 'no more' } as const
    expect(await recovering.recover([payload], { decision })).toEqual([{ kind: 'quarantined' }])
    expect(await fixture.job(id)).toMatchObject({
      state: 'failed',
      retry_limit: 1,
      output: { message: 'no more' },
    })
    await fixture.boss.deleteJob('q', id)
    expect(await recovering.recover([payload], { cause: 'retry' })).toMatchObject([{ kind: 'requeued' }])
    expect(await fixture.job(id)).toMatchObject({ state: 'retry' })
  })

  it('one attempt more is given once, where that is wanted', async () => {
    await using refunding = await Recovering.of(fixture, { onExhausted: 'refundOnce', name: 'refunding' })
    const id = await fixture.add({}, { retryLimit: 0 })
    expect(await refunding.recover([await refunding.fetch()])).toMatchObject([{ kind: 'requeued' }])
    const output = { message: expect.stringMatching(/^Given one more attempt: Worker process died/) }
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', retry_limit: 1, output })
    expect(await refunding.recover([await refunding.fetch()])).toMatchObject([{ kind: 'exhausted' }])
  })

  it('a tracked job that is gone can not be retried, and says so', async () => {
    await fixture.add()
    const payload = await recovering.fetch()
    await fixture.boss.deleteJob('q', payload.id)
    const error = { message: `Job ${payload.id} of queue "q" is no longer in pg-boss: send it again.` }
    expect(await recovering.recover([payload], { cause: 'retry' })).toMatchObject([{ kind: 'failed', error }])
  })
})
