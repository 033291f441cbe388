import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe.each(['track', 'handOff'] as const)('a job that runs unprotected (%s)', (way) => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** A worker whose tasks can't be registered, though its heart beats. */
  async function work(options: object = {}) {
    const monitor = { onRegisterFailure: 'run-unprotected' as const, orphanThreshold: 60_000 }
    const worker = await fixture.worker({ way, monitor, handOffConcurrency: 1, ...options })
    await sql`alter table holdfast_tasks rename to elsewhere`.execute(fixture.db)
    return worker
  }

  const starts = (id: string): object[] =>
    fixture.ledger.entries('start', id).map(({ detail }) => detail as object)

  it('is active while it runs, and has succeeded when that is over', async () => {
    await work()
    const job = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    expect(await fixture.holds()).toMatchObject({ active: [job.id], succeeded: [] })
    fixture.ledger.openGate('open')
    await fixture.succeeded(1)
    expect(starts(job.id)).toMatchObject([{ protected: false }])
    expect(await fixture.command('hlen', 'holdfast:owners')).toBe(0)
    // Its place is free again.
    await fixture.add()
    await fixture.succeeded(2)
  })

  it('fails by its retries', async () => {
    await work()
    const job = await fixture.add({ fail: 'on purpose' }, (job) => job.retries(1))
    await until(async () => (await fixture.holds()).failed.includes(job.id), { what: 'it has failed' })
    expect(starts(job.id)).toMatchObject([
      { protected: false, retries: 1 },
      { protected: false, retries: 0 },
    ])
  })

  it('can’t be given back: that is a failure as any', async () => {
    await work()
    const job = await fixture.add({ endings: ['release'] }, (job) => job.retries(1))
    await fixture.succeeded(1)
    expect(starts(job.id)).toMatchObject([{ retries: 1 }, { retries: 0 }])
    const { stacktraces } = JSON.parse(await fixture.command('hget', 'jobs', job.id)).options
    expect(stacktraces[0]).toContain('runs unprotected')
  })

  it('that is ended by its handler, which throws then, has succeeded', async () => {
    const worker = await work()
    const job = await fixture.add({ endings: ['complete twice'] }, (job) => job.retries(1))
    const { message } = await worker.message<{ message: string }>('queueError')
    expect(message).toMatch(/the job has succeeded/)
    await fixture.succeeded(1)
    expect(starts(job.id)).toHaveLength(1)
  })

  it('is waited for when its process stops', async () => {
    const leaver = await work({ drain: 600_000 })
    const job = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    leaver.send('stop')
    const later = await fixture.add()
    await until(async () => (await fixture.holds()).waiting.includes(later.id))
    await expect.poll(() => leaver.messages).not.toContainEqual(expect.objectContaining({ type: 'stopped' }))
    fixture.ledger.openGate('open')
    await leaver.message('stopped')
    expect(await fixture.holds()).toMatchObject({ succeeded: [job.id], waiting: [later.id] })
  })

  it('comes back by bee-queue’s own check when its process dies', async () => {
    const victim = await work({
      settings: { stallInterval: 200 },
      monitor: { onRegisterFailure: 'run-unprotected' },
    })
    const job = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    await victim.kill()
    await sql`alter table elsewhere rename to holdfast_tasks`.execute(fixture.db)
    await fixture.worker({ way, settings: { stallInterval: 200 } })
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.succeeded(1)
    await fixture.settled()
    expect(starts(job.id)).toMatchObject([{ protected: false }, { protected: true }])
    expect(await fixture.crashes()).toEqual([])
  })
})
