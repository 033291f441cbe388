import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

const endless = { orphanThreshold: 3_600_000 }

describe('a worker process that stops', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('hands over what it still works on at once, without a lease having to end', async () => {
    const leaving = await fixture.worker({ monitor: endless })
    await fixture.add('handed', { gate: 'open' })
    await fixture.started(1)
    await until(async () => (await fixture.jobs()).length === 0)
    const staying = await fixture.worker({ monitor: endless })
    leaving.send('stop')
    await leaving.message('stopped')
    await fixture.started(2)
    await fixture.openGate('open')
    await fixture.finished(1)
    const [first, second] = await fixture.ledger('start')
    expect(second).toMatchObject({ pid: staying.pid, attempts: first!.attempts })
    expect((await sql`select * from holdfast_crashes`.execute(fixture.db)).rows).toEqual([])
    expect(await leaving.exited).toEqual({ code: 0, signal: null })
  })

  it('leaves no row behind when there was nothing to hand over', async () => {
    const worker = await fixture.worker()
    await fixture.add('guarded')
    await fixture.add('handed')
    await fixture.finished(2)
    worker.send('stop')
    await worker.message('stopped')
    expect(await fixture.tasks()).toEqual([])
    expect(await fixture.jobs()).toEqual([])
    expect((await sql`select * from holdfast_processes`.execute(fixture.db)).rows).toEqual([])
  })

  it('by its monitor alone, stops its runner too: no job may run unprotected', async () => {
    const leaving = await fixture.worker({ monitor: endless })
    await fixture.add('guarded', { gate: 'open' })
    await fixture.started(1)
    leaving.send('stopMonitor')
    await until(async () => (await fixture.jobs())[0]?.lockedBy === null, { what: 'the job is given back' })
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ attempts: 0, available: true })])
    await fixture.openGate('open')
    await leaving.message('stopped')
    // What its handler returned after that does not count.
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ available: true })])
    const next = await fixture.worker()
    await until(async () => (await fixture.jobs()).length === 0)
    expect((await fixture.ledger('finish')).some(({ pid }) => pid === next.pid)).toBe(true)
  })
})
