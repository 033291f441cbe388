import { patience, until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bullmq, connectionOf } from './support/bull.js'
import { Fixture } from './support/fixture.js'

describe('a worker process that is killed', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'guard'] as const)(
    'has its jobs run again, each exactly once, long before their locks run out (%s)',
    async (way) => {
      const victim = await fixture.worker({ way })
      for (let n = 0; n < 10; n++) await fixture.add({ gate: 'open', result: n })
      await fixture.started(10)
      const survivor = await fixture.worker({ way })
      await victim.kill()
      const killed = performance.now()
      await fixture.started(20)
      expect(performance.now() - killed).toBeLessThan(patience(15_000))
      fixture.ledger.openGate('open')
      await fixture.completed(10)
      await until(async () => (await fixture.tasks()).length === (way === 'guard' ? 1 : 0))
      const starts = fixture.ledger.entries('start')
      expect(starts.filter(({ pid }) => pid === victim.pid)).toHaveLength(10)
      expect(starts.filter(({ pid }) => pid === survivor.pid)).toHaveLength(10)
      // Neither an attempt nor a stall of BullMQ's is used up.
      expect(starts.map(({ detail }) => detail)).toEqual(
        starts.map(() => expect.objectContaining({ made: 0, stalled: 0 })),
      )
      expect(fixture.ledger.entries('finish')).toHaveLength(10)
      await expect.poll(() => fixture.outcomes()).toEqual(Array(10).fill('requeued'))
      expect(await fixture.crashes()).toEqual(Array(10).fill(1))
      expect(fixture.ledger.entries('error')).toEqual([])
    },
  )

  it('has what the producer waits for delivered by the next worker', async () => {
    const events = new bullmq.QueueEvents(fixture.queue.name, { connection: connectionOf(fixture.redis) })
    await events.waitUntilReady()
    try {
      const victim = await fixture.worker()
      const job = await fixture.add({ gate: 'open', progress: 40, result: { answer: 42 } })
      const finished = job.waitUntilFinished(events)
      await fixture.started(1)
      await fixture.worker()
      await victim.kill()
      await fixture.started(2)
      fixture.ledger.openGate('open')
      expect(await finished).toEqual({ answer: 42 })
    } finally {
      await events.close()
    }
  })

  it('without Holdfast would have kept them', async () => {
    const victim = await fixture.worker({ way: 'plain' })
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await fixture.worker({ way: 'plain' })
    await victim.kill()
    const proof = await fixture.add()
    await until(() => fixture.ledger.entries('finish', proof.id).length === 1)
    expect((await fixture.places()).active).toContain(job.id)
  })
})
