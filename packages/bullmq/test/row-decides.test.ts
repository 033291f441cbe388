import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a job that goes to quarantine', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'guard'] as const)(
    'is kept and counted as the worker that took it has it, whatever the sweeper is (%s)',
    async (way) => {
      const monitor = { maxRecoveries: 0 }
      const settings = { removeOnFail: { count: 0 }, metrics: { maxDataPoints: 10 } }
      const victim = await fixture.worker({ way, monitor, settings })
      const job = await fixture.add({ gate: 'never' }, { attempts: 3 })
      await fixture.started(1)
      await fixture.worker({ way, monitor })
      await victim.kill()
      await until(async () => (await fixture.quarantine()).length === 1, { what: 'it is in quarantine' })
      expect(await fixture.hash(job.id)).toEqual({})
      expect(await fixture.places()).toMatchObject({ active: [], wait: [], failed: [] })
      expect((await fixture.queue.getMetrics('failed')).meta.count).toBe(1)
    },
  )

  it('is kept, where its row is of before and says nothing', async () => {
    const monitor = { maxRecoveries: 0 }
    const victim = await fixture.worker({ monitor, settings: { removeOnFail: { count: 0 } } })
    const job = await fixture.add({ gate: 'never' }, { attempts: 3 })
    await fixture.started(1)
    const [row] = await fixture.tasks()
    const { settings: _, ...before } = JSON.parse(row!.payload)
    await sql`update holdfast_tasks set payload = ${JSON.stringify(before)}`.execute(fixture.db)
    await fixture.worker({ monitor })
    await victim.kill()
    await until(async () => (await fixture.quarantine()).length === 1, { what: 'it is in quarantine' })
    expect(await fixture.places()).toMatchObject({ active: [], wait: [], failed: [job.id] })
  })
})
