import { type Child, until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import type { Worker } from 'bullmq'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bullmqAdapter } from '../src/index.js'
import { bullmq, connectionOf } from './support/bull.js'
import { Fixture } from './support/fixture.js'
import { TIMES } from './support/times.js'

/** BullMQ takes a job for stalled as soon as it can, and fails one that stalls for the second time. */
const HASTY = { lockDuration: 400, stalledInterval: 100, maxStalledCount: 1 }

/** Longer than an event loop is blocked here, on a busy machine too. */
const monitor = { heartbeatInterval: 500, orphanThreshold: 6_000 }

describe('a job that its process took back', () => {
  let fixture: Fixture
  const others: Worker[] = []
  const sweepers: TaskMonitor[] = []
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(async () => {
    for (const sweeper of sweepers.splice(0)) await sweeper.stop({ drain: 0 })
    for (const other of others.splice(0)) await other.close(true)
    await fixture[Symbol.asyncDispose]()
  })

  const lockOf = (id: string): Promise<string | null> => fixture.client.get(`${fixture.keys}${id}:lock`)
  const starts = async (id: string): Promise<number> => Number((await fixture.hash(id)).ats ?? 0)
  const stalls = async (id: string): Promise<number> => Number((await fixture.hash(id)).stc ?? 0)

  /** Sweeps without working on jobs. */
  async function sweeps(): Promise<void> {
    const logger = { warn: () => undefined, error: () => undefined }
    const adapters = [bullmqAdapter({ queues: [fixture.queue] })]
    const sweeper = new TaskMonitor({ db: fixture.db, adapters, logger, ...TIMES })
    sweepers.push(sweeper)
    await sweeper.start()
  }

  /** A worker of no Holdfast, whose jobs are fetched by hand: nothing renews their locks. */
  async function byHand(): Promise<Worker> {
    const connection = connectionOf(fixture.redis)
    const settings = { ...HASTY, maxStalledCount: 50, autorun: false }
    const worker = new bullmq.Worker(fixture.queue.name, null, { connection, ...settings })
    worker.on('error', () => undefined)
    others.push(worker)
    await worker.startStalledCheckTimer()
    return worker
  }

  /** Stands still for longer than its locks live, until another worker has fetched its job; then takes that back. */
  async function standsStill(victim: Child, id: string, token: string): Promise<void> {
    const before = await starts(id)
    victim.pause()
    await until(async () => (await starts(id)) > before, { what: 'another worker fetches the job' })
    victim.resume()
    await takenBack(id, token)
  }

  /** And its lock is renewed by its worker as before. */
  async function takenBack(id: string, token: string): Promise<void> {
    await until(async () => (await lockOf(id)) === token, { what: 'the job is taken back' })
    const left = (): Promise<number> => fixture.client.pttl(`${fixture.keys}${id}:lock`)
    await until(async () => (await left()) <= HASTY.lockDuration, { what: 'the lock is renewed' })
  }

  async function runsAgainOnce(victim: Child, job: { id: string }): Promise<void> {
    await victim.kill()
    await until(() => fixture.ledger.entries('start', job.id).length === 2, { what: 'the job runs again' })
    fixture.ledger.openGate('open')
    await until(() => fixture.ledger.entries('finish', job.id).length === 1)
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)[1]!.detail).toMatchObject({ made: 0 })
    expect(await fixture.hash(job.id)).toMatchObject({ atm: '1' })
    expect(await fixture.hash(job.id)).not.toHaveProperty('failedReason')
    await expect.poll(() => fixture.crashes()).toEqual([1])
    expect(await fixture.quarantine()).toEqual([])
  }

  it.each([1, 2])('runs again when that process is killed (after %i blocks)', async (times) => {
    const victim = await fixture.worker({ settings: HASTY, monitor })
    const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
    await fixture.started(1)
    const token = (await lockOf(job.id))!
    await fixture.worker({ settings: HASTY, monitor })
    for (let time = 1; time <= times; time++) await standsStill(victim, job.id, token)
    await runsAgainOnce(victim, job)
    expect(fixture.ledger.entries('failed')).toEqual([])
  })

  it('runs again when its lock runs out before it is recovered, and no worker looks for stalled jobs', async () => {
    const settings = { ...HASTY, skipStalledCheck: true }
    const victim = await fixture.worker({ settings, monitor })
    const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
    await fixture.started(1)
    const token = (await lockOf(job.id))!
    const other = await byHand()
    victim.pause()
    await until(async () => await other.getNextJob('other:1'), { what: 'the job is fetched by hand' })
    await other.close()
    victim.resume()
    await takenBack(job.id, token)
    await victim.kill()
    await until(async () => (await lockOf(job.id)) === null, { what: 'the lock runs out' })
    await fixture.worker({ settings, monitor })
    await runsAgainOnce(victim, job)
  })

  it('runs again when it was that process itself that had fetched it once more', async () => {
    const victim = await fixture.worker({ settings: HASTY, monitor })
    const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
    await fixture.started(1)
    const token = (await lockOf(job.id))!
    victim.pause()
    await until(async () => (await lockOf(job.id)) === null, { what: 'the lock runs out' })
    // What the stalled check would do of itself, sooner or later.
    const stalling = await byHand()
    await until(async () => (await stalls(job.id)) > 0, { what: 'the job stalls' })
    await stalling.close()
    victim.resume()
    await until(async () => (await starts(job.id)) > 1, { what: 'the process fetches it again' })
    await takenBack(job.id, token)
    await fixture.worker({ settings: HASTY, monitor })
    await runsAgainOnce(victim, job)
  })

  it('which a Redis that lost its last writes had offered again, runs again', async () => {
    const victim = await fixture.worker({ settings: HASTY, monitor })
    const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
    await fixture.started(1)
    const token = (await lockOf(job.id))!
    await fixture.worker({ settings: HASTY, monitor })
    victim.pause()
    // The fetch never was; and since, two others have it after one another.
    await fixture.client
      .multi()
      .del(`${fixture.keys}${job.id}:lock`, `${fixture.keys}holdfast:epoch`)
      .lrem(`${fixture.keys}active`, 0, job.id)
      .hdel(`${fixture.keys}${job.id}`, 'ats')
      .lpush(`${fixture.keys}wait`, job.id)
      .zadd(`${fixture.keys}marker`, 0, '0')
      .exec()
    await until(async () => (await starts(job.id)) > 1, { what: 'others fetch the job twice' })
    victim.resume()
    await takenBack(job.id, token)
    await runsAgainOnce(victim, job)
  })

  it('is failed by no stall while its process lives, however often it is blocked', async () => {
    const settings = { ...HASTY, maxStalledCount: 2 }
    const worker = await fixture.worker({ settings, monitor })
    const job = await fixture.add({ gate: 'open', result: 1 }, { attempts: 3 })
    await fixture.started(1)
    const token = (await lockOf(job.id))!
    await fixture.worker({ settings, monitor })
    for (let time = 1; time <= 4; time++) await standsStill(worker, job.id, token)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start').map(({ pid }) => pid)).toEqual([worker.pid])
    expect(fixture.ledger.entries('failed')).toEqual([])
    expect(fixture.ledger.entries('completed')).toMatchObject([{ pid: worker.pid, detail: 1 }])
    expect(await fixture.crashes()).toEqual([])
  })

  it('or that was recovered, is its next run’s alone when a person retried it with its counts anew', async () => {
    const settings = { way: 'handOff', monitor: { ...monitor, maxRecoveries: 0 } } as const
    await fixture.worker(settings)
    const job = await fixture.add({ kill: true }, { attempts: 2 })
    await fixture.started(1)
    await fixture.worker(settings)
    await until(async () => (await fixture.places()).failed.includes(job.id), { what: 'quarantined' })
    await job.updateData({ fail: 'boom' } as never)
    const anew = { resetAttemptsMade: true, resetAttemptsStarted: true }
    await job.retry('failed', anew as never)
    await until(() => fixture.ledger.entries('start', job.id).length === 3, { what: 'tried again' })
    await until(async () => (await fixture.places()).failed.includes(job.id), { what: 'it has failed' })
    expect((await fixture.places()).failed).toEqual([job.id])
    expect(await fixture.hash(job.id)).toMatchObject({ failedReason: 'boom' })
  })

  describe('and others', () => {
    it('who died over asking whose it is lose it to nobody', async () => {
      const victim = await fixture.worker({ settings: HASTY, monitor })
      const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
      await fixture.started(1)
      victim.pause()
      const other = await byHand()
      for (let fetch = 1; fetch <= 2; fetch++) {
        await until(async () => await other.getNextJob(`other:${fetch}`), {
          what: 'the job is fetched by hand',
        })
      }
      await other.close()
      await until(async () => (await lockOf(job.id)) === null, { what: 'the lock runs out' })
      expect((await fixture.places()).active).toEqual([job.id])
      victim.resume()
      await victim.kill()
      await sweeps()
      // It can't be told from one that they run, so BullMQ is to say first that it is abandoned, which fails it.
      await until(async () => (await fixture.crashes()).length === 1, { what: 'the crash is counted' })
      expect((await fixture.places()).active).toEqual([job.id])
      await fixture.worker({ settings: HASTY, monitor })
      await runsAgainOnce(victim, job)
    })

    it('who run it are left to it: by its lock, and without until BullMQ takes that for stalled', async () => {
      const victim = await fixture.worker({ settings: HASTY, monitor })
      const job = await fixture.add({ gate: 'open', blockUntil: 'victim' }, { attempts: 3 })
      await fixture.started(1)
      const stranger = await fixture.worker({ way: 'plain', settings: { ...HASTY, maxStalledCount: 50 } })
      await until(() => fixture.ledger.entries('start', job.id).length >= 2, { what: 'a stranger runs it' })
      await victim.kill()
      await sweeps()
      await until(async () => (await fixture.crashes()).length === 1, { what: 'the crash is counted' })
      expect((await fixture.places()).active).toEqual([job.id])
      stranger.pause()
      await until(async () => (await lockOf(job.id)) === null, { what: 'the lock runs out' })
      // Looked at again and again, it stays.
      const { retry_at: first } = (await fixture.tasks())[0] as never as { retry_at: Date }
      await until(async () => {
        const [task] = (await fixture.tasks()) as never as { retry_at: Date }[]
        return task !== undefined && String(task.retry_at) !== String(first)
      })
      expect((await fixture.places()).active).toEqual([job.id])
      stranger.resume()
      fixture.ledger.openGate('victim')
      fixture.ledger.openGate('open')
      await fixture.completed(1)
      await fixture.settled()
      expect(await fixture.quarantine()).toEqual([])
    })
  })
})
