import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker process that stops', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  // A lease so long that only handing over can be what makes the jobs run again.
  const patient = {
    heartbeatInterval: 10_000,
    orphanThreshold: 60_000,
    sweepInterval: 60_000,
    gcLockTtl: 60_000,
  }

  it.each(['track', 'guard'] as const)(
    'hands over at once what has not ended, which is no crash (%s)',
    async (way) => {
      const options = { way, monitor: patient, drain: 300 }
      const leaver = await fixture.worker(options)
      for (let n = 0; n < 6; n++) await fixture.add({ gate: 'open', listens: n < 3 }, { attempts: 2 })
      await fixture.started(6)
      const other = await fixture.worker(options)
      leaver.send('stop')
      await fixture.started(12)
      fixture.ledger.openGate('open')
      await fixture.completed(6)
      await leaver.message('stopped')
      expect(await leaver.exited).toEqual({ code: 0, signal: null })
      expect(await fixture.crashes()).toEqual([])
      const again = fixture.ledger.entries('start').filter(({ pid }) => pid === other.pid)
      expect(again.map(({ detail }) => (detail as { made: number }).made)).toEqual(Array(6).fill(0))
      if (way === 'track') {
        expect(fixture.ledger.entries('completed').filter(({ pid }) => pid === leaver.pid)).toEqual([])
        expect(fixture.ledger.entries('failed')).toEqual([])
      }
    },
  )

  it.each(['track', 'handOff'] as const)(
    'lets those end that do so in time, and fetches no more (%s)',
    async (way) => {
      const leaver = await fixture.worker({ way, drain: 20_000 })
      const retried = await fixture.add(
        { gate: 'open', fail: 'in time' },
        { attempts: 2, backoff: 3_600_000 },
      )
      for (let n = 0; n < 2; n++) await fixture.add({ gate: 'open', result: n })
      await fixture.started(3)
      leaver.send('stop')
      await until(async () => (await fixture.client.zcard(`${fixture.keys}delayed`)) === 0)
      const late = await fixture.add()
      fixture.ledger.openGate('open')
      await leaver.message('stopped')
      expect(await fixture.tasks()).toEqual([])
      expect(await fixture.places()).toMatchObject({ wait: [late.id], delayed: [retried.id], active: [] })
      expect((await fixture.places()).completed).toHaveLength(2)
    },
  )

  it.each(['close', 'closeByForce'])('a worker that is closed leaves no job behind (%s)', async (how) => {
    const leaver = await fixture.worker({ monitor: patient })
    const job = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    leaver.send(how)
    if (how === 'closeByForce') await leaver.message('closed')
    await fixture.worker({ monitor: patient })
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    // BullMQ writes no end for a worker that was closed by force, so the job runs again: at once, not when it has stalled.
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(how === 'close' ? 1 : 2)
    expect(await fixture.crashes()).toEqual([])
  })

  it('a worker that is closed by force gives back what begins', async () => {
    const leaver = await fixture.worker({ hidesTasks: true })
    const job = await fixture.add()
    await until(async () => Number((await fixture.hash(job.id)).ats ?? 0) > 0, { what: 'it is fetched' })
    leaver.send('closeByForce')
    await leaver.message('closed')
    await until(async () => (await fixture.places()).wait.includes(job.id), { what: 'it is given back' })
    expect(fixture.ledger.entries('start')).toEqual([])
    expect(fixture.ledger.entries('error')).toEqual([])
  })

  it.each(['track', 'handOff'] as const)(
    'whose worker never had a job gives back what that fetches afterwards (%s)',
    async (way) => {
      const leaver = await fixture.worker({ way })
      leaver.send('stopMonitor')
      await leaver.message('monitorStopped')
      const job = await fixture.add({ gate: 'open' })
      await until(async () => Number((await fixture.hash(job.id)).ats ?? 0) > 0, { what: 'it is fetched' })
      await until(async () => (await fixture.places()).wait.includes(job.id), { what: 'it is given back' })
      leaver.send('stop')
      await leaver.message('stopped')
      expect(await leaver.exited).toEqual({ code: 0, signal: null })
      const other = await fixture.worker({ way })
      fixture.ledger.openGate('open')
      await fixture.completed(1)
      await fixture.settled()
      expect(fixture.ledger.entries('start')).toMatchObject([{ pid: other.pid, detail: { made: 0 } }])
      expect(fixture.ledger.entries('failed')).toEqual([])
    },
  )

  it('whose monitor has never started lets its worker be closed, and gives back what that has fetched', async () => {
    const leaver = await fixture.worker({ neverStarts: true })
    const job = await fixture.add()
    await until(async () => (await fixture.places()).active.includes(job.id), { what: 'it is fetched' })
    leaver.send('close')
    await leaver.message('closed')
    expect(await fixture.places()).toMatchObject({ wait: [job.id], active: [] })
    expect(fixture.ledger.entries('start')).toEqual([])
  })
})
