import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('beside what else BullMQ offers', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('a job that is cancelled hears of it, and fails as any', async () => {
    const worker = await fixture.worker()
    const job = await fixture.add({ gate: 'never', listens: true })
    await fixture.started(1)
    worker.send({ cancel: job.id })
    await expect.poll(async () => (await fixture.places()).failed).toEqual([job.id])
    expect(fixture.ledger.entries('aborted', job.id)).toHaveLength(1)
    await fixture.settled()
    expect(await fixture.crashes()).toEqual([])
  })

  it('a guarded worker whose processor is in a file of its own has its jobs run again', async () => {
    const sandbox = fileURLToPath(new URL('./support/sandboxed.cjs', import.meta.url))
    const options = { way: 'guard', sandbox, settings: { useWorkerThreads: true, concurrency: 2 } } as const
    const victim = await fixture.worker(options)
    const { folder } = fixture.ledger
    const jobs = [
      await fixture.add({ gate: 'open', folder } as object),
      await fixture.add({ gate: 'open', folder } as object),
    ]
    await fixture.started(2)
    const survivor = await fixture.worker(options)
    await victim.kill()
    await fixture.started(4)
    fixture.ledger.openGate('open')
    await fixture.completed(2)
    const pids = fixture.ledger.entries('start').map(({ pid }) => pid)
    expect(pids).toEqual([victim.pid, victim.pid, survivor.pid, survivor.pid])
    expect(fixture.ledger.entries('finish')).toHaveLength(jobs.length)
    expect(await fixture.crashes()).toEqual([1, 1])
  })
})
