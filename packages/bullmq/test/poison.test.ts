import { until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bullmqAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { TIMES } from './support/times.js'

describe('a job that kills its workers', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'guard'] as const)(
    'ends failed in BullMQ, with the reason and without a retry, and runs again when a person says so (%s)',
    async (way) => {
      const monitor = { maxRecoveries: 1 }
      const job = await fixture.add({ kill: true }, { attempts: 9 })
      for (let run = 1; run <= 2; run++) await (await fixture.worker({ way, monitor })).exited
      await using recoverer = new TaskMonitor({
        ...{ db: fixture.db, adapters: [bullmqAdapter({ queues: [fixture.queue] })], ...TIMES, ...monitor },
      })
      await recoverer.start()
      await until(async () => (await fixture.quarantine()).length === 1)
      expect(await fixture.places()).toMatchObject({ failed: [job.id], wait: [], active: [], delayed: [] })
      const [entry] = await fixture.quarantine()
      const { failedReason, atm, defa } = await fixture.hash(job.id)
      expect([failedReason, defa]).toEqual([entry!.reason, undefined])
      expect(fixture.ledger.entries('start')).toHaveLength(2)
      expect(await recoverer.quarantine.retry(entry!.id)).toMatchObject({ kind: 'requeued' })
      expect(await fixture.places()).toMatchObject({ failed: [], wait: [job.id] })
      expect(await fixture.hash(job.id)).toMatchObject({ atm: String(Number(atm) - 1) })
      expect(await fixture.hash(job.id)).not.toHaveProperty('failedReason')
    },
  )
})
