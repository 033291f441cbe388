import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

/** Of a process that is to be taken for dead, though it was not killed. */
const MORTAL = { orphanThreshold: 1_500 }

describe('a worker process paused for longer than its lease', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('whose handler ends while another runs the job does not take it away from the other', async () => {
    const zombie = await fixture.worker({ monitor: MORTAL })
    const job = await fixture.add('guarded', { gate: 'first' }, { queueName: 'serial' })
    await fixture.started(1)
    const survivor = await fixture.worker()
    zombie.pause()
    await fixture.started(2)
    zombie.resume()
    await zombie.message('evicted')
    await survivor.kill()
    // A third one takes over; the zombie's late end must leave the row to it.
    const third = await fixture.worker({ pollInterval: 500 })
    await fixture.started(3)
    await fixture.openGate('first')
    await until(async () => (await fixture.jobs()).length === 0)
    const finishes = await fixture.ledger('finish')
    expect(finishes.filter(({ pid }) => pid === third.pid)).toEqual([expect.objectContaining({ job })])
    expect(await fixture.lockedQueues()).toEqual([])
  })

  it('that had finished a job of a named queue, but not yet said so, does not lock that queue for ever', async () => {
    // graphile-worker's own completion then comes a minute late, by id alone.
    const preset = { worker: { completeJobBatchDelay: 60_000 } }
    const zombie = await fixture.worker({ preset, monitor: MORTAL })
    const first = await fixture.add('guarded', {}, { queueName: 'serial' })
    await fixture.finished(1)
    // Sooner than what is looked after later: ends that graphile-worker failed to write, after two seconds.
    await until(async () => (await fixture.jobs()).length === 0, {
      what: 'the job is removed at once, with its lock',
      timeout: 1_500,
    })
    expect(await fixture.lockedQueues()).toEqual([])
    zombie.pause()
    const survivor = await fixture.worker()
    const second = await fixture.add('guarded', {}, { queueName: 'serial' })
    await fixture.finished(2)
    const finishes = await fixture.ledger('finish')
    expect(finishes.map(({ job, pid }) => [job, pid])).toEqual([
      [first, zombie.pid],
      [second, survivor.pid],
    ])
    zombie.resume()
  })

  it('takes no job on waking that it could not finish: what its pool still fetches is given back', async () => {
    const zombie = await fixture.worker({ concurrency: 3, pollInterval: 50, monitor: MORTAL })
    await fixture.add('guarded', { gate: 'open' })
    await fixture.started(1)
    zombie.pause()
    // Busy with the one job that it took over, so that only the zombie can fetch the other.
    const survivor = await fixture.worker({ concurrency: 1, pollInterval: 200 })
    await fixture.started(2)
    const late = await fixture.add('guarded', {}, { maxAttempts: 1 })
    zombie.resume()
    await zombie.message('evicted')
    await fixture.openGate('open')
    await zombie.message('runnerEnded')
    await until(async () => (await fixture.jobs()).length === 0)
    const ofLate = (await fixture.ledger()).filter(({ job }) => job === late)
    expect(ofLate.map(({ what, pid, attempts }) => [what, pid, attempts])).toEqual([
      ['start', survivor.pid, 1],
      ['finish', survivor.pid, 1],
    ])
  })

  it('whose own pool fetches the job again ends neither that run nor the next one', async () => {
    const zombie = await fixture.worker({ concurrency: 3, pollInterval: 20, monitor: MORTAL })
    const id = await fixture.add('guarded', { gate: 'open' })
    await fixture.started(1)
    // It recovers, and runs nothing: only the zombie can fetch the job.
    await fixture.worker({ runner: { taskList: {} } })
    zombie.pause()
    await until(async () => (await fixture.jobs())[0]?.lockedBy === null)
    zombie.resume()
    await zombie.message('evicted')
    await fixture.openGate('open')
    await zombie.message('runnerEnded')
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id, attempts: 1, lockedBy: null, lastError: null, available: true }),
    ])
    const next = await fixture.worker({ pollInterval: 100 })
    await until(async () => (await fixture.jobs()).length === 0)
    expect((await fixture.ledger('start')).map(({ pid, attempts }) => [pid, attempts])).toEqual([
      [zombie.pid, 1],
      [next.pid, 2],
    ])
  })

  it('whose handler returns in the moment of waking, before it can know, does not end the run of another', async () => {
    const zombie = await fixture.worker({ monitor: MORTAL })
    const id = await fixture.add('guarded', { message: 'go' })
    await fixture.started(1)
    const survivor = await fixture.worker()
    zombie.pause()
    await fixture.started(2)
    zombie.send('go') // The first thing that it hears.
    zombie.resume()
    await zombie.message('done')
    await zombie.message('runnerEnded')
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id, attempts: 2, lockedBy: expect.any(String), lastError: null }),
    ])
    survivor.send('go')
    await until(async () => (await fixture.jobs()).length === 0)
    expect(await fixture.ledger('start')).toHaveLength(2)
  })
})

describe('a worker process', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('that was declared dead and is killed after that leaves no job locked that it has taken since', async () => {
    // It recovers, and runs nothing: only the zombie can fetch the job.
    await fixture.worker({ runner: { taskList: {} } })
    const monitor = { heartbeatInterval: 8_000, orphanThreshold: 24_000, gcLockTtl: 16_000 }
    const zombie = await fixture.worker({ monitor })
    const ofZombie = async () =>
      (await fixture.tasks()).filter(({ processId }) => processId.includes(`:${zombie.pid}:`))
    await sql`update holdfast_processes set state = 'dead' where pid = ${zombie.pid}::int`.execute(fixture.db)
    await until(async () => (await ofZombie()).length === 0)
    // It doesn't know yet.
    await fixture.add('guarded', { gate: 'never' })
    await fixture.started(1)
    await zombie.message('evicted')
    await until(async () => (await ofZombie()).length === 1, { what: 'its pool has a row again' })
    await zombie.kill()
    await sql`update holdfast_processes set state = 'dead' where pid = ${zombie.pid}::int`.execute(fixture.db)
    await until(async () => (await fixture.jobs())[0]!.lockedBy === null)
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ attempts: 1, available: true })])
  })

  it('whose heartbeats don’t get through for as long as its lease tells tasks that listen', async () => {
    const worker = await fixture.worker({ monitor: MORTAL })
    await fixture.add('listening', { gate: 'never' }, { maxAttempts: 1 })
    await fixture.started(1)
    await fixture.db.transaction().execute(async (trx) => {
      await sql`lock table holdfast_processes in exclusive mode`.execute(trx)
      await worker.message('leaseExpired')
    })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ lastError: expect.stringContaining('may soon be taken for dead') }),
    ])
  })
})
