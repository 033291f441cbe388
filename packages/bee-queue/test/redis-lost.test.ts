import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { PrivateRedis } from './support/private-redis.js'
import { TIMES } from './support/times.js'

describe('Redis that comes back empty', () => {
  let redis: PrivateRedis
  let fixture: Fixture
  beforeEach(async () => {
    redis = await PrivateRedis.create({ persistent: false })
    fixture = await Fixture.create({ redis: redis.url })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await redis[Symbol.asyncDispose]()
  })

  it.each([false, true])(
    'has the jobs of a dead worker restored under their ids, and the producer hears (removeOnSuccess %s)',
    async (removeOnSuccess) => {
      const settings = { removeOnSuccess }
      const victim = await fixture.worker({ settings })
      const jobs = []
      for (let n = 0; n < 5; n++)
        jobs.push(await fixture.add({ gate: 'open', result: n }, (job) => job.retries(3)))
      const answers = jobs.map((job) => new Promise((resolve) => job.on('succeeded', resolve as never)))
      await fixture.started(5)
      const text = await fixture.command('hget', 'jobs', jobs[0]!.id)
      await victim.kill()
      await redis.restart()
      expect((await fixture.holds()).jobs).toEqual([])
      const survivor = await fixture.worker({ settings })
      await fixture.started(10)
      // What was stored is stored again, to the byte.
      expect(await fixture.command('hget', 'jobs', jobs[0]!.id)).toBe(text)
      fixture.ledger.openGate('open')
      expect(await Promise.all(answers)).toEqual([0, 1, 2, 3, 4])
      await fixture.settled()
      expect(fixture.ledger.entries('start').filter(({ pid }) => pid === survivor.pid)).toHaveLength(5)
      expect((await fixture.holds()).jobs).toHaveLength(removeOnSuccess ? 0 : 5)
      // New ids are counted on from the ones restored, so that none is dropped for being taken.
      expect(Number((await fixture.add()).id)).toBeGreaterThan(5)
    },
  )

  it('leaves the jobs of the living with them, and shows them again', async () => {
    await fixture.worker()
    const job = await fixture.add({ gate: 'open', result: 'kept' })
    const answer = new Promise((resolve) => job.on('succeeded', resolve as never))
    await fixture.started(1)
    await redis.restart()
    await until(async () => (await fixture.holds()).active.length === 1, {
      what: 'the job is shown as active again',
    })
    // A new job gets an id of its own, and is not dropped.
    const next = await fixture.add()
    expect(next.id).not.toBe(job.id)
    await fixture.succeeded(1)
    fixture.ledger.openGate('open')
    expect(await answer).toBe('kept')
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
    expect((await fixture.holds()).succeeded).toEqual([job.id, next.id].sort())
  })

  it('restores one whose id another job has taken under an id of its own', async () => {
    const victim = await fixture.worker()
    const old = await fixture.add({ gate: 'open', result: 'old' })
    await fixture.started(1)
    await victim.kill()
    await redis.restart()
    // Added by a process whose bee-queue has just taught Redis its scripts again, under the counter that begins anew.
    const other = fixture.queue.createJob({ gate: 'open', result: 'new' }) as unknown as { toData(): string }
    expect(String(await fixture.command('incr', 'id'))).toBe(old.id)
    await fixture.command('hset', 'jobs', old.id, other.toData())
    await fixture.command('lpush', 'waiting', old.id)
    await fixture.worker()
    await fixture.started(3)
    fixture.ledger.openGate('open')
    await fixture.settled()
    const succeeded = await until(() => {
      const ends = fixture.ledger.entries('succeeded')
      return ends.length >= 2 ? ends : undefined
    })
    expect(succeeded.map(({ detail }) => detail).sort()).toEqual(['new', 'old'])
    expect(succeeded.find(({ detail }) => detail === 'old')!.job).toMatch(/^1~[0-9a-f]{12}$/)
    const [recovery] = (await fixture.recoveries()).filter(({ outcome }) => outcome === 'requeued')
    expect(recovery!.new_job_ref).not.toBe(recovery!.job_ref)
  })

  it('and is given a running job again, before its worker has shown it anew, leaves the job to that worker', async () => {
    const monitor = { orphanThreshold: 6_000 }
    const first = await fixture.worker({ monitor })
    const job = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    const text = await fixture.command<string>('hget', 'jobs', job.id)
    await fixture.worker({ monitor })
    first.pause()
    await redis.restart()
    await fixture.command('hset', 'jobs', job.id, text)
    await fixture.command('lpush', 'waiting', job.id)
    await until(async () => (await fixture.holds()).active.length === 1, { what: 'the other has popped it' })
    await until(async () => (await fixture.command('hlen', 'holdfast:owners')) === 0)
    first.resume()
    await until(async () => (await fixture.command('hlen', 'holdfast:owners')) === 1)
    fixture.ledger.openGate('open')
    await fixture.succeeded(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start').map(({ pid }) => pid)).toEqual([first.pid])
    await expect.poll(() => fixture.ledger.entries('succeeded').map(({ pid }) => pid)).toEqual([first.pid])
  })

  it.each([false, true])(
    'lets a worker that stood still end nothing, once its job has run elsewhere (removeOnSuccess %s)',
    async (removeOnSuccess) => {
      const settings = { removeOnSuccess }
      const zombie = await fixture.worker({ settings })
      const job = await fixture.add({ gate: 'open', result: 1 })
      await fixture.started(1)
      const survivor = await fixture.worker({ settings })
      zombie.pause()
      await redis.restart()
      await fixture.started(2)
      fixture.ledger.openGate('open')
      await until(() => fixture.ledger.entries('succeeded').length === 1)
      zombie.resume()
      await zombie.message('evicted')
      await until(() => fixture.ledger.entries('finish').length === 2)
      await zombie.message('queueError')
      // It goes on with others, and the job stays as it was.
      await fixture.add()
      await until(() => fixture.ledger.entries('succeeded').length === 2)
      await fixture.settled()
      expect(fixture.ledger.entries('succeeded', job.id).map(({ pid }) => pid)).toEqual([survivor.pid])
      expect(fixture.ledger.entries('start', job.id)).toHaveLength(2)
      expect(await fixture.command('hlen', 'holdfast:owners')).toBe(0)
    },
  )

  it('and is told the id of a running job anew by its producer keeps the new job, whatever becomes of the old', async () => {
    const worker = await fixture.worker({ concurrency: 1 })
    const old = await fixture.add({ gate: 'open', result: 'old' }, (job) => job.setId('mine'))
    await fixture.started(1)
    // In one go, so that the worker comes too late to show its job again.
    worker.pause()
    await redis.restart()
    const anew = fixture.queue.createJob({ result: 'new' }) as unknown as { toData(): string }
    await fixture.command('hset', 'jobs', old.id, anew.toData())
    await fixture.command('lpush', 'waiting', old.id)
    worker.resume()
    fixture.ledger.openGate('open')
    await until(() => fixture.ledger.entries('finish').length === 2)
    await fixture.settled()
    await expect.poll(() => fixture.ledger.entries('succeeded').map(({ detail }) => detail)).toEqual(['new'])
    expect(JSON.parse(await fixture.command('hget', 'jobs', 'mine'))).toMatchObject({
      data: { result: 'new' },
    })
    expect(await worker.message('queueError')).toBeDefined()
  })

  it.each([false, true])(
    'gets the ends of jobs that were reached while it was away, once (removeOnSuccess %s)',
    async (removeOnSuccess) => {
      const settings = { removeOnSuccess, stallInterval: 200 }
      await fixture.worker({ settings, concurrency: 30 })
      for (let n = 0; n < 30; n++) await fixture.add({ gate: n % 2 === 0 ? 'first' : 'second' })
      await fixture.started(30)
      // The ends of some are under way when it goes, those of others come when it is gone.
      fixture.ledger.openGate('first')
      await redis.server.stop('immediate')
      fixture.ledger.openGate('second')
      await until(() => fixture.ledger.entries('finish').length === 30)
      await redis.server.start()
      await until(() => fixture.ledger.entries('succeeded').length === 30)
      await fixture.settled()
      // Whatever were left among the active ones would run again with the next checks.
      for (let n = 0; n < 3; n++) {
        const proof = await fixture.command('incr', 'id')
        await fixture.command(
          'hset',
          'jobs',
          `proof ${proof}`,
          `{"data":{},"options":{"timestamp":${n},"stacktraces":[]}}`,
        )
        await fixture.command('lpush', 'active', `proof ${proof}`)
        await until(() => fixture.ledger.entries('succeeded', `proof ${proof}`).length === 1)
      }
      expect(fixture.ledger.entries('start')).toHaveLength(33)
      expect(await fixture.command('hlen', 'holdfast:owners')).toBe(0)
      expect((await fixture.holds()).active).toEqual([])
    },
  )
})

describe('Redis that restarts with its data', () => {
  let redis: PrivateRedis
  let fixture: Fixture
  beforeEach(async () => {
    redis = await PrivateRedis.create()
    fixture = await Fixture.create({ redis: redis.url })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await redis[Symbol.asyncDispose]()
  })

  it('knows bee-queue’s scripts again: jobs are added, delayed ones activated, stalled ones found', async () => {
    const settings = { activateDelayedJobs: true, delayedDebounce: 10, stallInterval: 400 }
    const worker = await fixture.worker({ settings })
    const running = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    const delayed = await fixture.add({}, (job) => job.delayUntil(Date.now() + 2_500))
    await redis.restart()
    // The producer's own `save()` works too, since the worker has taught Redis anew.
    await until(async () => (await fixture.server<number[]>('script', 'exists', ADD_JOB))[0] === 1)
    const added = await fixture.add()
    // One that was popped and never begun, as a crash between the two leaves it.
    const stranded = await fixture.add({}, (job) => job.setId('stranded'))
    await fixture.command('lrem', 'waiting', 0, stranded.id)
    await fixture.command('lpush', 'active', stranded.id)
    fixture.ledger.openGate('open')
    await fixture.succeeded(4)
    await fixture.settled()
    expect((await fixture.holds()).succeeded).toEqual([running.id, delayed.id, added.id, stranded.id].sort())
    expect(fixture.ledger.entries('start', running.id)).toHaveLength(1)
    expect(worker.process.exitCode).toBeNull()
  })

  it('and hangs before for many leases is no death of its workers', async () => {
    await fixture.worker()
    await fixture.worker()
    for (let n = 0; n < 4; n++) await fixture.add({ gate: 'open' })
    await fixture.started(4)
    await redis.server.pause()
    fixture.ledger.openGate('open')
    await until(() => fixture.ledger.entries('finish').length === 4)
    const since = performance.now()
    await until(() => performance.now() - since > 3 * TIMES.orphanThreshold, {
      what: 'every lease in Redis has long run out',
    })
    await redis.server.resume()
    await fixture.succeeded(4)
    await fixture.settled()
    expect(fixture.ledger.entries('start')).toHaveLength(4)
    expect(await fixture.recoveries()).toEqual([])
  })

  it('has every job of dead workers back, though all died with it', async () => {
    const victims = [await fixture.worker({ concurrency: 600 }), await fixture.worker({ concurrency: 600 })]
    await Promise.all(Array.from({ length: 1_200 }, () => fixture.add({ gate: 'open' })))
    await fixture.started(1_200)
    await redis.server.stop('immediate')
    for (const victim of victims) await victim.kill()
    await redis.server.start()
    await fixture.worker({ concurrency: 1_200, monitor: { recoveryRate: 1_000 } })
    await fixture.started(2_400)
    fixture.ledger.openGate('open')
    await fixture.succeeded(1_200)
    await fixture.settled()
    expect(fixture.ledger.entries('finish')).toHaveLength(1_200)
  })
})

/** SHA-1 of bee-queue's addJob.lua, the same in all versions. */
const ADD_JOB = '6ecea656d685389e1ac506df66563aa29424c126'
