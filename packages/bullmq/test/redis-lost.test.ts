import { until } from '@holdfast/chaos'
import { type Services, startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('when Redis loses everything', () => {
  let services: Services
  let fixture: Fixture
  beforeAll(async () => {
    services = await startServices(['redis'], { private: true })
  })
  afterAll(() => services.stop())
  beforeEach(async () => {
    fixture = await Fixture.create(services.get('redis').url)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)(
    'what a dead worker had in hand comes back as it was (%s)',
    async (way) => {
      const victim = await fixture.worker({ way })
      const options = { attempts: 3, priority: 5, deduplication: { id: 'once' }, removeOnComplete: 10 }
      const job = await fixture.add({ gate: 'open', result: { text: 'ünïcode' } }, options)
      await fixture.started(1)
      const { data, opts, timestamp, name } = await fixture.hash(job.id)
      await victim.kill()
      await fixture.client.flushall()
      await fixture.worker({ way })
      await fixture.started(2)
      expect(await fixture.hash(job.id)).toMatchObject({ data, opts, timestamp, name, deid: 'once' })
      // New jobs get new ids.
      expect(Number((await fixture.add()).id)).toBeGreaterThan(Number(job.id))
      fixture.ledger.openGate('open')
      await fixture.completed(2)
      await fixture.settled()
      await expect.poll(() => fixture.outcomes()).toEqual(['requeued'])
    },
  )

  it('what a living worker has in hand ends there, and runs nowhere else', async () => {
    const settings = { lockDuration: 600, stalledInterval: 200 }
    const worker = await fixture.worker({ settings })
    const job = await fixture.add({ gate: 'open', result: 'here' })
    await fixture.started(1)
    await fixture.client.flushall()
    await fixture.worker({ settings })
    // With the next renewal of its lock it is written down again.
    await until(async () => (await fixture.places()).active.includes(job.id))
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start').map(({ pid }) => pid)).toEqual([worker.pid])
    expect((await fixture.hash(job.id)).returnvalue).toBe('"here"')
  })

  it('a job whose id was given to another comes back beside it', async () => {
    const victim = await fixture.worker()
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await victim.kill()
    await fixture.client.flushall()
    const newer = await fixture.add({ gate: 'newer' }, { delay: 3_600_000 })
    expect(newer.id).toBe(job.id)
    await fixture.worker()
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    expect((await fixture.places()).completed[0]).toMatch(new RegExp(`^${job.id}~`))
    expect((await fixture.places()).delayed).toEqual([newer.id])
  })

  it('a job that a restarted Redis offers again, though its worker lives, is left to that', async () => {
    const worker = await fixture.worker()
    const job = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    // What a Redis holds that has lost its last writes: the fetch never was.
    await fixture.client
      .multi()
      .del(`${fixture.keys}${job.id}:lock`, `${fixture.keys}holdfast:epoch`)
      .lrem(`${fixture.keys}active`, 0, job.id)
      .hdel(`${fixture.keys}${job.id}`, 'ats')
      .lpush(`${fixture.keys}wait`, job.id)
      .zadd(`${fixture.keys}marker`, 0, '0')
      .exec()
    await fixture.worker()
    await until(async () => Number((await fixture.hash(job.id)).ats ?? 0) > 0)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start').map(({ pid }) => pid)).toEqual([worker.pid])
  })
})

describe('when Redis refuses to write', () => {
  let services: Services
  let fixture: Fixture
  beforeEach(async () => {
    services = await startServices(['redis'], { private: true })
    fixture = await Fixture.create(services.get('redis').url)
    await sql`create table effects (job varchar(64) not null)`.execute(fixture.db)
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await services.stop()
  })

  it('a job that has committed is completed once it writes again, which is told until then', async () => {
    const worker = await fixture.worker()
    const job = await fixture.add({ endings: ['commit and go on'], result: 'kept' }, { attempts: 3 })
    await until(async () => (await sql`select * from effects`.execute(fixture.db)).rows.length === 1)
    await fixture.client.config('SET', 'min-replicas-to-write', '1')
    fixture.ledger.openGate(job.id)
    const told = () =>
      fixture.ledger.entries('error').filter(({ detail }) => String(detail).includes('NOREPLICAS'))
    await until(() => told().length > 4, { what: 'it is tried again' })
    await fixture.client.config('SET', 'min-replicas-to-write', '0')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
    expect((await fixture.hash(job.id)).returnvalue).toBe('"kept"')
    worker.send('stop')
    await worker.message('stopped')
  })
})
