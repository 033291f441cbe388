import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a job that goes to quarantine', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const silent = { removeOnFailure: true, sendEvents: false }

  it.each([
    ['kept and told', {}, silent],
    ['removed and not told', silent, {}],
  ])(
    'is %s, as the queue that took it has it, whatever that of the sweeper has',
    async (what, took, sweeps) => {
      const told: string[] = []
      fixture.queue.on('job failed', ((id: string) => told.push(id)) as never)
      const victim = await fixture.worker({ settings: took, monitor: { maxRecoveries: 0 } })
      const job = await fixture.add({ gate: 'never' }, (job) => job.retries(2))
      await fixture.started(1)
      await fixture.worker({ settings: sweeps, monitor: { maxRecoveries: 0 } })
      await victim.kill()
      await until(async () => (await fixture.quarantine()).length === 1, { what: 'it is in quarantine' })
      // Told after what was to be told before.
      const last = await fixture.add({ fail: 'on purpose' })
      await until(async () => (await fixture.holds()).active.length === 0)
      const isKept = what.startsWith('kept')
      const { jobs, failed } = await fixture.holds()
      expect([jobs.includes(job.id), failed.includes(job.id)]).toEqual([isKept, isKept])
      await fixture.command('publish', 'events', JSON.stringify({ id: 'end', event: 'failed', data: '' }))
      await until(() => told.includes('end'))
      expect(told.filter((id) => id !== last.id)).toEqual(isKept ? [job.id, 'end'] : ['end'])
      expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
    },
  )
})
