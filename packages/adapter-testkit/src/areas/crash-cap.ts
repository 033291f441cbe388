import assert from 'node:assert/strict'
import type { TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'

/** A job that kills every process it runs in. */
export function crashCap<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  area(
    suite,
    `a job that kills its process (${way})`,
    async (fleet) => {
      const monitor = await fleet.monitor({ maxRecoveries: 1 })
      const job = await fleet.add({ kill: true })
      for (let life = 1; life <= 2; life++) {
        const worker = await fleet.worker({ way, monitor: { maxRecoveries: 1 } })
        await fleet.started(job, life)
        await worker.exited
        await fleet.recover(monitor, worker.processId)
      }
      return { job, monitor }
    },
    (it) => {
      it('runs no more once it is over maxRecoveries', async (fleet, { job }) => {
        const state = await fleet.state(job)
        assert.ok(state === undefined || state === 'failed' || state === 'completed', `it is ${state}`)
        const worker = await fleet.worker({ way })
        await fleet.finished(await fleet.add())
        assert.equal(fleet.runs(job).length, 2)
        await worker.stop()
      })

      it('stands in quarantine, with the reason', async (fleet) => {
        const [entry, ...others] = await fleet.records.quarantine()
        assert.deepEqual(others, [])
        assert.match(entry!.reason, /maxRecoveries/)
      })

      it('runs again when a person takes it out', async (fleet, { job, monitor }) => {
        const [entry] = await fleet.records.quarantine()
        await monitor.quarantine.retry(entry!.id)
        await monitor.cleanupOrphanedTasks()
        assert.equal(await fleet.state(job), 'runnable')
        await fleet.worker({ way })
        await fleet.started(job, 3)
      })
    },
  )
}
